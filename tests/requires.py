"""Foreign programs that some tests start: skipped visibly where one is missing, and never silently in CI."""

from __future__ import annotations

import os
import shutil

import pytest

# The name to put into MCPAUTH_TEST_REQUIRE, and how to install it.
INSTALL = {
    "chromium": "apt-get install -y chromium",
    "node": "apt-get install -y nodejs",
    "npm": "apt-get install -y npm",
}


def program(name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails if `MCPAUTH_TEST_REQUIRE` names it."""
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"{name} is not installed: {INSTALL[name]}"
    if name in os.environ.get("MCPAUTH_TEST_REQUIRE", "").split(","):
        pytest.fail(missing)
    pytest.skip(missing)
