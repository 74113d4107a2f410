"""The host that vouches for a client: that of its Client ID Metadata Document's https URL.

An authorization server accepts such a `client_id` only after it has fetched the document from there
(OAuth Client ID Metadata Document). Every other client has no verified host.
"""

from __future__ import annotations

import re

from mcpauth_middleware.policy.errors import Unevaluable

_HTTPS = re.compile(r"https:", re.IGNORECASE)
_DOCUMENT_URL = re.compile(
    r"https://(?P<host>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)"
    r"(?P<port>:[1-9][0-9]{0,4})?/[\x21\x22\x24-\x5b\x5d-\x7e]*"
)


def client_host(client_id: str) -> str | None:
    """The host of an https `client_id`, with its port where that is not 443; None: no such id.

    Raises:
        Unevaluable: it begins like one, and is written so that its host could be read in two ways.
    """
    if _HTTPS.match(client_id) is None:
        return None
    match = _DOCUMENT_URL.fullmatch(client_id)
    if match is None:
        raise Unevaluable("the client id is not a plain https URL")
    port = match["port"]
    return match["host"] if port in (None, ":443") else match["host"] + port
