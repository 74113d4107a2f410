"""Reloading: a new policy decides only once it is read, linted and tested; until then the old one does."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth_middleware.policy import Policy, PolicyError, ReloadingPolicy
from tests.middleware.gate_helpers import call
from tests.middleware.policy_helpers import allow, deny, policy, someone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MESSAGE, ALICE = call("t"), someone()


def rules(*ids: str, more: str = "") -> str:
    return (
        "version = 1\n"
        + "".join(f'[[rules]]\nid = "{i}"\nallow = {{ tools = ["{i}"] }}\n' for i in ids)
        + more
    )


def at_once(check: Callable[[], None]) -> None:
    check()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Files:
    """A policy file, its clock, and the policy that follows it with checks run at once."""

    def __init__(self, folder: Path, text: str, **options: Any) -> None:
        self.path = folder / "policy.toml"
        self.path.write_text(text)
        self.clock = Clock()
        self.events: list[Mapping[str, Any]] = []
        self.starts: list[Callable[[], None]] = []
        self.policy = ReloadingPolicy(
            self.path,
            interval=5,
            monotonic=self.clock,
            start=options.pop("start", at_once),
            on_event=self.events.append,
            **options,
        )

    def replace(self, text: str) -> None:
        """As an editor or a deployment does: another file, renamed over it."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def effect(self, *, after: float = 6, looks: int = 2) -> str:
        """What is decided after so many looks at the file, each after so many seconds."""
        for _ in range(looks):
            self.clock.now += after
            self.policy.decide(MESSAGE, ALICE)
        return self.policy.decide(MESSAGE, ALICE).effect


def test_a_file_that_is_replaced_decides_once_it_has_stayed_the_same(tmp_path: Path) -> None:
    """And not before: nobody looks at it more often than the interval says."""
    files = Files(tmp_path, rules("u"))
    before = files.policy.bundle
    assert files.effect() == "deny"
    files.replace(rules("t", "u"))
    assert files.effect(after=1) == "deny"
    assert files.effect(after=5, looks=1) == "deny"
    assert files.effect(after=1, looks=4) == "deny"
    assert files.effect(after=1, looks=1) == "allow"
    assert files.policy.bundle != before
    assert files.policy.bundle == Policy.from_file(files.path).bundle
    assert files.events == [
        {
            "v": 1,
            "type": "policy.reload",
            "outcome": "ok",
            "policy": {
                "bundle": files.policy.bundle,
                "previous": before,
                "rules": 2,
                "files": ["policy.toml"],
            },
        }
    ]


FAILING_TEST = '[[tests]]\ncall = { tool = "t" }\nexpect = "deny"\n'
UNREACHABLE = '[[rules]]\nid = "never"\ndeny = { tools = ["t"] }\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version = ", "policy.toml: not valid TOML"),
        ("", "policy.toml: version: missing"),
        (rules("t") + "quota = 1", "policy.toml: rules[0].quota: unknown key"),
        (rules("t", more=FAILING_TEST), "policy.toml: tests[0]: expected deny, got allow"),
        (rules("t", "t"), 'policy.toml: rules[1].id: "t" is already'),
        (rules("own"), 'id: "own" is already the id of another rule'),
    ],
)
def test_what_cannot_be_used_leaves_the_old_policy_in_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    """It is said once, and tried again when the file has changed again."""
    files = Files(tmp_path, rules("u"))
    files.policy.add(allow("own", tools=("own",)))
    before = files.policy.bundle
    files.replace(text)
    for _ in range(3):
        assert files.effect() == "deny"
    assert files.policy.bundle == before
    assert [(event["type"], event["outcome"], event["policy"]["bundle"]) for event in files.events] == [
        ("policy.reload_failed", "error", before)
    ]
    assert files.events[0]["reason"].startswith(reason)
    assert "the old one stays" in caplog.text
    files.replace(rules("t"))
    assert files.effect() == "allow"


CLOSED = '[[rules]]\nid = "closed"\ndeny = { tools = ["*"], prompts = ["*"], resources = ["**"] }\n'


@pytest.mark.parametrize("text", [rules("t", more=CLOSED), f"version = 1\n{CLOSED}"])
def test_one_deny_rule_closes_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """In a hurry, before the others or in their place: what lint says of it must not keep the server open."""
    files = Files(tmp_path, rules("t"))
    assert files.effect() == "allow"
    files.replace(text)
    assert files.effect() == "deny"
    assert [event["type"] for event in files.events] == ["policy.reload"]
    assert "everything is denied" in caplog.text or 'rule "t": can allow nothing' in caplog.text


