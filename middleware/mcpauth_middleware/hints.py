"""What an operator may have set wrong when requests are refused, told in the log once for each reason.

A client is not told which check its token failed (RFC 6750 §3.1), and an audit event has only a short reason.
What is told here are the operator's own settings, and nothing of the request: whoever sends requests can
neither choose the text nor fill the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger(__name__)


class Hints:
    """Tells each hint once in the life of the process."""

    def __init__(self, *, resource: str, issuers: Sequence[str]) -> None:
        self._untold = {
            "host": f"a Host header is not that of {resource}. Give McpAuthMiddleware the public address as"
            " `resource`, have the proxy pass Host on, or name the host in `allowed_hosts`",
            "origin": f"a web page of another origin than that of {resource} called. `allowed_origins` names"
            " those that may",
            "path": f"a path is neither that of {resource} nor below it. `endpoints` names further paths at"
            " which the app speaks MCP, `public_paths` those that need no token",
            "audience": f"a token is not for {resource}. `resource` has to be the address that clients use,"
            " and what the authorization server calls this server, byte for byte; `accepted_audiences` is for"
            " servers that cannot put it into `aud`",
            "issuer": f"the issuer of a token is none of {', '.join(issuers)}. `authorization_servers` has to"
            " spell it byte for byte as its metadata and its tokens do, slash included",
            "typ": "the `typ` of a token is not one that its issuer is known for (RFC 9068: at+jwt)."
            " AuthorizationServer(..., accepted_typ=...) says what another server writes there",
            "malformed": "a token is no JWT. If its authorization server gives out opaque ones, describe it"
            " with AuthorizationServer(..., introspection=ClientCredentials(...))",
            "no_rule": "no rule of the policy allows a call, and what no rule allows is denied. Put"
            " @policy.requires(...) beside the tool, or a rule into the policy file",
        }

    def tell(self, reason: str) -> None:
        """Tell what may be wrong when requests are refused for this reason."""
        if (hint := self._untold.pop(reason, None)) is not None:
            _logger.warning("A request was refused (%s; told once): %s", reason, hint)
