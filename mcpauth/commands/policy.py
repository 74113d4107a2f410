"""`mcpauth policy`: look at a policy before it decides, and at what it would have decided."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcpauth.commands.common import Failure, Misuse, json_option, print_json
from mcpauth.commands.policy_report import (
    explanation_as_json,
    print_rules,
    rules_as_json,
    rules_changed,
)
from mcpauth.commands.replay_report import Report
from mcpauth_middleware import Policy, PolicyError
from mcpauth_middleware.policy.examples import read_example
from mcpauth_middleware.replay import Journal, compare, lines_of
from mcpauth_middleware.replay import replay as replay_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcpauth_middleware.replay import Line

_FILE: Final = click.Path(path_type=Path, dir_okay=False)

files_argument = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
widening_option = click.option(
    "--allow-widening", is_flag=True, help="Exit with 0 also when calls would be newly allowed."
)
unknown_option = click.option(
    "--fail-on-unknown", is_flag=True, help="Exit with 1 also when nobody can tell of a call."
)
unreadable_option = click.option(
    "--allow-unreadable", is_flag=True, help="Exit with 0 also when lines of a journal are no events."
)


@click.group()
def policy() -> None:
    """Lint, test, explain, compare and replay policies."""


@policy.command()
@files_argument
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@json_option
def lint(*, files: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Tell what is wrong with a policy although it loads. Several files are one policy."""
    findings = _policy(*files).lint()
    if as_json:
        print_json(
            [{"level": one.level, "code": one.code, "rule": one.rule, "text": one.text} for one in findings]
        )
    for finding in () if as_json else findings:
        click.echo(str(finding))
    if not findings and not as_json:
        click.echo("Nothing is wrong.")
    _exit(failed=any(strict or finding.level == "error" for finding in findings))


@policy.command()
@files_argument
@json_option
def test(*, files: tuple[Path, ...], as_json: bool) -> None:
    """Run the tests that are in a policy. Several files are one policy."""
    found = _policy(*files)
    failures = found.run_tests()
    if as_json:
        print_json({"tests": len(found.tests), "failures": failures})
    else:
        for failure in failures:
            click.echo(failure)
        if not found.tests:
            click.echo("There are no tests in it: write them as [[tests]].", err=True)
        click.echo(f"{len(found.tests) - len(failures)} of {len(found.tests)} tests passed.")
    _exit(failed=bool(failures))


