"""An OAuth 2.1 authorization server for the Model Context Protocol.

`mcpauth.server.create_app(settings)` gives it as an ASGI app, the command `mcpauth serve` runs it. Nothing is
imported here, so that the command can say which extra is missing where only the middleware is installed.
"""

from __future__ import annotations

from mcpauth_middleware._version import __version__ as __version__
