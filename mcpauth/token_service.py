"""Builds what issues, looks up and ends tokens: the grant types and the endpoints around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.endpoints.introspection import IntrospectionEndpoint
from mcpauth.endpoints.jwks import JwksEndpoint
from mcpauth.endpoints.revocation import RevocationEndpoint
from mcpauth.endpoints.revocation_list import RevocationListEndpoint
from mcpauth.endpoints.token import TokenEndpoint
from mcpauth.endpoints.userinfo import UserinfoEndpoint
from mcpauth.grants.authorization_code import AuthorizationCodeGrant
from mcpauth.grants.client_credentials import GRANT_TYPE as CLIENT_CREDENTIALS
from mcpauth.grants.client_credentials import ClientCredentialsGrant
from mcpauth.grants.device_code import DeviceCodeGrant
from mcpauth.grants.first_tokens import FirstTokens
from mcpauth.grants.jwt_bearer import JwtBearerGrant
from mcpauth.grants.refresh_token import RefreshTokenGrant
from mcpauth.grants.token_exchange import TokenExchangeGrant
from mcpauth.oauth.access_token import AccessTokens
from mcpauth.oauth.assertion import Assertions
from mcpauth.oauth.authorization_code import AuthorizationCodes
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.device_code import DeviceCodes
from mcpauth.oauth.dpop import DpopProofs
from mcpauth.oauth.federated_identity import FederatedIdentities
from mcpauth.oauth.grant import Grants
from mcpauth.oauth.id_token import IdTokens
from mcpauth.oauth.introspection import Introspection
from mcpauth.oauth.issued_tokens import IssuedTokens
from mcpauth.oauth.key_rings import KeyRings
from mcpauth.oauth.own_tokens import OwnTokens
from mcpauth.oauth.refresh_token import RefreshTokens
from mcpauth.oauth.revocation_feed import RevocationFeed
from mcpauth.oauth.revocation_list import RevocationList
from mcpauth.oauth.server_secret import server_secret
from mcpauth.oauth.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mcpauth.oauth.trusted_issuer import GRANT_TYPE as JWT_BEARER
from mcpauth.oauth.workload_client import DeclaredClients
from mcpauth.web.cors import any_origin_route
from mcpauth.web.endpoint import endpoint_route
from mcpauth_middleware.tokens.dpop_nonce import DpopNonces

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute

    from mcpauth.events import Events
    from mcpauth.grants import GrantType
    from mcpauth.oauth.client import Clients
    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.issuer_keys import IssuerKeys
    from mcpauth.oauth.store import Store
    from mcpauth.oauth.user import Users
    from mcpauth.settings import Settings


@dataclass(frozen=True, slots=True)
class TokenService:
    """The endpoints, and what others need of their parts."""

    keys: KeyRings
    grants: Grants
    codes: AuthorizationCodes
    device_codes: DeviceCodes | None
    feed: RevocationFeed
    grant_types: tuple[str, ...]
    proofs: DpopProofs
    token: TokenEndpoint
    introspection: IntrospectionEndpoint
    revocation: RevocationEndpoint
    id_tokens: IdTokens | None
    userinfo: UserinfoEndpoint | None
    revocation_list: RevocationListEndpoint
    jwks: JwksEndpoint

    def routes(self, at: str) -> list[BaseRoute]:
        """Where they are: for clients, in browsers too, and for resource servers, which are no browsers."""
        routes: list[BaseRoute] = [
            any_origin_route(f"{at}/token", self.token.post, methods=["POST"]),
            endpoint_route(f"{at}/introspect", self.introspection.post, methods=["POST"]),
            endpoint_route(f"{at}/revoked", self.revocation_list.get, methods=["GET"]),
            any_origin_route(f"{at}/revoke", self.revocation.post, methods=["POST"]),
            any_origin_route(f"{at}/jwks", self.jwks.get, methods=["GET"]),
        ]
        if self.userinfo is not None:
            userinfo = any_origin_route(f"{at}/userinfo", self.userinfo.answer, methods=["GET", "POST"])
            routes.append(userinfo)
        return routes


def key_rings(settings: Settings, store: Store, *, now: Callable[[], float]) -> KeyRings:
    """The rings of signing keys of these settings, not yet read."""
    return KeyRings.of_store(
        store,
        algorithm=settings.signing_algorithm,
        others=settings.further_signing_algorithms,
        lifetime=settings.signing_key_lifetime,
        token_lifetime=settings.access_token_lifetime,
        now=now,
    )


async def token_service(
    settings: Settings,
    store: Store,
    *,
    users: Users,
    clients: Clients,
    authenticator: ClientAuthenticator,
    issuer_keys: IssuerKeys,
    events: Events,
    now: Callable[[], float],
) -> TokenService:
    """The token service of these settings, over this store."""
    tokens = await _tokens(settings, store, users=users, events=events, now=now)
    grant_types = _grant_types(
        settings, store, tokens, users=users, issuer_keys=issuer_keys, events=events, now=now
    )
    introspection = Introspection(
        tokens.issued,
        refresh_tokens=tokens.refresh_tokens,
        grants=tokens.grants,
        clients=DeclaredClients(clients, settings.trusted()),
        issuer=settings.issuer,
    )
    feed = RevocationFeed(tokens.revocations)
    url = f"{settings.issuer}/token"
    return TokenService(
        keys=tokens.keys,
        grants=tokens.grants,
        codes=tokens.codes,
        device_codes=tokens.device_codes,
        feed=feed,
        grant_types=tuple(grant_types),
        proofs=tokens.proofs,
        token=TokenEndpoint(authenticator, grant_types, tokens.proofs, events, url=url),
        introspection=IntrospectionEndpoint(authenticator, introspection),
        revocation=RevocationEndpoint(authenticator, tokens.issued),
        id_tokens=tokens.id_tokens,
        userinfo=_userinfo(settings, tokens, users),
        revocation_list=RevocationListEndpoint(feed),
        jwks=JwksEndpoint(tokens.keys),
    )


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The kinds of tokens and codes that there are, and what all of them hang on."""

    keys: KeyRings
    revocations: RevocationList
    grants: Grants
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    id_tokens: IdTokens | None
    codes: AuthorizationCodes
    device_codes: DeviceCodes | None
    issued: IssuedTokens
    proofs: DpopProofs


