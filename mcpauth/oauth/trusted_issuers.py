"""All trusted issuers, RFC 7523 §3, checked against what else the server knows when it starts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpauth.oauth.https_url import https_url
from mcpauth.oauth.operator_registration import operator_terms
from mcpauth.oauth.trusted_issuer import KINDS, TrustedIssuer, Workload
from mcpauth_middleware.resource import is_loopback_host
from mcpauth_middleware.tokens.jwks import ALGORITHMS, KeySet

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mcpauth.oauth.resource_registry import ResourceRegistry

LONGEST = timedelta(hours=24)
MAX_ISSUER = 2048

# RFC 8414 §2, and the SPIFFE trust domain that a platform may write instead.
_ISSUER = re.compile(
    r"(?P<scheme>https|http|spiffe)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(:[0-9]+)?(/[\x21-\x7e]*)?"
)
_FOR_ID_JAG = ("client_ids", "resources", "scopes", "tenant", "public_clients", "provision")
_FOR_WORKLOADS = ("audience", "single_use", "workloads")
_DEFAULTS = TrustedIssuer("", "")


class TrustedIssuers:
    """The issuers, found by name and kind.

    Raises:
        ValueError: one cannot be right. The text is `[NUMBER].FIELD: PROBLEM`, and names the mend.
    """

    def __init__(self, issuers: Sequence[TrustedIssuer], registry: ResourceRegistry, *, own: str) -> None:
        checked = [_checked(each, f"[{at}].", registry, own) for at, each in enumerate(issuers, start=1)]
        self._issuers = {(each.kind, each.issuer): each for each in checked}
        self.kinds = frozenset(each.kind for each in checked)
        """The kinds of assertions that are taken."""
        self.client_ids = frozenset(name for each in checked for name in each.client_ids)
        """The clients that may hand in assertions about users."""
        self.workload_names = frozenset(job.client_id for each in checked for job in each.workloads)
        """The clients that are workloads."""
        if len(self._issuers) < len(checked):
            raise ValueError(": two have the same issuer and kind; write one")
        for at, each in enumerate(checked, start=1):
            if both := sorted({*each.client_ids} & self.workload_names):
                raise ValueError(
                    f"[{at}].client_ids: {both[0]} is the name of a workload; choose another there"
                )

    def __len__(self) -> int:
        """How many there are."""
        return len(self._issuers)

    def find(self, kind: str, issuer: str) -> TrustedIssuer | None:
        """The issuer that is trusted with this kind of assertion."""
        return self._issuers.get((kind, issuer))


def _checked(issuer: TrustedIssuer, where: str, registry: ResourceRegistry, own: str) -> TrustedIssuer:
    try:
        _check_kind(issuer)
        _check_name(issuer, own)
        _check_keys(issuer)
        _check_lifetime(issuer)
        if issuer.kind == "id-jag":
            return _checked_for_users(issuer, registry)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    return _checked_for_workloads(issuer, where, registry)


def _check_kind(issuer: TrustedIssuer) -> None:
    if issuer.kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)} (got {issuer.kind!r})")
    for field in _FOR_WORKLOADS if issuer.kind == "id-jag" else _FOR_ID_JAG:
        if getattr(issuer, field) != getattr(_DEFAULTS, field):
            raise ValueError(f"{field}: is not for kind = {issuer.kind!r}; leave it out")


def _check_name(issuer: TrustedIssuer, own: str) -> None:
    parts = _ISSUER.fullmatch(issuer.issuer) if len(issuer.issuer) <= MAX_ISSUER else None
    if parts is None or (parts["scheme"] == "spiffe" and issuer.kind == "id-jag"):
        raise ValueError(
            "issuer: must be the iss of its assertions, such as https://idp.example.com"
            f" (got {issuer.issuer!r})"
        )
    if parts["scheme"] == "http" and not is_loopback_host(parts["host"]):
        raise ValueError(f"issuer: must be https (got {issuer.issuer}); http is allowed only on loopback")
    if issuer.issuer.rstrip("/") == own.rstrip("/"):
        raise ValueError("issuer: is this server itself, whose tokens are no assertions; name another")


def _check_keys(issuer: TrustedIssuer) -> None:
    if (issuer.jwks_uri is None) == (issuer.jwks is None):
        raise ValueError("jwks_uri: name where its keys are, or give a jwks_file with them; one of the two")
    if not issuer.algorithms or not set(issuer.algorithms) <= ALGORITHMS:
        raise ValueError(
            f"algorithms: must be some of {', '.join(sorted(ALGORITHMS))}"
            f" (got {', '.join(issuer.algorithms)})"
        )
    if issuer.jwks_uri is not None:
        try:
            https_url(issuer.jwks_uri, local_names=issuer.private_network)
        except ValueError as error:
            hint = "" if issuer.private_network else "; private_network = true allows internal hosts"
            raise ValueError(
                f"jwks_uri: must be an https URL ({error}){hint} (got {issuer.jwks_uri!r})"
            ) from None
    elif issuer.private_network:
        raise ValueError("private_network: is for jwks_uri; leave it out")
    elif not _has_usable_key(issuer):
        raise ValueError(f"jwks_file: has no public key for {', '.join(issuer.algorithms)}")


def _has_usable_key(issuer: TrustedIssuer) -> bool:
    try:
        keys = KeySet.from_document(issuer.jwks or {})
    except ValueError:
        return False
    return any(keys.find(None, name) for name in issuer.algorithms)


def _check_lifetime(issuer: TrustedIssuer) -> None:
    lifetime = issuer.max_assertion_lifetime
    if lifetime is not None and not timedelta(seconds=1) <= lifetime <= LONGEST:
        raise ValueError(f"max_assertion_lifetime: must be between 1s and 24h (got {lifetime})")


def _checked_for_users(issuer: TrustedIssuer, registry: ResourceRegistry) -> TrustedIssuer:
    if not issuer.client_ids or not all(issuer.client_ids):
        raise ValueError("client_ids: name the clients that may hand in its assertions")
    if issuer.tenant == "":
        raise ValueError("tenant: must not be empty; leave it out if the issuer has no tenants")
    resources, scopes = _ceiling(issuer.resources, issuer.scopes, registry)
    return replace(issuer, resources=resources, scopes=scopes)


def _checked_for_workloads(issuer: TrustedIssuer, where: str, registry: ResourceRegistry) -> TrustedIssuer:
    if not issuer.workloads:
        raise ValueError(f"{where}workloads: name at least one, as [[trusted_issuers.workloads]]")
    if issuer.audience == "":
        raise ValueError(f"{where}audience: must not be empty; leave it out for this server's own names")
    workloads: list[Workload] = []
    for at, each in enumerate(issuer.workloads, start=1):
        try:
            resources, scopes = _ceiling(each.resources, each.scopes, registry)
        except ValueError as error:
            raise ValueError(f"{where}workloads[{at}].{error}") from None
        if any(each.subject == other.subject for other in workloads):
            raise ValueError(
                f"{where}workloads[{at}].subject: {each.subject} is there already; write it once"
            )
        workloads.append(replace(each, resources=resources, scopes=scopes))
    return replace(issuer, workloads=tuple(workloads))


def _ceiling(
    resources: Collection[str], scopes: Collection[str], registry: ResourceRegistry
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The resources in canonical form, and the scopes: each known, none without the other."""
    if not resources:
        raise ValueError("resources: name where its tokens are good; without it nowhere")
    if not scopes:
        raise ValueError("scopes: name the most that its tokens can have; without it nothing")
    try:
        terms = operator_terms(
            registry, client_credentials=True, scopes=tuple(scopes), resources=tuple(resources)
        )
    except ValueError as error:
        # The options of a command have these names, and settings the plural.
        option, _, problem = str(error).partition(": ")
        raise ValueError(f"{option}s: {problem}") from None
    return terms.resources, terms.scopes
