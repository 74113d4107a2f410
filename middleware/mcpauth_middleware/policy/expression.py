"""From the syntax of a condition to functions over the facts."""

from __future__ import annotations

import ast
import operator
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from mcpauth_middleware.policy import functions, members, values
from mcpauth_middleware.policy.errors import Missing, PolicyError, Unevaluable
from mcpauth_middleware.policy.evaluation import (
    Binary,
    all_of,
    any_of,
    applied,
    below,
    chained,
    combined,
    negated,
)
from mcpauth_middleware.policy.meaning import NOT_BOOLEAN, is_constant, known_kind
from mcpauth_middleware.policy.places import place, source_of
from mcpauth_middleware.policy.syntax import dotted
from mcpauth_middleware.policy.vocabulary import FACTS, KINDS, ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth_middleware.policy.facts import Facts
    from mcpauth_middleware.policy.vocabulary import Evaluate

_OPERATORS: Final[dict[type[ast.AST], Callable[[object, object], bool]]] = {
    ast.Eq: values.equal,
    ast.NotEq: values.unequal,
    ast.Lt: values.ordering(operator.lt),
    ast.LtE: values.ordering(operator.le),
    ast.Gt: values.ordering(operator.gt),
    ast.GtE: values.ordering(operator.ge),
}
_IN: Final = (ast.In, ast.NotIn)
_LISTS: Final = frozenset(name for name, kind in KINDS.items() if kind == "list")
_OBJECTS: Final = frozenset(name for name, kind in KINDS.items() if kind == "object")
_ARITHMETIC: Final[dict[type[ast.AST], Binary]] = {
    ast.Add: values.arithmetic(operator.add),
    ast.Sub: values.arithmetic(operator.sub),
}
_UNARY: Final[dict[str, Callable[[object], object]]] = {"len": functions.length, "lower": functions.lower}
_BINARY: Final[dict[str, Binary]] = {
    "startswith": functions.starts_with,
    "endswith": functions.ends_with,
    "any_of": values.any_equal,
    "path_under": functions.path_under,
}
_PYTHON_SPELLING: Final = {"true": "True", "false": "False", "null": "None"}
FUNCTIONS: Final = frozenset({*_UNARY, *_BINARY, "glob", "cidr", "has"})


