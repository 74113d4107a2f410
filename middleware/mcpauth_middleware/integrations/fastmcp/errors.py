"""A refusal within a call, as an error of FastMCP (3, 4) whose text the caller reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastmcp.exceptions import NotFoundError, PromptError, ResourceError, ToolError

from mcpauth_middleware.errors import Denied, InsufficientScope, InvalidArguments, RateLimited
from mcpauth_middleware.message import MessageRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth_middleware.errors import Refused

# What a method uses, and the error of FastMCP when that goes wrong.
_USES: Final[Mapping[str, tuple[str, type[Exception]]]] = {
    "tools/call": ("tool", ToolError),
    "prompts/get": ("prompt", PromptError),
    "resources/read": ("resource", ResourceError),
}


def unknown(method: str, name: str) -> Exception:
    """What FastMCP itself raises for a name that it does not have."""
    kind, _ = _USES[method]
    return NotFoundError(f"Unknown {kind}: {name!r}")


def in_background(method: str, name: str) -> Exception:
    """That nobody can tell any more for whom something would be used."""
    kind, failed = _USES[method]
    return failed(f"A background task cannot use the {kind} {name!r}: its caller is not there to be judged")


def error_of(refused: Refused | MessageRefused, method: str, name: str) -> Exception:
    """The error for a refusal."""
    _, failed = _USES[method]
    match refused:
        case Denied():
            return unknown(method, name)
        case InsufficientScope():
            return failed(f"{refused.description}: {' '.join(refused.scopes)}")
        case RateLimited():
            return failed(f"Rate limit reached. Wait {refused.retry_after} seconds, then try again.")
        case InvalidArguments():
            return failed(refused.text)
        case MessageRefused():
            return failed(refused.message)
        case _:
            return failed(refused.description)
