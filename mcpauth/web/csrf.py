"""Form tokens against cross-site request forgery, RFC 9700 §4.7: a form counts only if it was shown to this
very browser.

A token is a signature over what the form is about; nothing is stored, and it says nothing to whoever reads
it.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from itsdangerous import BadData, TimestampSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

_LIFETIME = 3600  # seconds; the authorization request that the form belongs to ends sooner


class CsrfTokens:
    """Makes and checks form tokens. The first secret signs, every one of them is accepted."""

    def __init__(self, secrets: Sequence[bytes], *, now: Callable[[], float] = time.time) -> None:
        # itsdangerous signs with the last key.
        self._keys = list(reversed(secrets))
        self._now = now

    def issue(self, purpose: str, *bound_to: str) -> str:
        """A token for a form of this purpose, bound to the values: the browser, the request, the session."""
        return self._signer(purpose).sign(_about(bound_to)).decode("ascii").split(".", 1)[1]

    def valid(self, token: str | None, purpose: str, *bound_to: str) -> bool:
        """Whether the token was issued for this purpose and these values, less than an hour ago."""
        if token is None:
            return False
        try:
            self._signer(purpose).unsign(f"{_about(bound_to)}.{token}", max_age=_LIFETIME)
        except (BadData, UnicodeEncodeError):
            return False
        return True

    def _signer(self, purpose: str) -> _Signer:
        return _Signer(self._keys, salt=f"mcpauth.csrf.{purpose}", now=self._now)


class _Signer(TimestampSigner):
    def __init__(self, keys: Sequence[bytes], *, salt: str, now: Callable[[], float]) -> None:
        super().__init__(keys, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        self._now = now

    def get_timestamp(self) -> int:
        return int(self._now())


def _about(values: Sequence[str]) -> str:
    # Each value with its length, so that no two lists of values give the same text.
    text = "".join(f"{len(value)}:{value}" for value in values)
    return hashlib.sha256(text.encode()).hexdigest()


def from_another_site(request: Request) -> bool:
    """Whether the browser says that another site made it send this (Fetch Metadata).

    The `Origin` header cannot be asked: `Referrer-Policy: no-referrer`, which keeps request ids to this
    server, makes browsers send `null` there.
    """
    return request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