def test_a_file_that_is_switched_off_does_not_close_the_server(tmp_path: Path) -> None:
    """Where nothing else allows anything."""
    files = Files(tmp_path, rules("t"))
    files.replace(rules("t").replace("version = 1", 'version = 1\nmode = "off"'))
    assert files.effect() == "allow"
    assert files.events[0]["reason"].startswith("error: no allow rule is enforced")


def test_a_file_without_rules_does_not_close_the_server(tmp_path: Path) -> None:
    """One that is cut behind its first line is still a policy."""
    files = Files(tmp_path, rules("t"))
    files.replace("version = 1\n")
    assert files.effect() == "allow"
    assert files.events[0]["type"] == "policy.reload_failed"
    assert files.events[0]["reason"].startswith("there is no rule, so everything is denied")


def test_a_file_that_goes_away_leaves_its_policy_behind(tmp_path: Path) -> None:
    """A deployment that removes before it writes does not open or close the server."""
    files = Files(tmp_path, rules("t"))
    files.path.unlink()
    assert files.effect() == "allow"
    assert files.effect() == "allow"
    assert [event["type"] for event in files.events] == ["policy.reload_failed"]
    files.path.write_text(rules("u"))
    assert files.effect(looks=1) == "allow"
    assert files.effect(looks=1) == "deny"


@pytest.mark.parametrize("removes_first", [False, True])
def test_half_a_file_is_not_loaded(tmp_path: Path, *, removes_first: bool) -> None:
    """Written in place, a file whose deny rules are still to come would be a policy too; archives and some
    editors remove the old file and write a new one in its place.
    """
    files = Files(tmp_path, rules("u"))
    whole = rules("t", more='[[rules]]\nid = "not t"\ndeny = { tools = ["t"] }\nip = ["10.0.0.0/8"]\n')
    if removes_first:
        files.path.unlink()
    files.path.write_text(rules("t"))
    assert files.effect(looks=1) == "deny"
    files.path.write_text(whole)
    assert files.effect(looks=1) == "deny"
    assert files.events == []
    # It has not changed for a whole interval.
    files.effect(looks=1)
    assert [rule.id for rule in files.policy.rules] == ["t", "not t"]


def test_whoever_knows_that_a_file_is_complete_need_not_wait(tmp_path: Path) -> None:
    """`check`, from a signal handler or a deployment's hook."""
    files = Files(tmp_path, rules("u"))
    files.path.write_text(rules("t"))
    assert files.policy.check()
    assert files.effect(looks=0) == "allow"
    assert not files.policy.check()


def test_when_no_thread_can_be_had_requests_go_on_and_the_next_check_comes(tmp_path: Path) -> None:
    """A limit on threads, or an interpreter that is shutting down."""
    failures = [RuntimeError("can't start new thread")]

    def start(check: Callable[[], None]) -> None:
        if failures:
            raise failures.pop()
        check()

    files = Files(tmp_path, rules("u"), start=start)
    files.path.write_text(rules("t"))
    assert files.effect(looks=1) == "deny"
    assert not failures
    assert files.effect() == "allow"


