"""Patterns of rules. `*` is the only special character.

In the names of tools, prompts and methods `*` stands for any characters. In resource URIs it stays
within a segment (it never matches a `/`), and `**` as a whole segment stands for any number of segments;
at the end, for at least one.

Matching takes linear time: a name is the caller's, and a regular expression with several `*` would let
it choose how long a decision takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mcpauth_middleware.message import targets
from mcpauth_middleware.message.resource_uri import decodings, resource_uri_problem, trimmings, with_path
from mcpauth_middleware.message.revisions import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcpauth_middleware.message.revisions import TargetsOf
    from mcpauth_middleware.message.target import TargetKind

DECIDED_BY: Final[Mapping[TargetsOf, str]] = {
    targets.tool: "tools",
    targets.prompt: "prompts",
    targets.resource: "resources",
    targets.subscriptions: "resources",
    targets.completion: "prompts or resources",
}
_DEEP = "**"
_MEANT_AS_WILDCARDS = "?[]{}"
# How FastMCP lets the page of an app call a tool, listed or not: 4 as `__<hash>_<name>`, 3 without the `__`.
_ALIAS = re.compile(r"(?P<mark>__)?(?P<hash>[0-9a-f]{12}_)(?P<local>.+)", re.DOTALL)


class Pattern:
    """One pattern of a rule; see `Readings` for what it is compared with."""

    def __init__(self, kind: TargetKind, text: str) -> None:
        self.text = text
        self._texts = decodings(text) if kind == "resource" else (text,)
        compiled: Callable[[str], _Matcher] = _PathMatcher.of if kind == "resource" else NameMatcher.of
        self._matchers = _compiled(self._texts, compiled)
        self._distinct = self._matchers[:1] if self._matchers[0] is self._matchers[-1] else self._matchers
        # In the order of `trimmings`, less the first.
        self._trimmed = (
            tuple(_compiled(decodings(part), compiled) for part in trimmings(text)[1:])
            if kind == "resource"
            else ()
        )

    @property
    def keys(self) -> frozenset[tuple[str, bool]]:
        """How every name it matches begins, and whether that is already the whole name."""
        return frozenset((text.partition("*")[0], "*" not in text) for text in self._texts)

    def allows(self, readings: Readings) -> bool:
        """Whether it covers the name, whichever way it is read, so that an allow rule may go by it."""
        if not _all_match(self._matchers, readings.whole):
            return False
        if readings.alias_start is not None:
            return self.text.partition("*")[0].startswith(readings.alias_start)
        return all(map(_all_match, self._trimmed, readings.trimmed)) if readings.trimmed else True

    def matches_any(self, names: Iterable[str]) -> bool:
        """Whether it matches one of the names."""
        return any(matcher.matches(name) for matcher in self._distinct for name in names)


class Readings(NamedTuple):
    """What the name of a target may be for the server. A deny rule denies when it matches one of `every`.

    A resource URI may be read with percent escapes or without, so it comes as its `decodings`, and of a
    URI with a query or a fragment some servers read only what is before it. An allow rule must match them
    all; where the server would leave something out, the same is left out of the pattern, so that `*` never
    stands for more than what is before a `?` or `#`.
    """

    whole: tuple[str, ...]
    every: tuple[str, ...]
    trimmed: tuple[tuple[str, ...], ...] = ()
    """The same for what is left of the URI without its fragment, and without its query too."""
    alias_start: str | None = None
    """How the pattern must begin that allows a tool by a name which FastMCP has made for it."""


def readings(kind: TargetKind, name: str) -> Readings:
    """The forms in which the name of a target is compared with patterns of the same kind."""
    if kind == "resource":
        return _uri_readings(name)
    if kind == "tool" and (alias := _ALIAS.fullmatch(name)) is not None:
        return Readings((name,), (name, alias["local"]), alias_start=alias["mark"] or alias["hash"])
    return Readings((name,), (name,))


def _uri_readings(uri: str) -> Readings:
    whole = decodings(uri)
    others: list[str] = []
    if (completed := with_path(uri)) != uri:
        others += decodings(completed)
    if "?" not in uri and "#" not in uri:
        return Readings(whole, tuple(dict.fromkeys([*whole, *others])))
    trimmed = tuple(map(decodings, trimmings(uri)[1:]))
    others += [form for forms in trimmed for form in forms]
    others += decodings(with_path(trimmings(uri)[-1]))
    return Readings(whole, tuple(dict.fromkeys([*whole, *others])), trimmed)


def _compiled(texts: tuple[str, ...], compiled: Callable[[str], _Matcher]) -> tuple[_Matcher, ...]:
    """A matcher for each text; one for all where they are equal."""
    first = compiled(texts[0])
    return tuple(first if text == texts[0] else compiled(text) for text in texts)


def _all_match(matchers: tuple[_Matcher, ...], names: tuple[str, ...]) -> bool:
    if matchers[0] is matchers[-1] and names[0] == names[-1]:
        return matchers[0].matches(names[0])
    return all(matcher.matches(name) for matcher, name in zip(matchers, names, strict=True))


def pattern_problem(kind: TargetKind, text: str) -> str | None:
    """Say why `text` is no pattern for this kind of target, and what to write; None when it is one."""
    if not text:
        return f"is empty; {_DEEP if kind == 'resource' else '*'} matches all"
    if any(ord(character) < 0x20 for character in text):
        return "holds a control character, which no name does"
    if kind == "resource":
        return _path_problem(text)
    return _name_problem(text) or (_method_problem(text) if kind == "method" else None)


def _name_problem(text: str) -> str | None:
    if _DEEP in text:
        return "** is for resources; here * already matches any characters"
    wildcard = next((character for character in text if character in _MEANT_AS_WILDCARDS), None)
    return None if wildcard is None else f"{wildcard} has no meaning in a pattern; only * is special"


def _method_problem(text: str) -> str | None:
    row = METHODS.get(text)
    if row is None or row.targets is None:
        return None
    key = DECIDED_BY.get(row.targets)
    if key is None:
        return "is open to everybody with a token, so no rule is about it; leave it out"
    return f"is decided by what it asks for, so no rule about methods is about it; name that in {key}"


def _path_problem(text: str) -> str | None:
    if any(_DEEP in segment and segment != _DEEP for segment in text.split("/")):
        return "** must be a whole segment, as in file:///srv/**"
    if any(decoding.count("*") != text.count("*") for decoding in decodings(text)):
        return "%2A cannot be written in a pattern"
    problem = resource_uri_problem(text.replace("*", "x"))
    return None if problem is None else f"{problem}, so no resource URI that is let through matches it"


class _Matcher(Protocol):
    def matches(self, name: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class NameMatcher:
    """The literal parts between the stars, in order."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> NameMatcher:
        """The matcher of a pattern."""
        return cls(tuple(text.split("*")))

    def matches(self, name: str) -> bool:
        """Whether the pattern covers the whole name."""
        first, *middle = self.parts
        if not middle:
            return name == first
        last = middle.pop()
        end = len(name) - len(last)
        position = len(first)
        if end < position or not name.startswith(first) or not name.endswith(last):
            return False
        for part in middle:
            # The leftmost place is always good enough: it leaves most room for the parts to come.
            position = name.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True


