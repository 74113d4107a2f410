"""The pages that people see: templates, one stylesheet, and what goes into them.

No script, no inline style, no outside asset, so that the Content Security Policy can forbid all of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from mcpauth.pages.text import shown
from mcpauth.web.html import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from mcpauth.pages.views import View

_FOLDER = Path(__file__).parent
_ASSETS = {"mcpauth.css": "text/css", "mcpauth.svg": "image/svg+xml"}


class Pages:
    """Renders views as answers, and serves the stylesheet and the icon."""

    def __init__(self, issuer: str) -> None:
        self._path = urlsplit(issuer).path
        self._contents = {name: (_FOLDER / "static" / name).read_bytes() for name in _ASSETS}
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["shown"] = shown
        # The same on every page.
        self._shared = {
            "base": self._path,
            "server": urlsplit(issuer).netloc,
            "asset": {name: self._url(name) for name in _ASSETS},
        }

    def answer(
        self,
        view: View,
        *,
        status: int = 200,
        leads_to: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The page of a view. `leads_to` is the redirect URI at which its form may end."""
        html = self._environment.get_template(f"{view.template}.html").render(self._shared, view=view)
        return page(html, status=status, leads_to=leads_to, headers=headers)

    async def static(self, request: Request) -> Response:
        """The stylesheet or the icon. Its URL changes with its content, so browsers may keep it for good."""
        name = request.scope["path"].rpartition("/")[2]
        return Response(
            self._contents[name],
            media_type=_ASSETS[name],
            headers={
                "Cache-Control": "public, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Resource-Policy": "same-origin",
                # Opened by itself, an SVG is a document too.
                "Content-Security-Policy": "default-src 'none'",
            },
        )

    @property
    def static_paths(self) -> list[str]:
        """The exact paths that `static` answers."""
        return [f"{self._path}/static/{name}" for name in _ASSETS]

    def _url(self, name: str) -> str:
        version = hashlib.sha256(self._contents[name]).hexdigest()[:12]
        return f"{self._path}/static/{name}?v={version}"
