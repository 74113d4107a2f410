"""From the keys and values of a rule, as a file or a decorator gives them, to the rule."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from mcpauth_middleware.policy.client_match import ClientMatch
from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.rules import MATCHERS, Rule
from mcpauth_middleware.policy.time_window import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mcpauth_middleware.policy.checks import Scalar
    from mcpauth_middleware.policy.rules import Effect, Mode


class Conditions(TypedDict, total=False):
    """What a rule can ask for besides target and scopes; the keys are those of a file."""

    tags: Sequence[str]
    annotations: Mapping[str, Scalar]
    groups: Sequence[str]
    claims: Mapping[str, Scalar | Sequence[Scalar]]
    client: Mapping[str, Sequence[str]] | ClientMatch
    tenant: Sequence[str]
    ip: Sequence[str]
    time: Mapping[str, str] | TimeWindow
    protocol: Sequence[str]
    when: str
    mode: Mode


CONDITIONS: Final = tuple(Conditions.__annotations__)


def rule_of(
    rule_id: object,
    effect: Effect,
    patterns: Mapping[str, object],
    scopes: object,
    more: Mapping[str, object],
) -> Rule:
    """The rule with these members; lists may be lists, tables may be mappings.

    Raises:
        PolicyError: a member is wrong; the message names it.
    """
    check_keys(patterns, MATCHERS, effect)
    targets: dict[str, Any] = {key: as_tuple(value) for key, value in patterns.items()}
    conditions: dict[str, Any] = {key: _condition(key, value) for key, value in more.items()}
    return Rule(id=cast("str", rule_id), effect=effect, scopes=as_tuple(scopes), **targets, **conditions)


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse keys that mean nothing: one that is silently ignored is a rule that silently does not hold.

    Raises:
        PolicyError: there is one; the message names it.
    """
    for key in table:
        if key not in known:
            path = f"{where}.{key}" if where else key
            close = get_close_matches(key, known, n=1)
            mend = f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"
            raise PolicyError(f"{path}: unknown key; {mend}")


def as_table(value: object, where: str) -> dict[str, Any]:
    """`value`, which must be a table.

    Raises:
        PolicyError: it is none.
    """
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: must be a table")
    return cast("dict[str, Any]", value)


def as_tuple(value: object) -> Any:  # noqa: ANN401 (Rule refuses what is no list)
    """A list as the tuple that rules hold; everything else as it is."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _condition(key: str, value: object) -> object:
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        match key:
            case "client":
                return _built(key, ClientMatch, ("id", "host", "name", "version"), table)
            case "time":
                return _built(key, TimeWindow, ("zone", "days", "hours"), table)
            case _:
                return _filled(key, {name: as_tuple(wanted) for name, wanted in table.items()})
    return _filled(key, as_tuple(value))


def _filled(key: str, value: object) -> object:
    # In `Rule` an empty one stands for "not asked for"; written down it could be meant as "nobody".
    if value in ((), {}):
        raise PolicyError(f"{key}: is empty; leave it out, or name something")
    return value


def _built(key: str, kind: Callable[..., object], known: Sequence[str], table: dict[str, object]) -> object:
    check_keys(table, known, key)
    if not table:
        raise PolicyError(f"{key}: is empty; give it one of {', '.join(known)}")
    return kind(**{name: as_tuple(value) for name, value in table.items()})
