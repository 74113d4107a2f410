"""The command `mcpauth`. This file imports nothing that the extra `server` installs, so that it can say when
it is missing.
"""

from __future__ import annotations

import sys

from mcpauth.extra import MISSING, is_missing


def main() -> None:
    """Run the command line."""
    try:
        from mcpauth.commands import mcpauth
    except ModuleNotFoundError as missing:
        if not is_missing(missing):
            raise
        sys.exit(f"mcpauth: {MISSING}")
    mcpauth(prog_name="mcpauth")