@policy.command()
@files_argument
@click.option("--tool", help="What is called: a tool,")
@click.option("--prompt", help="or a prompt,")
@click.option("--resource", help="or a resource, by its URI,")
@click.option("--method", help="or an MCP method.")
@click.option("--args", "arguments", help="The arguments, as a JSON object.")
@click.option("--tag", "tags", multiple=True, help="A tag of the tool; may be given several times.")
@click.option("--annotations", help="The tool's annotations, as a JSON object.")
@click.option("--scopes", default="", help="The scopes of the token, with spaces between them.")
@click.option("--sub", help="The user.")
@click.option("--iss", help="The authorization server.")
@click.option("--client-id", help="The client.")
@click.option("--client-name", help="What the client calls itself.")
@click.option("--client-version", help="What version it says it is.")
@click.option("--group", "groups", multiple=True, help="A group of the user; may be given several times.")
@click.option("--tenant", help="The user's tenant.")
@click.option("--claims", help="Further claims of the token, as a JSON object.")
@click.option("--ip", help="Where the request comes from.")
@click.option("--time", type=float, help="When, in epoch seconds.")
@click.option("--protocol", help="The MCP revision.")
@json_option
def explain(*, files: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    """Tell what a policy decides about one call, and what each rule has to say about it."""
    found = _policy(*files)
    try:
        example = read_example(_example(asked), "explain")
    except PolicyError as error:
        raise Misuse(str(error).removeprefix("explain.")) from None
    explanation = found.explain(example.message(), example.who(found.claim_names), example.context())
    if as_json:
        print_json(explanation_as_json(explanation))
    else:
        click.echo(str(explanation))


@policy.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--journal", "journals", multiple=True, type=_FILE, help="Compare the calls in it; - is stdin.")
@widening_option
@unreadable_option
@unknown_option
@json_option
def diff(
    *,
    old: Path,
    new: Path,
    journals: tuple[Path, ...],
    as_json: bool,
    **accepted: bool,
) -> None:
    """Tell how two policies differ: rule by rule, and in what they decide about the calls in a journal."""
    before, after = _policy(old), _policy(new)
    changes = rules_changed(before, after)
    journal = Journal(_lines(journals))
    report = Report(compare(before, after, journal), journal)
    if as_json:
        print_json({**rules_as_json(changes), **({"calls": report.as_json()} if journals else {})})
    else:
        print_rules(changes)
        if journals:
            report.print()
    _exit(failed=report.is_refused(**accepted))


@policy.command()
@click.argument("new", type=_FILE)
@click.argument("journals", metavar="JOURNAL...", nargs=-1, required=True, type=_FILE)
@widening_option
@unreadable_option
@unknown_option
@json_option
def replay(*, new: Path, journals: tuple[Path, ...], as_json: bool, **accepted: bool) -> None:
    """Tell which calls in an audit journal a policy would decide otherwise than was decided then.

    Exits with 1 when a call would be newly allowed, or newly be told which scopes it lacks, and when a line
    of the journal is no event, since nobody knows which call it hides.
    """
    after, journal = _policy(new), Journal(_lines(journals))
    report = Report(replay_calls(after, journal), journal)
    if as_json:
        print_json(report.as_json())
    else:
        report.print()
    _exit(failed=report.is_refused(**accepted))


@policy.command()
@click.argument("server", metavar="MODULE:NAME")
@json_option
def export(*, server: str, as_json: bool) -> None:
    """Write the rules that stand beside a server's tools as a policy file.

    NAME is a `Policy`, or a server of the mcp SDK or of FastMCP. The module is imported, which runs it.
    """
    found = _imported(server)
    try:
        text = (found if isinstance(found, Policy) else Policy.from_server(found)).to_toml()
    except PolicyError as error:
        raise Failure(f"{server}: {error}") from None
    if as_json:
        print_json({"toml": text})
    else:
        click.echo(text, nl=False)


def _policy(*files: Path) -> Policy:
    try:
        return Policy.from_file(*files)
    except PolicyError as error:
        raise Misuse(str(error)) from None


def _example(asked: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {
        key: asked[key] for key in ("tool", "prompt", "resource", "method") if asked[key] is not None
    }
    as_: dict[str, Any] = {"scopes": asked["scopes"].split()}
    for key in ("sub", "iss", "client_id", "tenant"):
        if asked[key] is not None:
            as_[key] = asked[key]
    for table, key, option in (
        (call, "args", "arguments"),
        (call, "annotations", "annotations"),
        (as_, "claims", "claims"),
    ):
        if asked[option] is not None:
            table[key] = _object(f"--{key}", asked[option])
    if asked["tags"]:
        call["tags"] = list(asked["tags"])
    if asked["groups"]:
        as_["groups"] = list(asked["groups"])
    env = {key: asked[key] for key in ("ip", "time", "protocol") if asked[key] is not None}
    client = {key: asked[f"client_{key}"] for key in ("name", "version")}
    env["client"] = {key: told for key, told in client.items() if told is not None}
    return {"call": call, "as": as_, "env": env, "expect": "allow"}


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Misuse(f'{option}: must be a JSON object, as in \'{{"path": "/srv"}}\'')
    return value  # pyright: ignore[reportUnknownVariableType]  read_example looks at every member


def _lines(journals: Sequence[Path]) -> Iterator[Line]:
    for path in journals:
        try:
            with click.open_file(str(path), "rb") as file:
                yield from lines_of("standard input" if str(path) == "-" else str(path), file)
        except OSError as error:
            raise Misuse(f"{path}: cannot be read: {error.strerror}") from None


def _imported(server: str) -> object:
    module, _, name = server.partition(":")
    if not module or not name:
        raise Misuse("name the server as in `notes.server:mcp`: the module, a colon, and the name in it")
    sys.path.insert(0, str(Path.cwd()))
    found: object
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # noqa: BLE001 (the module is the user's own and may raise whatever it likes)
        raise Failure(f"{server}: cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    return found


def _exit(*, failed: bool) -> None:
    if failed:
        click.get_current_context().exit(1)
