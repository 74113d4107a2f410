"""The expression language as Google's CEL evaluates it: an oracle that shares no code with ours.

One grammar generates each expression twice, as ours and as CEL. Where the two languages differ on purpose
the CEL form says ours with CEL's own means: `and` asks from left to right, and what compares two types is
an error, for which CEL is asked for a variable that has no value.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

# It has stubs, and no marker that says so.
from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_strings  # type: ignore[import-untyped]

from mcpauth_middleware.policy.conditions import compile_expression
from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.facts import ClaimNames, Context, Facts
from tests.middleware.gate_helpers import call, principal

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR: Final = "error"

ARGUMENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {"a": "x", "b": "xy", "n": 3, "m": 4, "f": 2.5, "t": True, "l": ["x", "y"], "o": {"a": "x", "n": 1}},
    {"a": "", "b": "b", "n": -1, "m": 0, "f": 3.0, "t": False, "l": [], "o": {}},
    {"a": 3, "b": True, "n": "3", "m": None, "f": 1, "t": "true", "l": "xy", "o": ["a"]},
    {"a": ["x"], "b": {"a": "x"}, "n": 3.0, "m": True, "f": False, "t": 1, "l": [1, 2, 3], "o": {"a": None}},
    {"a": None, "b": "XY", "n": 10**12, "m": 4.5, "l": ["x", 1], "o": {"o": {"z": "x"}, "p": 1}},
    {},
)
# Declared and never bound: to ask for it is an error.
_IF_ERROR: Final = "nothing"
_NUMBER: Final = "type({0}) in [int, double]"


@dataclass(frozen=True, slots=True)
class Pair:
    """One expression in both languages."""

    ours: str
    cel: str
    kind: str | None = None
    """The type in CEL, where the expression itself says it."""


class Generator:
    """Makes expressions of the grammar that both languages have."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (to be the same each time)

    def condition(self, depth: int = 2) -> Pair:
        """Something that is meant to be true or false."""
        kinds = ["compare", "compare", "order", "in", "function", "has", "fact"]
        if depth > 0:
            kinds += ["and", "or", "not", "and", "or"]
        return getattr(self, f"_{self._random.choice(kinds)}")(depth)  # type: ignore[no-any-return]

    def _and(self, depth: int) -> Pair:
        left, right = self.condition(depth - 1), self.condition(depth - 1)
        return Pair(f"({left.ours} and {right.ours})", f"({left.cel} ? ({right.cel} && true) : false)")

    def _or(self, depth: int) -> Pair:
        left, right = self.condition(depth - 1), self.condition(depth - 1)
        return Pair(f"({left.ours} or {right.ours})", f"({left.cel} ? true : ({right.cel} && true))")

    def _not(self, depth: int) -> Pair:
        inner = self.condition(depth - 1)
        return Pair(f"(not {inner.ours})", f"(!{inner.cel})")

    def _fact(self, _depth: int) -> Pair:
        member = self._member()
        return Pair(member.ours, f"({member.cel} && true)")

    def _compare(self, _depth: int) -> Pair:
        left, right = self._member(), self._operand()
        operator = self._random.choice(["==", "!="])
        compared = f"{left.cel} {operator} {right.cel}"
        ours = f"({left.ours} {operator} {right.ours})"
        return Pair(ours, f"({_alike(left, right, 'bool', 'null_type')} ? {compared} : {_IF_ERROR})")

    def _order(self, _depth: int) -> Pair:
        left, right = self._member(), self._operand()
        operator = self._random.choice(["<", "<=", ">", ">="])
        ordered = f"dyn({left.cel}) {operator} dyn({right.cel})"
        ours = f"({left.ours} {operator} {right.ours})"
        return Pair(ours, f"({_alike(left, right)} ? {ordered} : {_IF_ERROR})")

    def _in(self, _depth: int) -> Pair:
        if self._random.random() < 0.4:
            item, holder = self._random.choice([self._text, self._name])(), Pair("args", "args")
            found = f"({item.cel} in args)"
        else:
            item, holder = self._member(), self._list()
            found = _in_list(item.cel, holder.cel)
        negated = self._random.random() < 0.3
        ours = f"({item.ours} {'not in' if negated else 'in'} {holder.ours})"
        return Pair(ours, f"(!{found})" if negated else found)

    def _function(self, _depth: int) -> Pair:
        match self._random.choice(["startswith", "endswith", "substring", "len"]):
            case "len":
                left, right = self._member(), self._number()
                return Pair(f"(len({left.ours}) >= {right.ours})", _long(left.cel, right.cel))
            case "substring":
                left, right = self._text(), self._member()
                if right.ours in ("args.l", "args.o"):
                    right = Pair("args.b", "args.b")
                # Ours searches lists and objects by the same name.
                is_text = f"type({right.cel}) == string"
                return Pair(
                    f"({left.ours} in lower({right.ours}))", self._lower_contains(left, right, is_text)
                )
            case name:
                left, right = self._member(), self._text()
                method = "startsWith" if name == "startswith" else "endsWith"
                return Pair(
                    f"{name}({left.ours}, {right.ours})",
                    f"(type({left.cel}) == string ? {left.cel}.{method}({right.cel}) : {_IF_ERROR})",
                )

    def _lower_contains(self, left: Pair, right: Pair, is_text: str) -> str:
        return f"({is_text} ? {right.cel}.lowerAscii().contains({left.cel}) : {_IF_ERROR})"

    def _has(self, _depth: int) -> Pair:
        name = self._random.choice(["a", "n", "f", "zz"])
        if self._random.random() < 0.5:
            return Pair(f"has(args.{name})", f"has(args.{name})")
        below = f"(type(args.o) == map ? has(args.o.{name}) : {_IF_ERROR})"
        return Pair(f"has(args.o.{name})", f"(has(args.o) ? {below} : false)")

    def _operand(self) -> Pair:
        return self._random.choice([self._member, self._text, self._number, self._boolean])()

    def _member(self) -> Pair:
        path = self._random.choice(
            [
                *("args.a", "args.b", "args.n", "args.m", "args.f", "args.t", "args.l", "args.o"),
                *("args.o.a", "args.o.n", "principal.sub", "args.zz"),
            ]
        )
        return Pair(path, path)

    def _text(self) -> Pair:
        text = self._random.choice(["", "x", "y", "xy", "alice", "b"])
        return Pair(f'"{text}"', f'"{text}"', "string")

    def _name(self) -> Pair:
        name = self._random.choice(["a", "f", "l", "zz"])
        return Pair(f'"{name}"', f'"{name}"')

    def _number(self) -> Pair:
        number = self._random.choice(["0", "1", "3", "-1", "2.5", "3.0", "1000000000000"])
        return Pair(number, number, "number")

    def _boolean(self) -> Pair:
        value = self._random.choice([True, False])
        return Pair(str(value), str(value).lower(), "bool")

    def _list(self) -> Pair:
        written = self._random.choice(['["x", "y"]', "[1, 3]", "[2.5, 3.0]", "args.l"])
        if written != "args.l":
            return Pair(written, f"dyn({written})")
        return Pair(written, written)


