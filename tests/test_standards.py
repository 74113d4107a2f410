"""`docs/standards.md` and the modules' first lines name the same standards."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
STANDARD = re.compile(r"RFC \d+|JSON-RPC 2\.0|OpenID Connect (?:Core|Discovery) 1\.0")


def named_in_first_lines() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for folder in ("mcpauth", "middleware/mcpauth_middleware"):
        for path in (ROOT / folder).rglob("*.py"):
            first_line = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
            for standard in STANDARD.findall(first_line):
                found.add((standard.strip(), path.relative_to(ROOT).as_posix()))
    return found


def listed_in_the_docs() -> set[tuple[str, str]]:
    rows = re.findall(
        r"^\| ([^|]+?) \| ([^|]*`[^|]+)\|", (ROOT / "docs/standards.md").read_text(), re.MULTILINE
    )
    return {
        (standard.split(",")[0], path)
        for standard, cell in rows
        for path in re.findall(r"`([^`]+\.py)`", cell)
    }


def test_the_list_of_standards_and_the_first_lines_of_the_modules_agree() -> None:
    """Whoever looks for a standard finds its file, and the other way round."""
    in_code, in_docs = named_in_first_lines(), listed_in_the_docs()
    assert in_code - in_docs == set(), "named by a module, missing in docs/standards.md"
    assert in_docs - in_code == set(), "listed in docs/standards.md, not named by that module's first line"
    assert len({standard for standard, _ in in_code}) > 15


def test_every_module_says_what_it_is() -> None:
    """A module starts with a docstring."""
    silent = [
        path.relative_to(ROOT).as_posix()
        for folder in ("mcpauth", "middleware/mcpauth_middleware", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
