"""Clients that nobody registered: a client_id that is an https URL leads to its Client ID Metadata Document.

A registered client of the same client_id always comes first, so that no document can take one over.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from mcpauth.events import ClientDocumentRefused, Events
from mcpauth.oauth.client_id_metadata_document import MAX_BYTES, document_url, read_document
from mcpauth.oauth.client_metadata import GRANT_TYPES
from mcpauth.oauth.document_cache import DocumentCache, Limits
from mcpauth.oauth.errors import InvalidClient, OAuthError
from mcpauth.oauth.fetching import Fetch, FetchFailed
from mcpauth.oauth.redirect_uri import PRIVATE_USE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mcpauth.oauth.client import Client, KnownClients
    from mcpauth.oauth.domain_policy import DomainPolicy
    from mcpauth.oauth.fetch_budget import FetchBudget

MAX_TOLD = 200

_LOOKS_LIKE_ONE = re.compile("https:", re.IGNORECASE)


class DocumentedClients:
    """The registered clients, and behind them those that describe themselves; see `KnownClients`."""

    def __init__(
        self,
        registered: KnownClients,
        fetch: Fetch,
        budget: FetchBudget,
        *,
        policy: DomainPolicy,
        events: Events,
        scopes: Collection[str] | None = None,
        private_use_schemes: Collection[str] = PRIVATE_USE_SCHEMES,
        grant_types: Collection[str] = GRANT_TYPES,
        now: Callable[[], float] = time.time,
    ) -> None:
        def read(client_id: str, document: object) -> Client:
            return read_document(
                client_id,
                document,
                scopes=scopes,
                private_use_schemes=private_use_schemes,
                grant_types=grant_types,
                now=now(),
            )

        self._registered = registered
        self._policy = policy
        self._events = events
        self._documents = DocumentCache(
            fetch, read, budget, Limits(MAX_BYTES), on_failure=self._tell_of_failure, now=now
        )

    async def get(self, client_id: str) -> Client | None:
        """The client of this id.

        Raises:
            InvalidClient: the id begins like a URL and is not one of a document, its domain is not permitted,
                the document cannot be had, or it is another client's.
            InvalidClientMetadata: the document describes no client that this server can serve.
            TemporarilyUnavailable: too many documents are being fetched.
        """
        client = await self._registered.get(client_id)
        if client is not None or not _LOOKS_LIKE_ONE.match(client_id):
            return client
        url = document_url(client_id)
        if not self._policy.permits(url.host):
            await self._tell(client_id, "invalid_client", "the domain is not permitted")
            raise InvalidClient("clients of this domain are not accepted here")
        try:
            return await self._documents.get(url)
        except FetchFailed:
            # Why is in the event: to a stranger it would tell what this server can reach.
            raise InvalidClient("the client ID metadata document cannot be fetched") from None

    async def _tell_of_failure(self, client_id: str, failure: Exception) -> None:
        if isinstance(failure, OAuthError):
            await self._tell(client_id, failure.code, failure.description)
        elif isinstance(failure, FetchFailed):
            await self._tell(client_id, "invalid_client", failure.reason)

    async def _tell(self, client_id: str, error: str, reason: str) -> None:
        await self._events.emit(
            ClientDocumentRefused(client_id=client_id[:MAX_TOLD], error=error, reason=reason)
        )
