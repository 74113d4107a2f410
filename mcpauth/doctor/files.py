"""The files of a deployment: who may read and change them, and what the settings say together."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mcpauth.doctor.finding import Finding, failed, ok, warning
from mcpauth_middleware.resource import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpauth.settings import Settings

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def of_settings(settings: Settings, path: Path | None) -> Iterator[Finding]:
    """The settings, which have loaded."""
    name = "the environment" if path is None else str(path)
    count = len(settings.resources)
    yield ok("settings", f"{name}: issuer {settings.issuer}, {count} resource{'s' if count > 1 else ''}")
    if path is not None and _mode(path) & OTHERS_WRITE:
        yield warning("settings", f"{path} can be changed by others", f"chmod go-w {path}")
    if not settings.secure:
        yield warning(
            "settings",
            "the issuer is http on loopback, so only clients of this machine can use it",
            "give it an https issuer before others do",
        )
    elif is_loopback_host(settings.host) and not settings.trusted_proxies:
        yield warning(
            "settings",
            "it listens on loopback behind a proxy, and believes no proxy: to it, all requests come from one"
            " address, and share its limits",
            'if so, name the proxy: trusted_proxies = ["127.0.0.1"]',
        )


def of_audit_journal(settings: Settings) -> Iterator[Finding]:
    """The audit journal, without opening it: a server may hold it."""
    if settings.audit_journal in (None, "-"):
        return
    path = Path(str(settings.audit_journal))
    yield from of_private_file("audit journal", path) if path.exists() else _of_folder("audit journal", path)


def of_private_file(check: str, path: Path) -> Iterator[Finding]:
    """A file that nobody else may read, and that can be written."""
    mode = _mode(path)
    if not path.is_file():
        yield failed(check, f"{path} is no file", "name a file, or a path where none is yet")
    elif mode & OTHERS:
        yield failed(check, f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}")
    elif not os.access(path, os.R_OK | os.W_OK):
        yield failed(check, f"{path} cannot be read and written", "run this as the user of the server")
    else:
        yield ok(check, f"{path} is open to its owner alone")


def _of_folder(check: str, path: Path) -> Iterator[Finding]:
    folder = path.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        yield ok(check, f"{path} is not there yet; the server makes it")
    else:
        yield failed(check, f"{path} cannot be made", f"make the folder {folder} for the user of the server")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
