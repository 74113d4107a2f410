"""The packages of the extra `server`. This file imports none of them, so that it can name what is missing."""

from __future__ import annotations

# What the package imports first from each of them.
_PACKAGES = {"argon2", "authlib", "click", "itsdangerous", "jinja2", "joserfc", "starlette", "uvicorn"}

MISSING = (
    "the command line and the authorization server need an extra; run: pip install 'mcpauth-kit[server]'"
)


def is_missing(error: ModuleNotFoundError) -> bool:
    """Whether an import failed because the extra is not installed."""
    return (error.name or "").partition(".")[0] in _PACKAGES
