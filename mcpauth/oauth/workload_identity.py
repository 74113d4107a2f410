"""Workload identity federation, RFC 7523 §3: what a platform's assertion about its programs is good for.

MCP's draft of it (ext-auth, SEP-1933) asks for the rules of RFC 7523 and for an operator's rules about which
workloads may have what; nothing of the assertion goes into the token but by these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.assertion import Assertion, NotAccepted, require_audience, require_key
from mcpauth.oauth.own_name import permission_in_own_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.permission import Permission
    from mcpauth.oauth.resource_registry import ResourceRegistry
    from mcpauth.oauth.trusted_issuer import TrustedIssuer, Workload


def workload_of(
    assertion: Assertion, issuer: TrustedIssuer, client: Client, *, own: Collection[str], key: str | None
) -> Workload:
    """The workload that a verified assertion is about.

    Raises:
        NotAccepted: it is not for this server, about nobody whom the settings name, or not about the client
            that hands it in.
    """
    require_audience(assertion.claims, own if issuer.audience is None else (issuer.audience,))
    workload = issuer.workload(assertion.subject)
    if workload is None:
        raise NotAccepted("sub is no workload of the settings")
    if workload.client_id != client.client_id:
        raise NotAccepted("sub is not the client that hands it in")
    require_key(assertion.claims, key)
    return workload


def permission_of_workload(
    workload: Workload, registry: ResourceRegistry, *, resource: Sequence[str], scope: str | None
) -> Permission:
    """What it gets of what it asks for, or all that it can have.

    Raises:
        InvalidTarget, InvalidScope: nothing of it.
    """
    return permission_in_own_name(
        registry,
        resources=workload.resources,
        scopes=workload.scopes,
        resource=resource,
        scope=scope,
    )
