"""An OAuth 2.1 authorization server for the Model Context Protocol.

`authorization_server(settings)` gives it as an ASGI app, by itself or mounted in another one; `Settings` are
built by hand or read by `load_settings`; the command `mcpauth serve` runs it. All of these need the extra
`server`, so they are imported only when they are asked for: `import mcpauth` works without it, and the
command can say what is missing where only the middleware is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mcpauth.extra import MISSING, is_missing
from mcpauth_middleware._version import __version__ as __version__

if TYPE_CHECKING:
    from mcpauth.application import AuthorizationServerApp as AuthorizationServerApp
    from mcpauth.oauth.resource_registry import Resource as Resource
    from mcpauth.oauth.resource_registry import Scope as Scope
    from mcpauth.server import authorization_server as authorization_server
    from mcpauth.settings import ConfigurationError as ConfigurationError
    from mcpauth.settings import Settings as Settings
    from mcpauth.settings_file import load_settings as load_settings
    from mcpauth.web.access_log import WithoutQuery as WithoutQuery

_HOME = {
    "AuthorizationServerApp": "mcpauth.application",
    "ConfigurationError": "mcpauth.settings",
    "Resource": "mcpauth.oauth.resource_registry",
    "Scope": "mcpauth.oauth.resource_registry",
    "Settings": "mcpauth.settings",
    "WithoutQuery": "mcpauth.web.access_log",
    "authorization_server": "mcpauth.server",
    "load_settings": "mcpauth.settings_file",
}


# Not for type checkers: to them any name would be there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(_HOME[name]), name)
        except ModuleNotFoundError as missing:
            if not is_missing(missing):
                raise
            # Names what to install; the module that is missing would tell nobody.
            raise ImportError(f"{name}: {MISSING}", name="mcpauth") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
