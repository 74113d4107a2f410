"""The members of an object in a journal, each asked for with the type that the middleware writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from mcpauth_middleware.replay.errors import NotAnEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


class Members:
    """An object; `path` is where it stands in the event, for whoever has to find what is wrong.

    Raises:
        NotAnEvent: here it is no object; in each method the member is of another type, or missing.
    """

    def __init__(self, found: object, path: str = "") -> None:
        if not isinstance(found, dict):
            raise NotAnEvent(f"`{path}` must be an object" if path else "must be an object")
        self.all: Mapping[str, Any] = cast("dict[str, Any]", found)
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self.all

    def members(self, name: str) -> Members:
        """An object that must be there."""
        return Members(self._must(name), self._of(name))

    def members_if_any(self, name: str) -> Members:
        """An object; where it is left out, one that holds nothing."""
        return self.members(name) if name in self else Members({}, self._of(name))

    def text(self, name: str) -> str:
        """A text that must be there."""
        return self._typed(name, str, "a text", self._must(name))

    def text_or_none(self, name: str) -> str | None:
        """A text; None where it is left out or null."""
        return None if self.all.get(name) is None else self.text(name)

    def texts_or_none(self, name: str) -> tuple[str, ...] | None:
        """A list of texts; None where it is left out."""
        if name not in self:
            return None
        items = cast("list[object]", self._typed(name, list, "a list of texts", self.all[name]))
        return tuple(
            item if isinstance(item, str) else self.refuse(name, "a list of texts") for item in items
        )

    def number(self, name: str) -> int:
        """A whole number that must be there."""
        return self._typed(name, int, "a whole number", self._must(name))

    def flag(self, name: str) -> bool:
        """True or false; the latter where it is left out."""
        return self._typed(name, bool, "true or false", self.all.get(name, False))

    def word(self, name: str, words: Sequence[Word]) -> Word:
        """One of some words, which must be there."""
        found = self.text(name)
        for word in words:
            if word == found:
                return word
        return self.refuse(name, f"one of {', '.join(words)}")

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Say what a member must be."""
        raise NotAnEvent(f"`{self._of(name)}` must be {wanted}")

    def _must(self, name: str) -> object:
        if name not in self:
            raise NotAnEvent(f"`{self._of(name)}` is missing")
        return self.all[name]

    def _typed(self, name: str, kind: type[T], wanted: str, found: object) -> T:
        # Exactly: a boolean of Python is a number, too.
        return found if type(found) is kind else self.refuse(name, wanted)

    def _of(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name