class Compiler:
    """Compiles the parts of one condition, and remembers the facts that they read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.reads: dict[str, Evaluate] = {}

    def condition(self, node: ast.expr) -> Evaluate:
        """A part that must be true or false."""
        if not isinstance(node, ast.Name | ast.Attribute) and known_kind(node) not in (None, "boolean"):
            self._refuse(node, NOT_BOOLEAN)
        return self.value(node)

    def value(self, node: ast.expr) -> Evaluate:
        """Any part."""
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.List():
                return self._list(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._fact(node)
            case ast.BoolOp():
                parts = [self.condition(part) for part in node.values]
                return all_of(parts) if isinstance(node.op, ast.And) else any_of(parts)
            case ast.UnaryOp(op=ast.Not()):
                return negated(self.condition(node.operand))
            case ast.UnaryOp():
                return applied(values.negative, self.value(node.operand))
            case ast.BinOp():
                return combined(_ARITHMETIC[type(node.op)], self.value(node.left), self.value(node.right))
            case ast.Compare():
                return self._compare(node)
            case ast.Call():
                return self._call(node)
            case _:
                return self._refuse(node, f"{type(node).__name__} is no part of conditions")

    def _constant(self, node: ast.Constant) -> Evaluate:
        value: object = node.value
        try:
            if values.kind_of(value) == "text":
                str(value).encode()
        except (Unevaluable, UnicodeEncodeError):
            self._refuse(node, "write a text, a finite number, True, False or None")
        return lambda _facts: value

    def _list(self, node: ast.List) -> Evaluate:
        if is_constant(node):
            constants = tuple(
                self._constant(cast("ast.Constant", item))(cast("Facts", None)) for item in node.elts
            )
            self._checked(node, values.items, constants)
            return lambda _facts: constants
        found = [self.value(item) for item in node.elts]
        return lambda facts: tuple([item(facts) for item in found])

    def _compare(self, node: ast.Compare) -> Evaluate:
        operands = [node.left, *node.comparators]
        first, *others = [self.value(operand) for operand in operands]
        compares = [self._operator(op, *pair) for op, pair in zip(node.ops, pairwise(operands), strict=True)]
        steps = list(zip(compares, others, strict=True))
        for left, right in pairwise(operands):
            if isinstance(left, ast.Constant) and is_constant(right):
                self._refuse(left, "compares two constants; compare a fact, such as args.x")
        if len(steps) == 1:
            return combined(steps[0][0], first, others[0])
        return chained(first, steps)

    def _operator(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Callable[[object, object], bool]:
        if isinstance(op, _IN):
            # What is known to be a list or an object cannot be sent as something else.
            fact = dotted(right)
            contains = values.contains
            if isinstance(right, ast.List) or fact in _LISTS:
                contains = values.contains_item
            elif fact in _OBJECTS:
                contains = members.contains_member
            return contains if isinstance(op, ast.In) else _inverse(contains)
        compare = _OPERATORS[type(op)]
        return values.for_each_length(compare) if _is_length(left) or _is_length(right) else compare

    def _call(self, node: ast.Call) -> Evaluate:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            self._refuse(node.func, f"no such function{_meant(name, FUNCTIONS)}")
        count = 1 if name in _UNARY or name == "has" else 2
        if len(node.args) != count:
            self._refuse(node, f"{name} takes {count} value{'s' * (count > 1)}")
        if name == "has":
            return self._has(node.args[0])
        if name == "len" and dotted(node.args[0]) in _OBJECTS:
            return applied(functions.members, self.value(node.args[0]))
        if name in _UNARY:
            return applied(_UNARY[name], self.value(node.args[0]))
        if name in _BINARY:
            return self._binary(name, node)
        tested = self._tested(name, node.args[1])
        return applied(tested, self.value(node.args[0]))

    def _binary(self, name: str, node: ast.Call) -> Evaluate:
        root = node.args[1]
        if name == "path_under" and isinstance(root, ast.Constant):
            problem = (
                functions.folder_problem(root.value) if isinstance(root.value, str) else "must be a text"
            )
            if problem is not None:
                self._refuse(root, problem)
        return combined(_BINARY[name], self.value(node.args[0]), self.value(root))

    def _tested(self, name: str, node: ast.expr) -> Callable[[object], object]:
        """`glob` and `cidr`, whose second value is compiled."""
        written = [node] if not (name == "cidr" and isinstance(node, ast.List)) else node.elts
        texts = [
            item.value for item in written if isinstance(item, ast.Constant) and isinstance(item.value, str)
        ]
        if len(texts) != len(written) or not texts:
            self._refuse(node, f"the second value of {name} must be written here, in quotes")
        if name == "cidr":
            return cast("Callable[[object], object]", self._checked(node, functions.cidr, texts))
        return cast("Callable[[object], object]", self._checked(node, functions.glob, texts[0]))

    def _has(self, node: ast.expr) -> Evaluate:
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            self._refuse(node, "name a fact, as in has(args.x)")
        found = self._fact(node)
        within: ast.expr = node
        while isinstance(within, ast.Attribute | ast.Subscript):
            if isinstance(within, ast.Subscript) and not isinstance(within.slice, ast.Constant):
                self._refuse(within.slice, "has asks for a member by its name; write the name in quotes")
            within = within.value
        if isinstance(node, ast.Name):
            self._refuse(node, f"is always there; ask for a member, as in has({node.id}.x)")

        def has(facts: Facts) -> bool:
            try:
                found(facts)
            except Missing:
                return False
            return True

        return has

    def _fact(self, node: ast.expr) -> Evaluate:
        found = self._member(node)
        self.reads.setdefault(source_of(self._text, node), found)
        return found

    def _member(self, node: ast.expr) -> Evaluate:
        known = FACTS.get(dotted(node))
        if known is not None:
            return known
        match node:
            case ast.Attribute(value=ast.Name(id=root)) | ast.Name(id=root) if root != "args":
                return self._refuse_unknown(node, root)
            case ast.Attribute():
                return below(self._member(node.value), node.attr, _look_up(node.value))
            case ast.Subscript():
                return self._subscript(node)
            case _:
                return self.value(node)

    def _subscript(self, node: ast.Subscript) -> Evaluate:
        if isinstance(node.value, ast.Name) and node.value.id != "args":
            self._refuse(node, f"write {node.value.id}.name")
        container, key = self._member(node.value), self.value(node.slice)
        return combined(_look_up(node.value), container, key)

    def _refuse_unknown(self, node: ast.expr, root: str) -> NoReturn:
        if root in _PYTHON_SPELLING:
            self._refuse(node, f"write {_PYTHON_SPELLING[root]}")
        if root not in ROOTS:
            self._refuse(node, f"no such name{_meant(root, ROOTS)}")
        known = sorted(name for name in FACTS if name.startswith(root + "."))
        if isinstance(node, ast.Name):
            self._refuse(node, f"name one of its members: {', '.join(known) or root}")
        self._refuse(node, f"no such name{_meant(dotted(node), known)}")

    def _checked(self, node: ast.expr, check: Callable[[Any], object], value: object) -> object:
        try:
            return check(value)
        except (PolicyError, Unevaluable) as problem:
            self._refuse(node, str(problem))

    def _refuse(self, node: ast.AST, problem: str) -> NoReturn:
        raise PolicyError(f"{place(self._text, node)}: {problem}")


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def _inverse(compare: Callable[[object, object], bool]) -> Callable[[object, object], bool]:
    return lambda left, right: not compare(left, right)


def _meant(name: str, known: frozenset[str] | list[str]) -> str:
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"


def _look_up(container: ast.expr) -> Binary:
    return members.root_member if dotted(container) in _OBJECTS else members.member