def _alike(left: Pair, right: Pair, *more: str) -> str:
    """Both are texts, both are numbers, or both are of one of the other types."""
    if right.kind == "number":
        return _NUMBER.format(left.cel)
    if right.kind is not None:
        return f"type({left.cel}) == {right.kind}" if right.kind in ("string", *more) else "false"
    same = f"type({left.cel}) == type({right.cel}) && type({left.cel}) in [{', '.join(('string', *more))}]"
    return f"({same} || {_NUMBER.format(left.cel)} && {_NUMBER.format(right.cel)})"


def _long(value: str, number: str) -> str:
    def longer(text: str) -> str:
        return f"(dyn(size({text})) >= dyn({number}))"

    # A list with one item may be that item, wrapped; one of several kinds is nothing.
    only = f"{value}[0]"
    wrapped = f"(size({value}) == 1 && type({only}) in [string, list])"
    agree = f"({longer(value)} == {longer(only)})"
    alike = f"({value}.all(i, type(i) == type({only})) || {value}.all(i, {_NUMBER.format('i')}))"
    in_list = f"(!{alike} ? {_IF_ERROR} : {wrapped} && !{agree} ? {_IF_ERROR} : {longer(value)})"
    return f"(type({value}) == string ? {longer(value)} : type({value}) == list ? {in_list} : {_IF_ERROR})"


def _in_list(item: str, holder: str) -> str:
    same = f"(type(i) == type({item}) || ({_NUMBER.format('i')} && {_NUMBER.format(item)}))"
    comparable = f"(!(type({item}) in [list, map]) && {holder}.all(i, {same}))"
    searched = f"(size({holder}) == 0 ? false : {comparable} ? {item} in {holder} : {_IF_ERROR})"
    if holder != "args.l":
        return f"(type({item}) == type({item}) ? {searched} : false)"
    # Texts of a list that only contain the item: a text may have been sent as a list.
    partly = f"(type({item}) == string && (size({holder}) == 0 ? '' : {holder}.join()).contains({item}))"
    in_list = f"({searched} ? true : {partly} ? {_IF_ERROR} : false)"
    within = f"(type({item}) == string ? {holder}.contains({item}) : {_IF_ERROR})"
    kinds = f"(type(args.l) == list ? {in_list} : type(args.l) == string ? {within} : {_IF_ERROR})"
    return f"(type({item}) == type({item}) ? {kinds} : false)"


class Oracle:
    """Evaluates both forms of a pair over the same arguments."""

    def __init__(self) -> None:
        dynamic = cel.Type.DYN
        self._env = cel.NewEnv(
            variables={"args": dynamic, "principal": dynamic, "nothing": cel.Type.BOOL},
            extensions=[ext_strings.ExtStrings()],
        )
        who = principal()
        self._facts = [
            Facts(message.targets[0], who, frozenset(), Context(), ClaimNames(), message)
            for message in (call("t", arguments) for arguments in ARGUMENTS)
        ]
        self._activations = [
            self._env.Activation({"args": dict(arguments), "principal": {"sub": who.subject}})
            for arguments in ARGUMENTS
        ]

    def ours(self, pair: Pair, *sets: int) -> list[object]:
        """What our language says for these sets of arguments."""
        try:
            condition = compile_expression(pair.ours)
        except PolicyError as refused:
            raise AssertionError(f"{pair.ours} is refused: {refused}") from None
        answers: list[object] = []
        for chosen in sets:
            try:
                answers.append(condition.holds(self._facts[chosen]))
            except Unevaluable:
                answers.append(ERROR)
        return answers

    def cel(self, pair: Pair, *sets: int) -> list[object]:
        """What CEL says."""
        expression = self._env.compile(pair.cel, disable_check=True)
        answers: list[object] = []
        for chosen in sets:
            found = expression.eval(self._activations[chosen])
            # An error is a value, and a true one at that: only its type tells.
            answers.append(found.value() if found.type() == cel.Type.BOOL else ERROR)
        return answers
