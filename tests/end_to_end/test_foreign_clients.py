"""OAuth clients that know nothing of this project, from discovery to revocation, against `mcpauth serve`.

Each of them refuses other faults of an answer: a wrong `iss`, a content type, a member of the wrong type.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

from tests.end_to_end.serving import RESOURCE, authorization_server, installed
from tests.end_to_end.step_up import USERNAME, walk
from tests.requires import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.serving import AuthorizationServer, Registered

FOLDER = Path(__file__).with_name("foreign")
REDIRECT_URI = "http://127.0.0.1:43111/callback"
# The second is not among the default scopes: it is there because it was asked for.
SCOPE = "notes:read notes:write"
# It tells a type checker little, and what it tells is not all so.
Authlib: Any = AsyncOAuth2Client
VERIFIER = "a-code-verifier-of-forty-three-characters-or-more"

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(FOLDER, tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    with authorization_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def expected(*, confidential: bool) -> dict[str, Any]:
    """What every client sees; only those that can authenticate may introspect (RFC 7662 §2.1)."""
    return {
        "scope": SCOPE,
        "audience": RESOURCE,
        "client_is_named": True,
        "refreshed_scope": SCOPE,
        "rotated": True,
        "refresh_after_revocation": "invalid_grant",
        "active": [True, False] if confidential else None,
    }


async def node_client(
    packages: Path,
    server: AuthorizationServer,
    library: str,
    client: Registered | None,
    *,
    push: bool = False,
) -> dict[str, Any]:
    task: dict[str, Any] = {
        "issuer": server.issuer,
        "resource": RESOURCE,
        "scope": SCOPE,
        "redirect_uri": REDIRECT_URI,
        "push": push,
    }
    if client is not None:
        task["client_id"] = client.client_id
        task["client_secret"] = client.client_secret or ""
    walked = await walk(
        [program("node"), f"{library}.mjs", json.dumps(task)], cwd=packages, back_to=REDIRECT_URI
    )
    assert [list(each) for each in walked.said[:-1]] == [["open"]], "one authorization"
    url: str = walked.said[0]["open"]
    assert (set(parse_qs(urlsplit(url).query)) == {"client_id", "request_uri"}) == push, (
        "what the browser carries"
    )
    return walked.said[-1]


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_node_client_that_registers_itself(
    packages: Path, server: AuthorizationServer, library: str
) -> None:
    """RFC 8414, RFC 7591, RFC 9207, PKCE, RFC 8707, refresh, RFC 7009; no secret anywhere."""
    assert await node_client(packages, server, library, None) == expected(confidential=False)


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_node_client_with_a_secret(packages: Path, server: AuthorizationServer, library: str) -> None:
    """Likewise with client_secret_basic (oauth4webapi) and client_secret_post, and with RFC 7662."""
    client = server.register(REDIRECT_URI, confidential=True)
    assert await node_client(packages, server, library, client) == expected(confidential=True)


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
@pytest.mark.parametrize("confidential", [False, True])
async def test_a_node_client_that_pushes_its_request(
    packages: Path, server: AuthorizationServer, library: str, confidential: bool
) -> None:
    """RFC 9126: the browser carries a reference, and the rest of the way is the same."""
    client = server.register(REDIRECT_URI, confidential=confidential)
    walked = await node_client(packages, server, library, client, push=True)
    assert walked == expected(confidential=confidential)


@pytest.mark.parametrize("confidential", [False, True])
async def test_a_device_with_a_node_client(
    packages: Path, server: AuthorizationServer, confidential: bool
) -> None:
    """RFC 8628 with openid-client, registered by itself and by the operator, and a user with a browser."""
    client = server.register(None, confidential=True) if confidential else None
    task = {"issuer": server.issuer, "resource": RESOURCE, "scope": SCOPE, "redirect_uri": ""}
    if client is not None:
        task |= {"client_id": client.client_id, "client_secret": client.client_secret or ""}
    walked = await walk([program("node"), "openid-client-device.mjs", json.dumps(task)], cwd=packages)
    assert walked.said[-1] == {
        "scope": SCOPE,
        "audience": RESOURCE,
        "client_is_named": True,
        "refreshed_scope": SCOPE,
        "used_again": "invalid_grant",
    }


async def signed_in(
    packages: Path, server: AuthorizationServer, library: str, *, dpop: bool = False
) -> dict[str, Any]:
    """What a client saw that registered itself to learn who its user is, and names no resource."""
    task = {
        "issuer": server.issuer,
        "scope": "openid profile",
        "redirect_uri": REDIRECT_URI,
        "dpop": dpop,
    }
    walked = await walk(
        [program("node"), f"{library}-sign-in.mjs", json.dumps(task)], cwd=packages, back_to=REDIRECT_URI
    )
    return walked.said[-1]


def recognised(server: AuthorizationServer, algorithm: str) -> dict[str, Any]:
    """What every such client sees, when its tokens are bound to nothing."""
    return {
        "algorithm": algorithm,
        "offered": [algorithm],
        "audience": f"{server.issuer}/userinfo",
        "scope": "openid profile",
        "methods": ["pwd"],
        "username": USERNAME,
        "token_types": ["bearer", "bearer"],
        "bound": [False, False],
        "asked_for_a_nonce": 0,
    }


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_node_client_signs_its_user_in(
    packages: Path, server: AuthorizationServer, library: str
) -> None:
    """OpenID Connect Core §3.1.3.7: the client checks signature, `nonce`, `auth_time` and the rest; §5.3."""
    assert await signed_in(packages, server, library) == recognised(server, "ES256")


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """ID tokens as Discovery wants them, and proofs with nonces."""
    more: dict[str, str | bool] = {"id_token_signing_algorithm": "RS256", "dpop_nonce_required": True}
    with authorization_server(tmp_path_factory.mktemp("other"), **more) as running:
        yield running


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_node_client_signs_its_user_in_with_rs256(
    packages: Path, other_server: AuthorizationServer, library: str
) -> None:
    """OpenID Connect Discovery §3."""
    assert await signed_in(packages, other_server, library) == recognised(other_server, "RS256")


@pytest.mark.parametrize("library", ["oauth4webapi", "openid-client"])
async def test_a_node_client_with_a_key(
    packages: Path, other_server: AuthorizationServer, library: str
) -> None:
    """RFC 9449: code, refresh and userinfo with proofs, where the server wants nonces in them (§8)."""
    assert await signed_in(packages, other_server, library, dpop=True) == {
        **recognised(other_server, "RS256"),
        "token_types": ["dpop", "dpop"],
        "bound": [True, True],
        # With its own key at /token alone, not at /userinfo or at the refresh; and with the other key.
        "asked_for_a_nonce": 2,
        "as_bearer": "invalid_token",
        "with_another_key": "invalid_grant",
    }


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
async def test_authlibs_client(server: AuthorizationServer, method: str) -> None:
    """The same with Authlib's client and each way of its to authenticate."""
    confidential = method != "none"
    registered = server.register(REDIRECT_URI, confidential=confidential)
    assert await authlib_client(server, registered, method) == expected(confidential=confidential)


