"""Conditions that could be compiled and never mean what they say: what is known of them before any call.

`principal.groups == "admins"` compares a list with a text, which has no answer whoever calls; Python reads
`args.x in ["a"] == False` as two comparisons, the second of which is always false. Such a rule would stand in
the policy and allow nothing, or deny nothing, or deny all.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NoReturn

from mcpauth_middleware.policy import functions
from mcpauth_middleware.policy.errors import PolicyError, Unevaluable
from mcpauth_middleware.policy.facts import DAYS
from mcpauth_middleware.policy.places import place, source_of
from mcpauth_middleware.policy.syntax import dotted
from mcpauth_middleware.policy.values import SCALARS, a, kind_of
from mcpauth_middleware.policy.vocabulary import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpauth_middleware.policy.values import Kind

NOT_BOOLEAN: Final = "is neither true nor false; compare it with something"
_IN: Final = (ast.In, ast.NotIn)
_EQUALITY: Final = (ast.Eq, ast.NotEq)
_ROWS: Final = ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE}, {ast.Eq})
"""Which comparisons in a row are read as they are written."""
_TEXT: Final[tuple[Kind, ...]] = ("text",)
_LIST: Final[tuple[Kind, ...]] = ("list",)
_TAKES: Final[dict[str, tuple[tuple[Kind, ...], ...]]] = {
    "lower": (_TEXT,),
    "len": (("text", "list", "object"),),
    "any_of": (_LIST, _LIST),
    "startswith": (_TEXT, _TEXT),
    "endswith": (_TEXT, _TEXT),
    "glob": (_TEXT, _TEXT),
    "path_under": (_TEXT, _TEXT),
    "cidr": (_TEXT,),
}
"""The kinds of value that functions take."""
_LOOKS_INTO_FIRST: Final = frozenset({"startswith", "endswith", "glob", "path_under", "cidr"})
_RETURNS: Final[dict[str, Kind]] = {
    **dict.fromkeys((*_TAKES, "has"), "boolean"),
    "len": "number",
    "lower": "text",
}
_ONE_TEXT: Final = re.compile(
    r"""[A-Za-z]{0,2}(?:'''(?:[^\\]|\\.)*?'''|\"{3}(?:[^\\]|\\.)*?\"{3}|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""",
    re.DOTALL,
)
_SIDE_BY_SIDE: Final = re.compile(r"""['"](?:\s|\\|#[^\n]*\n)*[A-Za-z]{0,2}['"]""")


def known_kind(node: ast.expr) -> Kind | None:
    """The kind that a value has whatever is asked for; None for those that a caller chooses."""
    match node:
        case ast.Constant():
            try:
                return kind_of(node.value)
            except Unevaluable:
                return None  # refused where it is compiled
        case ast.List():
            return "list"
        case ast.Name() | ast.Attribute():
            return KINDS.get(dotted(node))
        case ast.Call(func=ast.Name(id=name)):
            return _RETURNS.get(name)
        case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "boolean"
        case ast.BinOp() | ast.UnaryOp():
            return "number"
        case _:
            return None


def is_constant(node: ast.expr) -> bool:
    """Whether it is a text, a number and the like, or a list of such."""
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.List) and all(isinstance(item, ast.Constant) for item in node.elts)
    )


