"""The JWT bearer grant, RFC 7523 §2.1: an assertion of a trusted issuer becomes an access token.

Of an enterprise's identity provider (ID-JAG) it is one for a user, of a platform (workload identity) one in
the name of the program that hands it in. There is never a refresh token: the issuer is to be asked again.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NoReturn

from mcpauth.events import AssertionRefused, AssertionTokenIssued, Events, UserProvisioned
from mcpauth.grants import TokenRequest, TokenResponse, token_response
from mcpauth.oauth.assertion import Assertion, Assertions, NotAccepted, expiry, moment, read
from mcpauth.oauth.errors import InvalidGrant, OAuthError
from mcpauth.oauth.grant import Grant, Grants
from mcpauth.oauth.id_jag import check_id_jag, permission_of
from mcpauth.oauth.issuer_keys import IssuerUnavailable
from mcpauth.oauth.workload_identity import permission_of_workload, workload_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.oauth.access_token import AccessToken, AccessTokens
    from mcpauth.oauth.federated_identity import FederatedIdentities
    from mcpauth.oauth.permission import Permission
    from mcpauth.oauth.resource_registry import ResourceRegistry
    from mcpauth.oauth.trusted_issuer import TrustedIssuer
    from mcpauth.oauth.user import User

MAX_TOLD = 200
"""Characters of an unproved claim in an event."""


class JwtBearerGrant:
    """`grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer`. `issuer` is this server's own name."""

    def __init__(
        self,
        *,
        issuer: str,
        assertions: Assertions,
        identities: FederatedIdentities,
        registry: ResourceRegistry,
        grants: Grants,
        access_tokens: AccessTokens,
        events: Events,
        now: Callable[[], float] = time.time,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._issuer = issuer
        self._assertions = assertions
        self._identities = identities
        self._registry = registry
        self._grants = grants
        self._access_tokens = access_tokens
        self._events = events
        self._now = now
        self._token_bytes = token_bytes

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Turn the assertion into an access token.

        Raises:
            InvalidGrant: the assertion is not good; one answer, whatever is wrong with it.
            UnauthorizedClient: the client may not use assertions of this issuer.
            InvalidTarget, InvalidScope: more is asked for than it is good for.
            TemporarilyUnavailable: the issuer's keys cannot be had.
        """
        text = request.form.required("assertion")
        assertion: Assertion | None = None
        issuer: TrustedIssuer | None = None
        try:
            assertion = read(text)
            issuer = await self._assertions.verify(assertion)
            if issuer.kind == "workload":
                return await self._for_workload(request, assertion, issuer)
            return await self._for_user(request, assertion, issuer)
        except (NotAccepted, OAuthError) as error:
            await self._refuse(request, assertion, error, proved=issuer is not None)

    async def _for_user(
        self, request: TokenRequest, assertion: Assertion, issuer: TrustedIssuer
    ) -> TokenResponse:
        claims, client = assertion.claims, request.client
        check_id_jag(claims, issuer, client, own=self._issuer, key=request.key)
        permission = permission_of(
            claims,
            issuer,
            self._registry,
            resource=request.form.all("resource"),
            scope=request.form.optional("scope"),
        )
        auth_time = moment(claims, "auth_time")
        user = await self._user(assertion, issuer)
        # Last of all that can be refused: what another client hands in by mistake is still good for its own.
        await self._assertions.use_up(assertion)
        grant = Grant(
            grant_id=self._token_bytes(16).hex(),
            user_id=user.user_id,
            client_id=client.client_id,
            permissions=(permission,),
            created_at=int(self._now()),
            auth_time=auth_time,
        )
        await self._grants.add(grant, expires_at=grant.created_at + self._access_tokens.lifetime)
        access_token = await self._access_tokens.mint(grant, permission, key=request.key)
        await self._tell(request, assertion, access_token, grant)
        return token_response(access_token, None)

    async def _user(self, assertion: Assertion, issuer: TrustedIssuer) -> User:
        user = await self._identities.user_of(assertion.issuer, assertion.subject)
        if user is None and issuer.provision:
            user = await self._provisioned(assertion)
        if user is None:
            raise NotAccepted("sub is no user here")
        if user.disabled:
            raise NotAccepted("the user is disabled")
        return user

    async def _provisioned(self, assertion: Assertion) -> User | None:
        user = await self._identities.provision(assertion.issuer, assertion.subject)
        if user is not None:
            await self._events.emit(
                UserProvisioned(user_id=user.user_id, issuer=assertion.issuer, subject=assertion.subject)
            )
        return user

    async def _for_workload(
        self, request: TokenRequest, assertion: Assertion, issuer: TrustedIssuer
    ) -> TokenResponse:
        own = (self._issuer, f"{self._issuer}/token")
        workload = workload_of(assertion, issuer, request.client, own=own, key=request.key)
        permission: Permission = permission_of_workload(
            workload,
            self._registry,
            resource=request.form.all("resource"),
            scope=request.form.optional("scope"),
        )
        if issuer.single_use:
            await self._assertions.use_up(assertion)
        access_token = await self._access_tokens.mint_for_client(
            workload.client_id, permission, key=request.key, no_later_than=expiry(assertion)
        )
        await self._tell(request, assertion, access_token, None)
        return token_response(access_token, None)

    async def _tell(
        self, request: TokenRequest, assertion: Assertion, access_token: AccessToken, grant: Grant | None
    ) -> None:
        await self._events.emit(
            AssertionTokenIssued(
                client_id=request.client.client_id,
                user_id=grant.user_id if grant is not None else None,
                grant_id=grant.grant_id if grant is not None else None,
                issuer=assertion.issuer,
                subject=assertion.subject,
                assertion_id=assertion.assertion_id or None,
                resource=access_token.permission.resource,
                scopes=access_token.permission.scopes,
                token_id=access_token.token_id,
            )
        )

    async def _refuse(
        self,
        request: TokenRequest,
        assertion: Assertion | None,
        error: NotAccepted | OAuthError,
        *,
        proved: bool,
    ) -> NoReturn:
        told = (assertion.issuer, assertion.subject, assertion.assertion_id) if assertion else ("", "", "")
        issuer, subject, assertion_id = (each[:MAX_TOLD] or None for each in told)
        await self._events.emit(
            AssertionRefused(
                client_id=request.client.client_id,
                issuer=issuer,
                subject=subject,
                assertion_id=assertion_id,
                proved=proved,
                reason=_reason(error),
            )
        )
        if isinstance(error, NotAccepted):
            raise InvalidGrant("the assertion is not accepted here") from None
        raise error


def _reason(error: NotAccepted | OAuthError) -> str:
    if isinstance(error, NotAccepted | IssuerUnavailable):
        return error.reason
    return f"{error.code}: {error.description}"