async def authlib_client(server: AuthorizationServer, registered: Registered, method: str) -> dict[str, Any]:
    metadata = await discovered(server.issuer)
    async with Authlib(
        registered.client_id,
        registered.client_secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        redirect_uri=REDIRECT_URI,
        scope=SCOPE,
        code_challenge_method="S256",
    ) as client:
        url, state = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=VERIFIER, resource=RESOURCE
        )
        back = await visit(server, url)
        first = await client.fetch_token(
            metadata["token_endpoint"],
            authorization_response=back,
            state=state,
            code_verifier=VERIFIER,
            resource=RESOURCE,
        )
        second = await client.refresh_token(metadata["token_endpoint"], resource=RESOURCE)

        async def active() -> bool | None:
            if registered.client_secret is None:
                return None
            at = metadata["introspection_endpoint"]
            told: dict[str, Any] = (await client.introspect_token(at, token=second["access_token"])).json()
            return bool(told["active"])

        before = await active()
        revoked = await client.revoke_token(metadata["revocation_endpoint"], token=second["refresh_token"])
        assert revoked.status_code == 200
        after = await active()
        with pytest.raises(OAuthError) as refused:
            await client.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    claims = claims_of(first["access_token"])
    return {
        "scope": first["scope"],
        "audience": claims["aud"],
        "client_is_named": claims["client_id"] == registered.client_id,
        "refreshed_scope": second["scope"],
        "rotated": all(first[token] != second[token] for token in ("access_token", "refresh_token")),
        "refresh_after_revocation": refused.value.error,
        "active": None if before is None else [before, after],
    }


async def discovered(issuer: str) -> dict[str, Any]:
    """The metadata, found and checked by Authlib."""
    async with httpx2.AsyncClient() as http:
        answer = await http.get(get_well_known_url(issuer, external=True))
    metadata = AuthorizationServerMetadata(answer.json())
    metadata.validate()
    assert metadata["issuer"] == issuer
    return metadata


async def visit(server: AuthorizationServer, url: str) -> str:
    browser = server.browser()
    try:
        return await browser.visit(url, back_to=REDIRECT_URI)
    finally:
        await browser.aclose()


def claims_of(access_token: str) -> dict[str, Any]:
    payload = access_token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
