"""The server's two cookies, RFC 6265: which browser this is, and who is signed in with it.

Both are random values that mean nothing by themselves; the store knows them by digest. `SameSite=Lax`,
because the first request of a flow comes from the client's site or from another program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie: its name, and whether it travels over https only.

    Over https its name starts with `__Host-`: neither a sibling domain nor an unencrypted answer can set it.
    """

    name: str
    secure: bool

    def read(self, request: Request) -> str | None:
        """The value the browser sent, if it is one that this server could have set, and the only one."""
        # Not `request.cookies`: the standard library takes seconds to unquote what an attacker quotes
        # (CVE-2024-7592), and our values are never quoted.
        pairs = (
            pair.strip().partition("=")
            for line in request.headers.getlist("cookie")
            for pair in line.split(";")
        )
        values = [value for name, _, value in pairs if name == self.name]
        return values[0] if len(values) == 1 and _VALUE.fullmatch(values[0]) else None

    def set(self, response: Response, value: str, *, max_age: int | None = None) -> None:
        """Give the browser a value; without `max_age` it forgets it when it is closed."""
        response.set_cookie(
            self.name, value, max_age=max_age, path="/", secure=self.secure, httponly=True, samesite="lax"
        )


def browser_cookie(*, secure: bool) -> Cookie:
    """Binds an authorization request to the browser that began it, before anybody is signed in."""
    return _cookie("mcpauth_browser", secure=secure)


def session_cookie(*, secure: bool) -> Cookie:
    """Carries the session of a signed-in user."""
    return _cookie("mcpauth_session", secure=secure)


def _cookie(name: str, *, secure: bool) -> Cookie:
    return Cookie(f"__Host-{name}" if secure else name, secure)
