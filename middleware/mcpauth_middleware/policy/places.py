"""Where something stands in the text of a condition: for the eyes of whoever has to mend it."""

from __future__ import annotations

import ast


def column(text: str, offset: int) -> str:
    """The place of the character at `offset`, counted from 1."""
    before = text[:offset]
    line = before.count("\n") + 1
    in_line = offset - (before.rfind("\n") + 1) + 1
    return f"line {line}, column {in_line}" if "\n" in text else f"column {in_line}"


def place(text: str, node: ast.AST) -> str:
    """The place where a piece of syntax begins."""
    return column(text, _offset(text, getattr(node, "lineno", 1), getattr(node, "col_offset", 0)))


def source_of(text: str, node: ast.AST) -> str:
    """The text of a piece of syntax."""
    if isinstance(node, ast.expr) and node.end_lineno == 1:
        # Nothing but the first line need be found, where long conditions have their many parts.
        return text.encode()[node.col_offset : node.end_col_offset].decode()
    return ast.get_source_segment(text, node) or text


def _offset(text: str, line: int, byte_in_line: int) -> int:
    lines = text.splitlines(keepends=True)[:line] or [""]
    # Python counts bytes of UTF-8.
    in_line = len(lines[-1].encode()[:byte_in_line].decode(errors="ignore"))
    return sum(map(len, lines[:-1])) + in_line
