"""The kinds of Python syntax that conditions are made of; every other kind is refused."""

from __future__ import annotations

import ast
from typing import Final

from mcpauth_middleware.policy.errors import PolicyError
from mcpauth_middleware.policy.places import place

MAX_DEPTH: Final = 40

SYNTAX: Final[frozenset[type[ast.AST]]] = frozenset(
    {
        # Logic: and, or, not
        ast.BoolOp,
        ast.And,
        ast.Or,
        ast.UnaryOp,
        ast.Not,
        # Comparison and membership
        ast.Compare,
        ast.Eq,
        ast.NotEq,
        ast.Lt,
        ast.LtE,
        ast.Gt,
        ast.GtE,
        ast.In,
        ast.NotIn,
        # Sums and differences of numbers
        ast.USub,
        ast.BinOp,
        ast.Add,
        ast.Sub,
        # Texts, numbers, True, False, None, and lists
        ast.Constant,
        ast.List,
        # Facts, their members, and functions of them
        ast.Name,
        ast.Load,
        ast.Attribute,
        ast.Subscript,
        ast.Call,
    }
)

_INSTEAD: Final[dict[type[ast.AST], str]] = {
    ast.Is: "is compares identities; write ==",
    ast.IsNot: "is not compares identities; write !=",
    ast.Mult: "there is no multiplication; compare the numbers themselves",
    ast.Tuple: "write a list, [...]",
    ast.Set: "write a list, [...]",
    ast.IfExp: "there is no if; use and, or, or a second rule",
    ast.JoinedStr: "there are no f-strings; compare the values themselves",
    ast.Lambda: "functions cannot be written; use those there are",
    ast.ListComp: "there are no loops; use in or any_of",
    ast.SetComp: "there are no loops; use in or any_of",
    ast.DictComp: "there are no loops; use in or any_of",
    ast.GeneratorExp: "there are no loops; use in or any_of",
    ast.NamedExpr: "nothing can be assigned; did you mean ==?",
    ast.Starred: "write the values one by one",
    ast.keyword: "functions take their values in order, without names",
    ast.Slice: "there are no slices; use startswith or endswith",
    ast.BitAnd: "& is for bits; write and",
    ast.BitOr: "| is for bits; write or",
    ast.Invert: "~ is for bits; write not",
}


def dotted(node: ast.expr) -> str:
    """`a` or `a.b`, as it is written; nothing of what is anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def refuse_unlisted(tree: ast.AST, text: str) -> None:
    """Check that the tree has only the kinds of syntax listed, and is not too deep.

    Raises:
        PolicyError: it has another; the message names its place and what to write instead.
    """
    level: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    for _ in range(MAX_DEPTH):
        for node, holder in level:
            if type(node) not in SYNTAX:
                mend = _INSTEAD.get(type(node), f"{type(node).__name__} is no part of conditions")
                # Operators have no place of their own.
                raise PolicyError(f"{place(text, node if hasattr(node, 'col_offset') else holder)}: {mend}")
        level = [(child, node) for node, _ in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise PolicyError(
        f"{place(text, level[0][1])}: is nested deeper than {MAX_DEPTH} levels; make two rules of it"
    )