async def _tokens(
    settings: Settings, store: Store, *, users: Users, events: Events, now: Callable[[], float]
) -> _Tokens:
    keys = key_rings(settings, store, now=now)
    await keys.start()
    revocations = RevocationList(store, access_token_lifetime=settings.access_token_lifetime, now=now)
    grants = Grants(
        store,
        is_active_user=users.is_active,
        revocations=revocations,
        events=events,
        lifetime=settings.refresh_token_absolute_lifetime,
        now=now,
    )
    access_tokens = _access_tokens(settings, store, keys, now=now)
    refresh_tokens = RefreshTokens(
        store,
        grants,
        events=events,
        idle_lifetime=settings.refresh_token_idle_lifetime,
        replay_window=settings.refresh_token_replay_window,
        now=now,
    )
    device_codes = None
    if settings.device_authorization:
        user_code_key = await server_secret(store, "user_code")
        device_codes = DeviceCodes(store, grants, user_code_key=user_code_key, events=events, now=now)
    nonces = None
    if settings.dpop_nonce_required:
        nonces = DpopNonces(await server_secret(store, "dpop nonce"), now=now)
    return _Tokens(
        keys=keys,
        revocations=revocations,
        grants=grants,
        access_tokens=access_tokens,
        refresh_tokens=refresh_tokens,
        id_tokens=_id_tokens(settings, keys, now=now),
        codes=AuthorizationCodes(store, grants, events=events, now=now),
        device_codes=device_codes,
        issued=IssuedTokens(
            access_tokens=access_tokens,
            refresh_tokens=refresh_tokens,
            grants=grants,
            revocations=revocations,
            events=events,
        ),
        proofs=DpopProofs(settings.dpop, store, nonces=nonces, now=now),
    )


def _access_tokens(
    settings: Settings, store: Store, keys: KeyRings, *, now: Callable[[], float]
) -> AccessTokens:
    registry = settings.registry()
    return AccessTokens(
        settings.issuer,
        keys,
        store,
        opaque=[each.identifier for each in registry.resources if each.has_opaque_tokens],
        algorithms=registry.signing_algorithms,
        lifetime=settings.access_token_lifetime,
        now=now,
    )


def _id_tokens(settings: Settings, keys: KeyRings, *, now: Callable[[], float]) -> IdTokens | None:
    identity = settings.registry().identity
    if identity is None:
        return None
    return IdTokens(
        settings.issuer,
        keys,
        identity=identity.identifier,
        algorithm=settings.id_token_signing_algorithm,
        lifetime=settings.access_token_lifetime,
        now=now,
    )


def _userinfo(settings: Settings, tokens: _Tokens, users: Users) -> UserinfoEndpoint | None:
    identity = settings.registry().identity
    if identity is None:
        return None
    own = OwnTokens(tokens.issued, tokens.grants, tokens.proofs, resource=identity.identifier)
    return UserinfoEndpoint(own, users)


def _grant_types(
    settings: Settings,
    store: Store,
    tokens: _Tokens,
    *,
    users: Users,
    issuer_keys: IssuerKeys,
    events: Events,
    now: Callable[[], float],
) -> dict[str, GrantType]:
    """The grant types that are enabled, by their `grant_type`."""
    registry, trusted, rules = settings.registry(), settings.trusted(), settings.exchange_rules()
    grants, access_tokens = tokens.grants, tokens.access_tokens
    first_tokens = FirstTokens(
        grants=grants,
        access_tokens=access_tokens,
        refresh_tokens=tokens.refresh_tokens,
        id_tokens=tokens.id_tokens,
        events=events,
        now=now,
    )
    grant_types: dict[str, GrantType] = {
        "authorization_code": AuthorizationCodeGrant(codes=tokens.codes, first_tokens=first_tokens),
        "refresh_token": RefreshTokenGrant(
            refresh_tokens=tokens.refresh_tokens, access_tokens=access_tokens, events=events
        ),
        CLIENT_CREDENTIALS: ClientCredentialsGrant(
            registry=registry, access_tokens=access_tokens, events=events
        ),
    }
    if rules:
        grant_types[TOKEN_EXCHANGE] = TokenExchangeGrant(
            rules=rules, tokens=tokens.issued, grants=grants, access_tokens=access_tokens, events=events
        )
    if trusted:
        grant_types[JWT_BEARER] = JwtBearerGrant(
            issuer=settings.issuer,
            assertions=Assertions(trusted, issuer_keys, store, now=now),
            identities=FederatedIdentities(store, users, now=now),
            registry=registry,
            grants=grants,
            access_tokens=access_tokens,
            events=events,
            now=now,
        )
    if tokens.device_codes is not None:
        grant_types[DEVICE_CODE] = DeviceCodeGrant(codes=tokens.device_codes, first_tokens=first_tokens)
    return grant_types
