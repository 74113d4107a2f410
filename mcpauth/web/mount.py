"""Where a request is for, wherever the application is mounted (ASGI 3.0, `path` and `root_path`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope


def mount_path(scope: Scope) -> str:
    """The path at which the application is mounted; empty when it is not."""
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def path_below_host(scope: Scope) -> str:
    """The whole path of the URL that was asked for.

    The specification and Starlette since 0.33 leave `path` whole and repeat the part of the mount in
    `root_path`; other frameworks and servers take it off the path. Where they do, a path that begins with
    the mount a second time cannot be told from a whole one, and is read as such.
    """
    root = mount_path(scope)
    path: str = scope["path"]
    whole = path == root or path.startswith(f"{root}/")
    return path if whole else root + path


def below_host(scope: Scope) -> Scope:
    """The same request as if the application were not mounted."""
    return {**scope, "path": path_below_host(scope), "root_path": ""}
