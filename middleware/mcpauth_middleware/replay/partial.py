"""Objects of which a journal holds only some members: the others are neither there nor missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from mcpauth_middleware.policy.errors import Missing
from mcpauth_middleware.replay.errors import NotKept


class Partial(Mapping[str, Any]):
    """An object of which some members are known, some are known to be absent, and of the rest nothing is."""

    def __init__(self, what: str, known: Mapping[str, Any], absent: frozenset[str] = frozenset()) -> None:
        self._what = what
        self._known = known
        self._absent = absent

    @classmethod
    def of(cls, what: str, known: Mapping[str, Any], absent: Iterable[str] = ()) -> Partial:
        """From names with dots: `options.mode` is a member of a `Partial` called `options`."""
        inner: dict[str, tuple[dict[str, Any], list[str]]] = {}
        whole: dict[str, Any] = {}
        for name, value in known.items():
            first, dot, rest = name.partition(".")
            if dot:
                inner.setdefault(first, ({}, []))[0][rest] = value
            else:
                whole[name] = value
        gone: set[str] = set()
        for name in absent:
            first, dot, rest = name.partition(".")
            if dot:
                inner.setdefault(first, ({}, []))[1].append(rest)
            else:
                gone.add(name)
        for name, (members, missing) in inner.items():
            # Of an absent `options.mode` nobody knows whether `options` is there.
            if name not in whole and name not in gone and members:
                whole[name] = cls.of(f"{what}.{name}", members, tuple(missing))
        return cls(what, whole, frozenset(gone))

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (JSON)
        if name in self._known:
            return self._known[name]
        return self._unknown(name)

    def __contains__(self, name: object) -> bool:
        return name in self._known or self._unknown(name)

    def __iter__(self) -> NoReturn:
        raise NotKept(f"all of {self._what}")

    def __len__(self) -> NoReturn:
        raise NotKept(f"all of {self._what}")

    def _unknown(self, name: object) -> NoReturn:
        if name in self._absent:
            raise Missing(f"the journal says there was no {self._what}.{name}")
        raise NotKept(f"{self._what}.{name}")
