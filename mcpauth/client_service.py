"""Builds what knows clients: the registered ones, those that describe themselves, and how they prove who
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.client import Clients, KnownClients
from mcpauth.oauth.client_authentication import METHODS, ClientAuthenticator
from mcpauth.oauth.client_authentication.private_key_jwt import PrivateKeyJwt
from mcpauth.oauth.client_keys import ClientKeys
from mcpauth.oauth.documented_clients import DocumentedClients
from mcpauth.oauth.fetch_budget import FetchBudget
from mcpauth.oauth.workload_client import DeclaredClients, WorkloadAssertion

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.events import Events
    from mcpauth.oauth.fetching import Fetch
    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings


@dataclass(frozen=True, slots=True)
class ClientService:
    """`registered` are the clients in the store; `known` are all that there are."""

    registered: Clients
    known: KnownClients
    authenticator: ClientAuthenticator


def client_service(
    settings: Settings, store: Store, *, fetch: Fetch, events: Events, now: Callable[[], float]
) -> ClientService:
    """The client service of these settings, over this store."""
    scopes, schemes = settings.registry().scopes_supported, settings.private_use_schemes
    grant_types = settings.registrable_grant_types
    registered = Clients(store, scopes=scopes, private_use_schemes=schemes, grant_types=grant_types, now=now)
    known: KnownClients = registered
    # Documents and keys count together: both are fetched because a stranger asks for it.
    budget = FetchBudget(now=now)
    if settings.client_id_metadata_documents.enabled:
        known = DocumentedClients(
            registered,
            fetch,
            budget,
            policy=settings.client_id_metadata_documents,
            events=events,
            scopes=scopes,
            private_use_schemes=schemes,
            grant_types=grant_types,
            now=now,
        )
    trusted = settings.trusted()
    of_workloads = (WorkloadAssertion(trusted),) if "workload" in trusted.kinds else ()
    assertions = PrivateKeyJwt(
        ClientKeys(fetch, budget, now=now),
        store,
        # RFC 9126 §2: MUST accept all three.
        audiences=(settings.issuer, f"{settings.issuer}/token", f"{settings.issuer}/par"),
        now=now,
    )
    return ClientService(
        registered=registered,
        known=known,
        authenticator=ClientAuthenticator(
            DeclaredClients(known, trusted), (assertions, *of_workloads, *METHODS), events=events, now=now
        ),
    )
