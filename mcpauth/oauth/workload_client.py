"""Workloads as clients: programs that a platform vouches for, without registration or secret, RFC 7521 §4.1.

Client authentication is optional with an assertion. A workload says who it is with the assertion itself, or
with its `client_id` besides; as with a public client nothing is proved by that. The grant proves it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcpauth.oauth.assertion import NotAccepted, read
from mcpauth.oauth.client import Client
from mcpauth.oauth.client_authentication.method import Credentials
from mcpauth.oauth.client_metadata import PUBLIC
from mcpauth.oauth.trusted_issuer import GRANT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import KnownClients
    from mcpauth.oauth.form import Form
    from mcpauth.oauth.trusted_issuers import TrustedIssuers

NOBODY = "(unknown workload)"
"""Who hands in an assertion that names no workload of the settings. No client can have this name."""


class DeclaredClients:
    """The clients of `others`, and what the settings say of clients.

    Workloads are in no store. A client that an issuer's `client_ids` names may use the grant type, whatever
    it registered for: a document at an https URL may not say so.
    """

    def __init__(self, others: KnownClients, issuers: TrustedIssuers) -> None:
        self._others = others
        self._issuers = issuers

    async def get(self, client_id: str) -> Client | None:
        """The client of this id; see `KnownClients`."""
        if client_id in self._issuers.workload_names or client_id == NOBODY:
            return _workload(client_id)
        client = await self._others.get(client_id)
        if client is None or client_id not in self._issuers.client_ids or GRANT_TYPE in client.grant_types:
            return client
        return replace(client, grant_types=(*client.grant_types, GRANT_TYPE))


class WorkloadAssertion:
    """A way to say who one is: by the assertion that is handed in, and nothing else.

    It is like `none`, with the `client_id` taken from what the settings say of the assertion's subject.
    """

    NAME = PUBLIC

    def __init__(self, issuers: TrustedIssuers) -> None:
        self._issuers = issuers

    def credentials(self, headers: Mapping[str, str], form: Form) -> Credentials | None:
        """Who the assertion of a platform says that it is."""
        said = [form.optional(name) for name in ("client_id", "client_secret", "client_assertion")]
        assertion = form.optional("assertion")
        if form.optional("grant_type") != GRANT_TYPE or assertion is None:
            return None
        if "authorization" in headers or any(said):
            return None
        return self._named(assertion)

    def _named(self, assertion: str) -> Credentials | None:
        try:
            found = read(assertion)
        except NotAccepted:
            return Credentials(NOBODY)
        if found.kind != "workload":
            # Whoever hands in an assertion about a user has to say who they are.
            return None
        issuer = self._issuers.find("workload", found.issuer)
        workload = issuer.workload(found.subject) if issuer is not None else None
        return Credentials(workload.client_id if workload is not None else NOBODY)

    def may_use(self, client: Client) -> bool:
        """Workloads alone."""
        return client.client_id in self._issuers.workload_names or client.client_id == NOBODY

    async def verify(self, client: Client | None, _credentials: Credentials) -> bool:
        """There is nothing to verify yet."""
        return client is not None


def _workload(client_id: str) -> Client:
    return Client(
        client_id=client_id,
        client_name=client_id,
        redirect_uris=(),
        grant_types=(GRANT_TYPE,),
        token_endpoint_auth_method=PUBLIC,
        client_secret_digest=None,
        scope=None,
        source="pre-registered",
        client_uri=None,
        created_at=0,
    )
