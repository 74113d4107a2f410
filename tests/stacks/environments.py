"""Python environments for the stacks that cannot live in `.venv`: mcp 1.x beside mcp 2.x.

Each is made once, beside `.venv`, by pip and by name. Where pip cannot, the tests of that stack are skipped
with the line that would install it, or fail where `MCPAUTH_TEST_REQUIRE` names "stacks".
"""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 100

ENVIRONMENTS: dict[str, list[str]] = {
    ".venv": [],
    ".venv-mcp1": ["mcp==1.30.*", "fastmcp[tasks]>=3,<4", "fastapi", "granian", "hypercorn", "uvicorn"],
    ".venv-mcp126": ["mcp==1.26.*", "uvicorn"],
}


@cache
def python_of(environment: str) -> str:
    """The interpreter of an environment, which is made where it is missing or no longer what is asked for."""
    if environment == ".venv":
        return sys.executable
    folder = ROOT / environment
    python = str(folder / "bin" / "python")
    wanted = [*ENVIRONMENTS[environment], *_needs_of_the_middleware()]
    with _lock(folder):
        stamp = folder / ".installed"
        if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
            _make(folder, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
            stamp.write_text("\n".join(wanted))
    return python


def search_path() -> str:
    """What PYTHONPATH must be for this project's packages and tests to be found in any environment."""
    return os.pathsep.join((str(ROOT), str(ROOT / "middleware")))


def _make(folder: Path, install: list[str]) -> None:
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            failed = ran.stderr[-500:] if ran.returncode else None
        except subprocess.TimeoutExpired:
            failed = f"not done after {INSTALL_SECONDS} s"
        if failed is not None:
            _missing(f"{folder.name} cannot be made: {shlex.join(command)}\n{failed}")


def _missing(what: str) -> None:
    if "stacks" in os.environ.get("MCPAUTH_TEST_REQUIRE", "").split(","):
        pytest.fail(what)
    pytest.skip(what)


def _needs_of_the_middleware() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs: list[str] = project["dependencies"]
    return needs


@contextmanager
def _lock(folder: Path) -> Generator[None]:
    # Several test processes may want the same environment at the same moment.
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
