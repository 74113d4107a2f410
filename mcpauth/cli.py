"""The command `mcpauth`. This file imports nothing that the extra `server` installs, so that it can say when
it is missing.
"""

from __future__ import annotations

import sys

# What the commands import first from each package of the extra.
_EXTRA = {"argon2", "authlib", "click", "itsdangerous", "jinja2", "joserfc", "starlette", "uvicorn"}


def main() -> None:
    """Run the command line."""
    try:
        from mcpauth.commands import mcpauth
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit("mcpauth: the authorization server is not installed; run: pip install 'mcpauth-kit[server]'")
    mcpauth(prog_name="mcpauth")