def test_a_file_with_the_same_size_and_time_is_seen_by_its_inode(tmp_path: Path) -> None:
    """Deployments that reset times."""
    files = Files(tmp_path, rules("u"))
    stamp = files.path.stat()
    files.replace(rules("t"))
    os.utime(files.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert files.effect() == "allow"


def test_a_file_that_is_changed_in_place_is_seen_whatever_its_time(tmp_path: Path) -> None:
    """Its inode and its size may be the old ones as well."""
    files = Files(tmp_path, rules("u"))
    stamp = files.path.stat()
    with files.path.open("r+") as opened:
        opened.write(rules("t"))
    os.utime(files.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert files.path.stat().st_ino == stamp.st_ino
    assert files.effect() == "allow"


def test_a_request_does_not_wait_for_the_load(tmp_path: Path) -> None:
    """The check runs in a thread; meanwhile the old policy decides, and no second check begins."""
    started: list[Callable[[], None]] = []
    files = Files(tmp_path, rules("u"), start=started.append)
    files.replace(rules("t"))
    for look in (1, 2):
        files.clock.now += 6
        assert [files.policy.decide(MESSAGE, ALICE).effect for _ in range(3)] == ["deny"] * 3
        assert len(started) == look
        started[-1]()
    assert files.policy.decide(MESSAGE, ALICE).effect == "allow"


def test_by_default_it_is_a_thread(tmp_path: Path) -> None:
    """A real one, and a real clock."""
    path = tmp_path / "policy.toml"
    path.write_text(rules("u"))
    loaded = threading.Event()
    following = ReloadingPolicy(path, interval=0.0, on_event=lambda _: loaded.set())
    new = tmp_path / "new.toml"
    new.write_text(rules("t"))
    new.replace(path)
    while not loaded.wait(0.01):
        following.decide(MESSAGE, ALICE)
    assert following.decide(MESSAGE, ALICE).effect == "allow"


def test_a_swap_is_whole(tmp_path: Path) -> None:
    """Whatever thread asks meanwhile gets the decision of one policy or of the other, never of both."""
    pair = [rules(*(f"a{n}" for n in range(50)), "t"), rules(*(f"b{n}" for n in range(50)))]
    files = Files(tmp_path, pair[0])
    bundles = {Policy.from_toml(pair[0]).bundle: "allow", Policy.from_toml(pair[1]).bundle: "deny"}
    wrong: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            decision = files.policy.decide(MESSAGE, ALICE)
            if bundles[decision.bundle] != decision.effect:
                wrong.append(decision)

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(1, 21):
        files.replace(pair[number % 2])
        assert files.policy.check()
    done.set()
    thread.join()
    assert wrong == []


def test_rules_of_code_stay_beside_those_of_the_file(tmp_path: Path) -> None:
    """A policy given at the start, and decorators."""
    files = Files(tmp_path, rules("u"), beside=policy(allow("t", tools=("t",))))

    @files.policy.requires("s")
    def decorated() -> None: ...

    assert decorated() is None
    assert {rule.id for rule in files.policy.rules} == {"t", "u", "decorated"}
    files.replace(rules("v"))
    assert files.effect() == "allow"
    assert {rule.id for rule in files.policy.rules} == {"t", "v", "decorated"}
    assert files.policy.known_scopes == {"s"}


def test_a_rule_that_is_added_to_the_policy_beside_is_loaded(tmp_path: Path) -> None:
    """It would stand in code, and deny nothing before the file changes for another reason."""
    beside = policy(allow("x", tools=("x",)))
    files = Files(tmp_path, rules("t"), beside=beside)
    files.policy.add(allow("here", tools=("here",)))
    assert files.effect() == "allow"
    beside.add(deny("never", tools=("t",)))
    assert files.effect() == "deny"
    assert [event["type"] for event in files.events] == ["policy.reload"]
    assert {rule.id for rule in files.policy.rules} == {"x", "t", "here", "never"}

    beside.add(allow("t", tools=("u",)))
    assert files.effect() == files.effect() == "deny"
    assert [event["type"] for event in files.events] == ["policy.reload", "policy.reload_failed"]


def test_it_starts_only_with_files_that_can_be_used(tmp_path: Path) -> None:
    """At the start there is no old policy to keep."""
    for text in ("version = ", rules("t", more=FAILING_TEST), rules("t", more=UNREACHABLE)):
        with pytest.raises(PolicyError):
            Files(tmp_path, text)
    with pytest.raises(PolicyError, match="cannot be read"):
        ReloadingPolicy(tmp_path / "missing.toml")
    with pytest.raises(PolicyError, match="give the path"):
        ReloadingPolicy()


def test_several_files_are_followed(tmp_path: Path) -> None:
    """A change of any of them loads all."""
    second = tmp_path / "second.toml"
    second.write_text(rules("v"))
    path = tmp_path / "policy.toml"
    path.write_text(rules("u"))
    following = ReloadingPolicy(path, second, start=at_once)
    new = tmp_path / "new.toml"
    new.write_text(rules("t"))
    new.replace(second)
    assert following.check()
    assert {rule.id for rule in following.rules} == {"u", "t"}
    assert following.check() is False


def test_it_answers_like_the_policy_it_holds(tmp_path: Path) -> None:
    """Everything that a policy can be asked."""
    files = Files(tmp_path, rules("t", more='[[tests]]\ncall = { tool = "t" }\nexpect = "allow"\n'))
    plain = Policy.from_file(files.path)
    following = files.policy
    assert following.sees("tool", "t", ALICE)
    assert str(following.explain(MESSAGE, ALICE)) == str(plain.explain(MESSAGE, ALICE))
    assert (following.to_toml(), following.bundle) == (plain.to_toml(), plain.bundle)
    assert (following.lint(), following.run_tests()) == ([], [])
    assert (following.rules, following.tests, following.scopes) == (plain.rules, plain.tests, plain.scopes)
    assert (following.claim_names, following.declared_claims) == (plain.claim_names, plain.declared_claims)


def test_events_are_there_once(tmp_path: Path) -> None:
    """The middleware takes them into its journal."""
    files = Files(tmp_path, rules("u"))
    assert files.policy.take_events() == ()
    files.replace(rules("t"))
    files.effect()
    assert [event["type"] for event in files.policy.take_events()] == ["policy.reload"]
    assert files.policy.take_events() == ()
    assert Policy().take_events() == ()