def refuse_meaningless(tree: ast.expr, text: str) -> None:
    """Check that what is known of a condition beforehand does not make a part of it meaningless.

    Raises:
        PolicyError: it does; the message names the place and the mend.
    """
    check = _Check(text)
    check.condition(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                check.comparison(node)
            case ast.BoolOp():
                for part in node.values:
                    check.condition(part)
            case ast.UnaryOp(op=ast.Not()):
                check.condition(node.operand)
            case ast.Call(func=ast.Name(id=name)) if name in _TAKES:
                check.call(name, node)
            case ast.List(elts=[]):
                check.refuse(node, "is an empty list; name what is in it")
            case ast.Constant():
                check.constant(node)
            case _:
                pass


class _Check:
    def __init__(self, text: str) -> None:
        self._text = text
        self._may_hold_two = _SIDE_BY_SIDE.search(text) is not None

    def constant(self, node: ast.Constant) -> None:
        # Python makes one text of two that have no comma between them.
        if self._may_hold_two and isinstance(node.value, str) and not _ONE_TEXT.fullmatch(self._of(node)):
            self.refuse(node, "two texts side by side are one; write a comma between them")

    def condition(self, node: ast.expr) -> None:
        if known_kind(node) not in (None, "boolean"):
            self.refuse(node, NOT_BOOLEAN)

    def comparison(self, node: ast.Compare) -> None:
        operators = {type(op) for op in node.ops}
        operands = [node.left, *node.comparators]
        if len(node.ops) > 1 and (
            not any(operators <= row for row in _ROWS)
            or any(known_kind(operand) == "boolean" for operand in operands)
        ):
            self.refuse(node, "comparisons in a row hold each on its own; write them one by one, with and")
        for op, (left, right) in zip(node.ops, pairwise(operands), strict=True):
            if isinstance(op, _IN):
                self._membership(left, right)
            elif isinstance(op, _EQUALITY):
                self._equality(left, right)
            else:
                self._order(left, right)
            self._vocabulary(left, right)
            self._vocabulary(right, left)

    def call(self, name: str, node: ast.Call) -> None:
        for value, kinds in zip(node.args, _TAKES[name], strict=False):
            found = known_kind(value)
            if found is not None and found not in kinds:
                wanted = " or ".join(a(kind) for kind in kinds)
                self.refuse(value, f"is {a(found)}, and {name} takes {wanted}; {_mend(found, kinds)}")
        if name in _LOOKS_INTO_FIRST and node.args and isinstance(node.args[0], ast.Constant):
            self.refuse(node.args[0], f"{name} looks into its first value; write the fact there, as args.x")
        if len(node.args) > 1 and name != "path_under":
            self._lower_case(node.args[0], node.args[1])

    def _equality(self, left: ast.expr, right: ast.expr) -> None:
        kinds = known_kind(left), known_kind(right)
        for one, other, kind in ((left, right, kinds[0]), (right, left, kinds[1])):
            if kind == "list":
                self.refuse(one, f"lists are not compared as a whole; write {self._look_up(one, other)}")
            if kind == "object":
                self.refuse(one, "objects are not compared as a whole; compare a member")
        self._same_kind(left, right)

    def _order(self, left: ast.expr, right: ast.expr) -> None:
        for one in (left, right):
            if known_kind(one) not in (None, "number", "text"):
                self.refuse(one, "has no order; compare numbers or texts")
        self._same_kind(left, right)

    def _same_kind(self, left: ast.expr, right: ast.expr) -> None:
        kinds = known_kind(left), known_kind(right)
        if None in kinds or kinds[0] == kinds[1]:
            return
        if "null" in kinds:
            fact = right if kinds[0] == "null" else left
            self.refuse(left, f"{self._of(fact)} is never None; write has({self._of(fact)})")
        described = " and ".join(
            f"{self._of(one)} is {a(kind)}" for one, kind in zip((left, right), kinds, strict=True) if kind
        )
        self.refuse(left, f"{described}; compare what is of one kind")

    def _membership(self, item: ast.expr, container: ast.expr) -> None:
        kind, within = known_kind(item), known_kind(container)
        if isinstance(container, ast.Constant) and within == "text":
            mend = f"write == {self._of(container)}, or a list, [{self._of(container)}]"
            self.refuse(container, f"in would look for a part of this text; {mend}")
        if within not in (None, "text", "list", "object"):
            self.refuse(container, "has nothing in it; name a list, a text or an object")
        if within == "list" and kind not in (None, *SCALARS):
            self.refuse(item, f"is no item of a list; write any_of({self._of(item)}, {self._of(container)})")
        for other in _items(container):
            self._same_kind(item, other)
        if within is not None and not isinstance(container, ast.List) and kind not in (None, "text"):
            self.refuse(item, f"{self._of(container)} holds texts; look for a text in it")

    def _vocabulary(self, fact: ast.expr, other: ast.expr) -> None:
        """Facts whose values are known: one that they never have is a mistake."""
        self._lower_case(fact, other)
        name = dotted(fact)
        for constant in (other, *_items(other)):
            if not isinstance(constant, ast.Constant) or not isinstance(constant.value, str):
                continue
            if name == "env.weekday" and constant.value not in DAYS:
                self.refuse(constant, f"is no weekday; write one of {', '.join(DAYS)}")
            if name == "env.ip" and not _is_address(constant.value):
                self.refuse(constant, f"is no address; write cidr(env.ip, {self._of(constant)})")

    def _lower_case(self, lowered: ast.expr, other: ast.expr) -> None:
        if not isinstance(lowered, ast.Call) or dotted(lowered.func) != "lower":
            return
        for constant in (other, *_items(other)):
            value = constant.value if isinstance(constant, ast.Constant) else None
            if isinstance(value, str) and value != value.lower():
                self.refuse(
                    constant, f'is not in lower case, so never in what lower gives; write "{value.lower()}"'
                )

    def _look_up(self, found: ast.expr, other: ast.expr) -> str:
        if isinstance(found, ast.List) or known_kind(other) == "list":
            one, listed = (other, found) if isinstance(found, ast.List) else (found, other)
            return f"any_of({self._of(one)}, {self._of(listed)})"
        return f"{self._of(other)} in {self._of(found)}"

    def _of(self, node: ast.expr) -> str:
        return source_of(self._text, node)

    def refuse(self, node: ast.expr, problem: str) -> NoReturn:
        raise PolicyError(f"{place(self._text, node)}: {problem}")


def _mend(found: Kind, wanted: tuple[Kind, ...]) -> str:
    if found == "list":
        return 'ask for an item, as in "x" in principal.groups'
    return 'write a list, as in ["x"]' if wanted == _LIST else "name something else"


def _items(node: ast.expr) -> Sequence[ast.expr]:
    return node.elts if isinstance(node, ast.List) else ()


def _is_address(text: str) -> bool:
    try:
        functions.address(text)
    except Unevaluable:
        return False
    return True
