"""A policy that follows its files: read, linted and tested before it decides, or the old one stays.

A request never waits for it. When a check is due, the next decision starts one in a thread of its own
and goes on with the policy there is.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.facts import NOTHING_KNOWN
from mcpauth_middleware.policy.policy import Policy

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mcpauth_middleware.message.request import Message
    from mcpauth_middleware.policy.decide import Decision
    from mcpauth_middleware.policy.examples import Example
    from mcpauth_middleware.policy.explain import Explanation
    from mcpauth_middleware.policy.facts import ClaimNames, Context
    from mcpauth_middleware.policy.finding import Finding
    from mcpauth_middleware.policy.rules import Rule
    from mcpauth_middleware.principal import Principal

DEFAULT_INTERVAL = 1.0

_Stamp = tuple[int, int, int, int, int]
_Stamps = tuple[_Stamp | None, ...]

_logger = logging.getLogger(__name__)


class ReloadingPolicy(Policy):
    """The policy in one or several files, and the rules that code adds to it.

    Replace a file by renaming a new one over it. It is loaded once it has not changed between two checks:
    half of one that is being written could be a policy too, one whose deny rules are still to come.

    Args:
        paths: The files.
        interval: Seconds between two looks at them, at least.
        beside: A policy made in code, such as `Policy.from_server(mcp)`, to which the files are added. Rules
            that are added to it later on are loaded as a change of the files is.
        on_event: Told of `policy.reload` and `policy.reload_failed`, in the thread that loads. The
            middleware writes both into its audit journal by itself.
        monotonic: The clock, in seconds.
        start: Runs a check; None: in a thread of its own.

    Raises:
        PolicyError: the files cannot be used as they are at the start: see `Policy.from_file`. Rules that
            `lint` calls unreachable and tests that fail are such reasons too. Later on unreachable rules are
            only logged: the old policy would allow what a new deny rule is there to stop.
    """

    def __init__(
        self,
        *paths: str | os.PathLike[str],
        interval: float = DEFAULT_INTERVAL,
        beside: Policy | None = None,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__()
        if not paths:
            raise PolicyError("ReloadingPolicy: give the path of a policy file")
        self._paths = tuple(map(Path, paths))
        self._interval = interval
        self._on_event = on_event
        self._monotonic = monotonic
        self._start = start or _in_thread
        self._beside = Policy() if beside is None else beside
        self._own = Policy()
        """The rules that were added here."""
        self._lock = threading.Lock()
        """Held for moments only: requests wait for it."""
        self._busy = threading.Lock()
        """Held while the files are looked at and loaded."""
        self._events: list[Mapping[str, Any]] = []
        self._loaded = self._seen = self._stamps()
        self._files, self._loaded_beside = Policy.from_file(*self._paths), self._beside.bundle
        # Code may still add what is allowed.
        self._current = _usable(self._merged(self._own, self._files), but=("nothing-enforced",))
        self._next_check = monotonic() + interval

    def decide(self, message: Message, principal: Principal, context: Context = NOTHING_KNOWN) -> Decision:
        """Decide whether the principal may send the message."""
        if self._monotonic() >= self._next_check:
            self._begin_check()
        return self._current.decide(message, principal, context)

    def sees(
        self,
        kind: str,
        name: str,
        principal: Principal,
        context: Context = NOTHING_KNOWN,
        message: Message | None = None,
    ) -> bool:
        """Whether the principal may use what is of this kind and name; see `Policy.sees`."""
        return self._current.sees(kind, name, principal, context, message)

    def explain(
        self, message: Message, principal: Principal, context: Context = NOTHING_KNOWN
    ) -> Explanation:
        """The decision, and why."""
        return self._current.explain(message, principal, context)

    def add(self, rule: Rule) -> None:
        """Add a rule to those of the files; it stays when they are loaded again.

        Raises:
            PolicyError: a rule with this id is there already.
        """
        with self._busy:
            own = Policy.merged(self._own)
            own.add(rule)
            self._current, self._own = self._merged(own, self._files), own

    def check(self) -> bool:
        """Load the files now if they have changed; they must be complete. Whether there is a new policy."""
        with self._busy:
            return self._check(complete=True)

    def take_events(self) -> Sequence[Mapping[str, Any]]:
        """What has happened since this was last asked, as audit events."""
        if not self._events:
            return ()
        with self._lock:
            taken, self._events = self._events, []
        return taken

    def lint(self) -> list[Finding]:
        """What is wrong with the rules although they can be read."""
        return self._current.lint()

    def run_tests(self) -> list[str]:
        """Run the tests in the files, and say of each that fails how it does."""
        return self._current.run_tests()

    def to_toml(self) -> str:
        """The policy as it is now, as the text of one file."""
        return self._current.to_toml()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules."""
        return self._current.rules

    @property
    def tests(self) -> tuple[Example, ...]:
        """The tests in the files."""
        return self._current.tests

    @property
    def scopes(self) -> Mapping[str, Sequence[str]]:
        """The hierarchy, as it was declared."""
        return self._current.scopes

    @property
    def declared_claims(self) -> ClaimNames | None:
        """The claims that hold groups and tenant, None where nothing was said."""
        return self._current.declared_claims

    @property
    def claim_names(self) -> ClaimNames:
        """The claims that hold groups and tenant."""
        return self._current.claim_names

    @property
    def known_scopes(self) -> frozenset[str]:
        """Every scope that a rule or the hierarchy names."""
        return self._current.known_scopes

    @property
    def bundle(self) -> str:
        """The hash of the policy that decides now."""
        return self._current.bundle

    def _begin_check(self) -> None:
        # Not waited for: whoever holds it is checking already.
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._start(self._check_and_release)
        except Exception:
            # No more threads are to be had: a request must not fail of it, nor the next check.
            _logger.exception("The policy files could not be checked; the policy stays as it was")
            self._next_check = self._monotonic() + self._interval
            self._busy.release()

    def _check_and_release(self) -> None:
        try:
            self._check()
        except Exception:
            _logger.exception("The policy files could not be checked; the policy stays as it was")
        finally:
            self._busy.release()

    def _check(self, *, complete: bool = False) -> bool:
        try:
            stamps = self._stamps()
            if stamps == self._loaded and self._beside.bundle == self._loaded_beside:
                self._seen = stamps
                return False
            settled = stamps == self._seen
            self._seen = stamps
            # Another inode tells nothing: whoever removes a file and writes it anew makes one as well.
            return self._load(stamps) if settled or complete else False
        finally:
            self._next_check = self._monotonic() + self._interval

    def _load(self, stamps: _Stamps) -> bool:
        old, self._loaded_beside = self._current.bundle, self._beside.bundle
        try:
            files = Policy.from_file(*self._paths)
            if self._stamps() != stamps:
                return False  # written while it was read: the next check will see
            current = self._merged(self._own, files)
            _usable(current, but=_meant_to_deny(current))
        except PolicyError as error:
            _logger.warning("The policy was not reloaded, the old one stays: %s", error)
            return self._failed(stamps, old, str(error))
        except Exception:
            _logger.exception("The policy was not reloaded, the old one stays")
            return self._failed(stamps, old, "loading it failed; the log says more")
        self._files, self._current, self._loaded = files, current, stamps
        _logger.info("The policy was reloaded: %d rules, bundle %s", len(current.rules), current.bundle)
        policy = {"bundle": current.bundle, "previous": old, "rules": len(current.rules)}
        self._tell("policy.reload", "ok", policy)
        return True

    def _failed(self, stamps: _Stamps, bundle: str, reason: str) -> Literal[False]:
        self._loaded = stamps  # not tried again until they change
        self._tell("policy.reload_failed", "error", {"bundle": bundle}, reason=reason)
        return False

    def _tell(self, kind: str, outcome: str, policy: dict[str, Any], **more: str) -> None:
        files = [path.name for path in self._paths]
        event = {"v": 1, "type": kind, "outcome": outcome, "policy": {**policy, "files": files}, **more}
        with self._lock:
            # Nobody may be there to take them.
            self._events = [*self._events[-99:], event]
        if self._on_event is not None:
            self._on_event(event)

    def _merged(self, own: Policy, files: Policy) -> Policy:
        return Policy.merged(self._beside, own, files)

    def _stamps(self) -> _Stamps:
        return tuple(map(_stamp, self._paths))


def _usable(policy: Policy, but: Collection[str]) -> Policy:
    if not policy.rules and "nothing-enforced" not in but:
        # Of a file that is cut behind its first line as well.
        raise PolicyError("there is no rule, so everything is denied; to close a server write a deny rule")
    errors = [finding for finding in policy.lint() if finding.level == "error"]
    if refused := [str(finding) for finding in errors if finding.code not in but]:
        raise PolicyError("; ".join(refused))
    for finding in errors:
        _logger.warning("The policy has a fault: %s", finding)
    return policy.tested()


def _meant_to_deny(policy: Policy) -> Collection[str]:
    """What lint calls an error and an operator may mean: one deny rule, before the others or in their place,
    is how a server is closed in a hurry. The old policy would keep it open.
    """
    denies = any(rule.effect == "deny" and rule.mode == "enforce" for rule in policy.rules)
    return ("unreachable", "nothing-enforced") if denies else ()


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The last is set by the system alone: deployments reset the others, and file systems use inodes again.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _in_thread(check: Callable[[], None]) -> None:
    threading.Thread(target=check, name="mcpauth-policy", daemon=True).start()
