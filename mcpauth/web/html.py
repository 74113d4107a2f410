"""Answers for people: HTML pages and redirects, with the headers that keep them unframed, unscripted and
uncached.

RFC 9700 §4.16 (clickjacking) and §4.2.4 (no referrer, so that no code or request id leaves with a link).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEITHER_KEPT_NOR_TOLD = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
# No Cross-Origin-Opener-Policy: it would cut off clients that opened a popup and wait for its message.
_PAGE_HEADERS = {
    **_NEITHER_KEPT_NOR_TOLD,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action {targets};"
    " frame-ancestors 'none'; base-uri 'none'"
)
_NAMED_HOST = re.compile(r"[A-Za-z0-9.-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def page(
    html: str, *, status: int = 200, leads_to: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An HTML page. `leads_to` is the redirect URI at which its form may end.

    Browsers apply `form-action` to the redirects after the post as well, so the way back to the client must
    be named.
    """
    targets = "'self'" if leads_to is None else f"'self' {form_target(leads_to)}".rstrip()
    return Response(
        html,
        status_code=status,
        media_type="text/html",
        headers={**_PAGE_HEADERS, "Content-Security-Policy": _CSP.format(targets=targets), **(headers or {})},
    )


def see_other(location: str) -> Response:
    """303: the browser goes on with a GET, whatever it came with (RFC 9700 §4.12: never 307)."""
    return Response(status_code=303, headers={**_NEITHER_KEPT_NOR_TOLD, "Location": location})


def form_target(redirect_uri: str) -> str:
    """The source expression of the Content Security Policy that matches a redirect URI.

    Its origin where it has a host, its scheme where it has none (`com.example.app:/done`). An IPv6 address
    cannot be written in a policy at all, so there the scheme has to do.
    """
    parts = urlsplit(redirect_uri)
    if not _SCHEME.fullmatch(parts.scheme):
        return ""
    if parts.scheme not in {"http", "https"} or not _NAMED_HOST.fullmatch(parts.hostname or ""):
        return f"{parts.scheme}:"
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
