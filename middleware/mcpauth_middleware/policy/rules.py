"""The one form of a policy rule; decorators and files both end here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, cast

from mcpauth_middleware.policy.checks import Scalar
from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.matchers import matchers_of
from mcpauth_middleware.policy.patterns import pattern_problem
from mcpauth_middleware.policy.scopes import NOT_A_SCOPE, is_scope
from mcpauth_middleware.policy.values import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcpauth_middleware.message.target import TargetKind
    from mcpauth_middleware.policy.client_match import ClientMatch
    from mcpauth_middleware.policy.matchers import Matcher
    from mcpauth_middleware.policy.time_window import TimeWindow

Effect = Literal["allow", "deny"]
Mode = Literal["enforce", "shadow", "off"]

MATCHERS: Final[dict[str, TargetKind]] = {
    "tools": "tool",
    "prompts": "prompt",
    "resources": "resource",
    "methods": "method",
}
MODES: Final[tuple[Mode, ...]] = ("off", "shadow", "enforce")
"""From the weakest to the strongest."""
_ID = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_ABOUT_TOOLS: Final = ("tags", "annotations")


@dataclass(frozen=True, slots=True)
class Rule:
    """What `effect` says about every target that one of the patterns matches, where all conditions hold.

    An allow rule counts only for a principal that holds all of `scopes`; none means any authenticated
    principal. The conditions are `tags` to `when`: of a tuple one entry must fit, of a mapping every
    member. A rule whose mode is `shadow` decides nothing and is reported; one that is `off` is ignored.

    Raises:
        PolicyError: a member is wrong; the message names it as a file would, as in `allow.tools[0]`.
    """

    id: str
    effect: Effect
    tools: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    annotations: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar], compare=False)
    groups: tuple[str, ...] = ()
    claims: Mapping[str, Scalar | tuple[Scalar, ...]] = field(
        default_factory=dict[str, Scalar | tuple[Scalar, ...]], compare=False
    )
    client: ClientMatch | None = None
    tenant: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    time: TimeWindow | None = None
    protocol: tuple[str, ...] = ()
    when: str | None = None
    mode: Mode = "enforce"
    conditions: tuple[Matcher, ...] = field(init=False, repr=False, compare=False)
    """What must hold besides the target, compiled."""
    _asked: tuple[object, ...] = field(init=False, repr=False)
    """`annotations` and `claims` for comparisons: `1 == True` in Python, and not for a rule."""

    def __post_init__(self) -> None:
        if not _is_id(self.id):
            raise PolicyError("id: must be a name of 1 to 200 characters, none of them a control character")
        if self.effect not in ("allow", "deny"):
            raise PolicyError(f'effect: must be "allow" or "deny", not {self.effect!r}')
        if self.mode not in MODES:
            raise PolicyError(f'mode: must be "enforce", "shadow" or "off", not {self.mode!r}')
        self._check_patterns()
        self._check_scopes()
        self._check_tools_only()
        # Compiled from the caller's mapping, which checks it; then a copy that nobody can change.
        object.__setattr__(self, "conditions", tuple(matchers_of(self)))
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))
        object.__setattr__(self, "claims", MappingProxyType(dict(self.claims)))
        object.__setattr__(self, "_asked", (_with_kinds(self.annotations), _with_kinds(self.claims)))

    @property
    def patterns(self) -> Iterator[tuple[TargetKind, str]]:
        """Each pattern with the kind of target it is about."""
        for key, kind in MATCHERS.items():
            for pattern in getattr(self, key):
                yield kind, pattern

    def _check_patterns(self) -> None:
        for key, kind in MATCHERS.items():
            patterns: object = getattr(self, key)
            if not isinstance(patterns, tuple):
                raise PolicyError(f"{self.effect}.{key}: must be a list of patterns")
            for position, pattern in enumerate(cast("tuple[object, ...]", patterns)):
                problem = pattern_problem(kind, pattern) if isinstance(pattern, str) else "must be a string"
                if problem is not None:
                    raise PolicyError(f"{self.effect}.{key}[{position}]: {pattern!r}: {problem}")
        if next(self.patterns, None) is None:
            raise PolicyError(f"{self.effect}: names nothing; give it one of {', '.join(MATCHERS)}")

    def _check_scopes(self) -> None:
        if not isinstance(self.scopes, tuple):
            raise PolicyError("scopes: must be a list of scopes")
        if self.scopes and self.effect == "deny":
            raise PolicyError("scopes: a deny rule denies whatever scopes are held; leave them out")
        for position, scope in enumerate(self.scopes):
            if not is_scope(scope):
                raise PolicyError(f"scopes[{position}]: {NOT_A_SCOPE}")

    def _check_tools_only(self) -> None:
        for key in _ABOUT_TOOLS:
            if getattr(self, key) and any(kind != "tool" for kind, _ in self.patterns):
                raise PolicyError(
                    f"{key}: only tools have them; make a rule of its own for the other patterns"
                )


def _with_kinds(asked: Mapping[str, Scalar | tuple[Scalar, ...]]) -> frozenset[object]:
    return frozenset(
        (name, tuple((kind_of(value), value) for value in (found if isinstance(found, tuple) else (found,))))
        for name, found in asked.items()
    )


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None