@dataclass(frozen=True, slots=True)
class _PathMatcher:
    """The segments between the `**`: the first at the beginning, the last at the end, the others in order."""

    parts: tuple[tuple[NameMatcher, ...], ...]

    @classmethod
    def of(cls, text: str) -> _Matcher:
        parts: list[list[NameMatcher]] = [[]]
        for segment in text.split("/"):
            if segment == _DEEP:
                # `**/**` is no more than `**`.
                if parts[-1] or len(parts) == 1:
                    parts.append([])
            else:
                parts[-1].append(NameMatcher.of(segment))
        if len(parts) > 1 and not parts[-1]:
            # `a/**` is what is inside of a, not a itself.
            parts[-1].append(NameMatcher.of("*"))
        return cls(tuple(map(tuple, parts)))

    def matches(self, name: str) -> bool:
        names = name.split("/")
        first, *middle = self.parts
        if not middle:
            return len(names) == len(first) and _fit(first, names, 0)
        last = middle.pop()
        end = len(names) - len(last)
        position = len(first)
        if end < position or not _fit(first, names, 0) or not _fit(last, names, end):
            return False
        for part in middle:
            # The leftmost place is always good enough: it leaves most room for the parts to come.
            position = _place(part, names, position, end)
            if position < 0:
                return False
            position += len(part)
        return True


def _fit(part: tuple[NameMatcher, ...], names: list[str], at: int) -> bool:
    return all(segment.matches(names[at + index]) for index, segment in enumerate(part))


def _place(part: tuple[NameMatcher, ...], names: list[str], begin: int, end: int) -> int:
    """The first place from `begin` on where the segments are, before `end`; -1 for none."""
    last = end - len(part)
    first, *others = part[0].parts
    while begin <= last:
        if not others:
            # Text without `*`, which lists find faster than we do.
            try:
                begin = names.index(first, begin, last + 1)
            except ValueError:
                return -1
        if _fit(part, names, begin):
            return begin
        begin += 1
    return -1
