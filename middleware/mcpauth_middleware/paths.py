"""Which path a request is for (ASGI 3.0, `path` and `root_path`), which paths need no token, and where MCP is
spoken.

Everything is protected but an exact list. Patterns are not offered: a path that a pattern lets
through by accident is a hole nobody sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcpauth_middleware.asgi import Scope

_DOT_SEGMENTS = frozenset({".", ".."})


def request_paths(scope: Scope) -> tuple[str, str]:
    """The path as the server sees it, and as the application does where it is mounted below a prefix."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        return path, path[len(root) :] or "/"
    return path, path


def _path_of(resource: str) -> str:
    return unquote(urlsplit(resource).path).rstrip("/")


def _check_exact(option: str, path: str, example: str) -> None:
    if not path.startswith("/") or any(character in path for character in "*?#%{}"):
        raise ValueError(f'{option}: each is one exact path such as "{example}" (got {path!r})')


class Endpoints:
    """The paths at which MCP is spoken: that of the resource, those below it, and exact ones named besides.

    A token is issued for the resource (RFC 8707 §2), and a policy knows messages of MCP only. Any other route
    of the application would run for everybody who has a token.

    Raises:
        ValueError: one of those named is no exact path.
    """

    def __init__(self, more: Collection[str], *, resource: str) -> None:
        self._endpoint = _path_of(resource)
        for path in more:
            _check_exact("endpoints", path, "/sse")
        self._more = frozenset(more)

    def match(self, path: str, app_path: str) -> bool:
        """Whether these `request_paths` are of an endpoint."""
        if path == self._endpoint or app_path in self._more:
            return True
        return self._is_of_resource(path) or self._is_of_resource(app_path)

    def _is_of_resource(self, path: str) -> bool:
        if not _DOT_SEGMENTS.isdisjoint(path.split("/")):
            return False  # an application that passes it on may leave the resource by it
        # Also its end: below a prefix that a proxy or a mount takes off, that is what is left.
        return f"{path}/".startswith(f"{self._endpoint}/") or self._endpoint.endswith(path.rstrip("/"))


class PublicPaths:
    """The exact paths, as the application sees them, that need no token.

    Raises:
        ValueError: one is no exact path, or could be that of the MCP endpoint itself.
    """

    def __init__(self, paths: Collection[str], *, resource: str) -> None:
        self._endpoint = _path_of(resource)
        for path in paths:
            _check_exact("public_paths", path, "/health")
            # Also the end of it: below a prefix that a proxy or a mount takes off, that is what is left.
            if path == f"{self._endpoint}/" or (path != "/" and self._endpoint.endswith(path.rstrip("/"))):
                raise ValueError(f"public_paths: {path!r} is the MCP endpoint itself; remove it")
        self._paths = frozenset(paths)

    def match(self, path: str, app_path: str) -> bool:
        """Whether a request for these `request_paths` may pass without a token."""
        return app_path in self._paths and path.rstrip("/") != self._endpoint
