"""Patterns of rules. `*` is the only special character.

In the names of tools, prompts and methods `*` stands for any characters. In resource URIs it stays
within a segment (it never matches a `/`), and `**` as a whole segment stands for any number of segments;
at the end, for at least one.

Matching takes linear time: a name is the caller's, and a regular expression with several `*` would let
it choose how long a decision takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpauth_middleware.message.resource_uri import decodings, resource_uri_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.message.target import TargetKind

_DEEP = "**"
_MEANT_AS_WILDCARDS = "?[]{}"


class Pattern:
    """One pattern of a rule.

    A resource URI may be read by its server with percent escapes or without. So a URI comes as its
    `decodings`: an allow rule must match each of them, a deny rule any.
    """

    def __init__(self, kind: TargetKind, text: str) -> None:
        self.text = text
        self._texts = decodings(text) if kind == "resource" else (text,)
        compiled: Callable[[str], _Matcher] = _PathMatcher.of if kind == "resource" else NameMatcher.of
        self._matchers = tuple(map(compiled, self._texts))

    @property
    def keys(self) -> frozenset[tuple[str, bool]]:
        """How every name it matches begins, and whether that is already the whole name."""
        return frozenset((text.partition("*")[0], "*" not in text) for text in self._texts)

    def matches_all(self, names: tuple[str, ...]) -> bool:
        """Whether it matches the name in each of its readings."""
        if len(names) == 1:
            return self._matchers[0].matches(names[0])
        return all(matcher.matches(name) for matcher, name in zip(self._matchers, names, strict=True))

    def matches_any(self, names: tuple[str, ...]) -> bool:
        """Whether it matches the name in any of its readings."""
        if len(names) == 1:
            return self._matchers[0].matches(names[0])
        return any(matcher.matches(name) for matcher in self._matchers for name in names)


def readings(kind: TargetKind, name: str) -> tuple[str, ...]:
    """The forms in which the name of a target is compared with a pattern of the same kind."""
    return decodings(name) if kind == "resource" else (name,)


def pattern_problem(kind: TargetKind, text: str) -> str | None:
    """Say why `text` is no pattern for this kind of target, and what to write; None when it is one."""
    if not text:
        return "is empty; * matches every name"
    if any(ord(character) < 0x20 for character in text):
        return "holds a control character, which no name does"
    return _path_problem(text) if kind == "resource" else _name_problem(text)


def _name_problem(text: str) -> str | None:
    if _DEEP in text:
        return "** is for resources; here * already matches any characters"
    wildcard = next((character for character in text if character in _MEANT_AS_WILDCARDS), None)
    return None if wildcard is None else f"{wildcard} has no meaning in a pattern; only * is special"


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
    """A matcher for each segment; None stands for `**`."""

    segments: tuple[NameMatcher | None, ...]

    @classmethod
    def of(cls, text: str) -> _Matcher:
        segments = [
            None if segment == _DEEP else NameMatcher(tuple(segment.split("*")))
            for segment in text.split("/")
        ]
        if segments[-1] is None:
            # `a/**` is what is inside of a, not a itself.
            segments.append(NameMatcher(("", "")))
        return cls(tuple(segments))

    def matches(self, name: str) -> bool:
        names = name.split("/")
        at = position = resume = 0
        deep = -1
        while position < len(names):
            if at < len(self.segments):
                segment = self.segments[at]
                if segment is None:
                    deep, resume = at, position
                    at += 1
                    continue
                if segment.matches(names[position]):
                    at += 1
                    position += 1
                    continue
            if deep < 0:
                return False
            # The last `**` takes one segment more; earlier ones need not be tried again.
            resume += 1
            at, position = deep + 1, resume
        return all(segment is None for segment in self.segments[at:])
