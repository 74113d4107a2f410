"""Pushed authorization requests, RFC 9126: the client hands its request in itself, and the browser carries
only a reference to it.

What was pushed is kept as it came, and checked at /authorize once more like any other request (§4): the
client or the resources may have changed meanwhile. The reference can be opened until it expires, since
clients probe the address and browsers reload. It is used up when the user's decision is answered: of all who
opened it one gets an answer.
"""

from __future__ import annotations

import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.authorization_rules import AuthorizationRules, NoRedirect, RedirectError, check_request_of
from mcpauth.oauth.errors import InvalidRequest, InvalidRequestUri
from mcpauth.oauth.form import repeated_names
from mcpauth.oauth.random_text import random_text
from mcpauth.oauth.store import Record, Store, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form, Pairs

KIND = "pushed_authorization_request"
USED = "used_request_uri"

PREFIX = "urn:ietf:params:oauth:request_uri:"  # §2.2; whatever else a request_uri is, it is not ours
LIFETIME = timedelta(seconds=60)  # §2.2: from the push to the browser's first request
REMEMBERED = timedelta(days=1)  # that it was answered: longer than any authorization request is under way

# What proves who the client is belongs to the push, and is no part of what is kept.
PROOFS = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})


class PushedAuthorizationRequests:
    """The pushed requests in the store, by the digest of their request_uri."""

    def __init__(
        self,
        store: Store,
        rules: AuthorizationRules,
        *,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._rules = rules
        self._now = now
        self._token_bytes = token_bytes

    async def push(self, client: Client, form: Form, *, key: str | None = None) -> str:
        """Check the request of an authenticated client and keep it; gives its request_uri.

        `key` is the thumbprint of the key that the client proved to have.

        Raises:
            OAuthError: as /authorize would answer, the request is itself a reference (§2.1), or it names
                another key than `key`.
        """
        if form.optional("request_uri") is not None:
            raise InvalidRequest("a pushed request has no request_uri")
        # §2.1: the client is the one that authenticated; a client_id beside that names no other.
        parameters = [
            ("client_id", client.client_id),
            *((name, value) for name in form.names() if name not in PROOFS for value in form.all(name)),
        ]
        if key is not None:
            # RFC 9449 §10.1: a proof means what the parameter means, and both must mean the same.
            if form.optional("dpop_jkt") not in (None, key):
                raise InvalidRequest("dpop_jkt is not the key of the DPoP proof")
            parameters = [*(pair for pair in parameters if pair[0] != "dpop_jkt"), ("dpop_jkt", key)]
        try:
            check_request_of(client, parameters, rules=self._rules, browser="", now=self._now())
        except RedirectError as error:
            raise error.error from error
        request_uri = PREFIX + random_text(self._token_bytes)
        record: Record = {"client_id": client.client_id, "parameters": parameters}
        expires_at = int(self._now() + LIFETIME.total_seconds())
        await self._store.add(KIND, digest(request_uri), record, expires_at=expires_at)
        return request_uri

    async def resolve(self, parameters: Iterable[tuple[str, str]]) -> tuple[Pairs, str | None]:
        """The parameters that count at /authorize, and a handle for `use_up` if they were pushed.

        With a request_uri of ours those are the pushed ones alone: what else the browser brings, anybody may
        have added (§4, RFC 9101 §6.3). Any other request stays as it is.

        Raises:
            NoRedirect: the request_uri leads nowhere, or is not this client's. Where the answer should go was
                in what it leads to, so only the user can be told.
        """
        pairs = list(parameters)
        request_uris = [value for name, value in pairs if name == "request_uri" and value.startswith(PREFIX)]
        if not request_uris:
            return pairs, None
        if {"client_id", "request_uri"} & repeated_names(pairs):
            raise NoRedirect(InvalidRequest("client_id or request_uri is repeated"))
        client_ids = [value for name, value in pairs if name == "client_id" and value]
        if not client_ids:
            raise NoRedirect(InvalidRequest("client_id is missing"))
        pushed = digest(request_uris[0])
        record = await self._store.get(KIND, pushed)
        # One text for all: a stranger learns nothing of what others have pushed.
        if record is None or record["client_id"] != client_ids[0] or await self._is_used_up(pushed):
            raise NoRedirect(
                InvalidRequestUri("the request_uri is unknown, expired, used or not the client's")
            )
        return _pairs(record["parameters"]), pushed

    async def use_up(self, pushed: str) -> bool:
        """Let the request be answered: False when it has been already. Of two callers one gets True (§4)."""
        expires_at = int(self._now() + REMEMBERED.total_seconds())
        return await self._store.add(USED, pushed, {}, expires_at=expires_at)

    async def _is_used_up(self, pushed: str) -> bool:
        return await self._store.get(USED, pushed) is not None


def _pairs(stored: Sequence[Sequence[str]]) -> Pairs:
    return [(name, value) for name, value in stored]
