"""Client ID Metadata Documents: clients that describe themselves at their client_id."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mcpauth.events import ClientDocumentRefused
from mcpauth.oauth.client import Client
from mcpauth.oauth.client_id_metadata_document import read_document
from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.oauth.errors import InvalidClientMetadata
from mcpauth.web.fetch import SafeFetch
from tests.authorization_server.document_helpers import CALLBACK, CLIENT_ID, Network, document
from tests.authorization_server.front_helpers import (
    LOOPBACK,
    SETTINGS,
    VERIFIER,
    Browser,
    Running,
    kept_codes,
    running,
)
from tests.authorization_server.https_helpers import answering, https_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from mcpauth.oauth.fetching import Fetch

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-authorization-server"


def as_client(client_id: str = CLIENT_ID, redirect_uri: str = CALLBACK) -> Client:
    """What a browser needs to know of a client to come with its request."""
    described = read_document(client_id, document(client_id, redirect_uris=[redirect_uri]), now=0)
    assert described.redirect_uris == (redirect_uri,)
    return described


@asynccontextmanager
async def visited(
    fetch: Fetch, client: Client | None = None, policy: DomainPolicy | None = None
) -> AsyncGenerator[tuple[Running, Browser]]:
    """A server with this way out, and a browser that comes with a client's request."""
    settings = SETTINGS if policy is None else replace(SETTINGS, client_id_metadata_documents=policy)
    async with (
        running(settings=settings, fetch=fetch) as server,
        server.browser(client or as_client()) as browser,
    ):
        yield server, browser


async def redeemed(browser: Browser, code: str, **changed: str) -> httpx2.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": browser.client.client_id,
        "code": code,
        "redirect_uri": browser.client.redirect_uris[0],
        "code_verifier": VERIFIER,
    }
    return await browser.http.post("/token", data=form | changed)


async def refused(server: Running, response: httpx2.Response, error: str) -> None:
    """A page without a redirect, with the error's code for the developer, and nothing begun."""
    assert response.status_code == 400, response.text
    assert "location" not in response.headers
    assert error in response.text
    assert await server.store.list("authorization_request") == []
    assert await server.clients.list() == ()


async def test_a_client_that_nobody_registered_goes_the_whole_way() -> None:
    """Authorize, sign in, consent, redeem, refresh: the same as for any client."""
    network = Network.of(document())
    async with visited(network) as (server, browser):
        tokens = (await redeemed(browser, await browser.to_code())).json()
        form = {"grant_type": "refresh_token", "client_id": CLIENT_ID}
        renewed = await browser.http.post("/token", data=form | {"refresh_token": tokens["refresh_token"]})
        assert renewed.status_code == 200
        assert await server.clients.list() == (), "nothing is stored of it"
    assert network.asked == [CLIENT_ID]


async def test_a_sign_in_asks_once_for_a_document_that_must_not_be_kept() -> None:
    """Each step looks at the client; RFC 9111 §5.2.2.5 would have each of them fetch it anew."""
    network = Network.of(document(), fresh_for=0)
    async with visited(network) as (server, browser):
        assert (await redeemed(browser, await browser.to_code())).status_code == 200
        assert network.asked == [CLIENT_ID]
        server.clock.advance(31)
        await browser.authorize()
    assert network.asked == [CLIENT_ID] * 2


async def test_a_document_is_fetched_over_https_by_the_safe_fetch() -> None:
    """From a real server; the default fetch would not even connect to loopback."""
    body = b'{"client_id": "%s", "client_name": "Example", "redirect_uris": ["%s"]}'
    answer = answering(body % (CLIENT_ID.encode(), CALLBACK.encode()), "Cache-Control: max-age=60")
    async with https_server(answer) as web, visited(web.fetch()) as (_, browser):
        assert (await redeemed(browser, await browser.to_code())).status_code == 200
    assert len(web.requests) == 1
    assert web.requests[0].startswith(b"GET /oauth/client.json HTTP/1.1\r\n")


async def test_by_default_a_document_on_loopback_is_refused() -> None:
    async with visited(SafeFetch()) as (server, browser):
        for url in ("https://localhost/client.json", "https://127.0.0.1/client.json"):
            await refused(server, await browser.authorize(client_id=url), "invalid_client")


async def test_the_metadata_tells_clients_that_they_may() -> None:
    """Claude looks for both members before it uses its document."""
    async with visited(Network()) as (_, browser):
        metadata = (await browser.http.get(METADATA)).json()
    assert metadata["client_id_metadata_document_supported"] is True
    assert "none" in metadata["token_endpoint_auth_methods_supported"]


async def test_switched_off_it_is_neither_advertised_nor_fetched() -> None:
    network = Network.of(document())
    off = DomainPolicy(enabled=False)
    async with visited(network, policy=off) as (server, browser):
        metadata = (await browser.http.get(METADATA)).json()
        await refused(server, await browser.authorize(), "invalid_client")
    assert "client_id_metadata_document_supported" not in metadata
    assert network.asked == []


@pytest.mark.parametrize(
    "client_id",
    [
        "http://client.example/client.json",
        "HTTPS://client.example/client.json",
        "https://client.example",
        "https://client.example#/client.json",
        "https://client.example/client.json#",
        "https://client.example/client.json?v=1",
        "https://client.example/client.json?",
        "https://user@client.example/client.json",
        "https://user:secret@client.example/client.json",
        "https://client.example@evil.example/client.json",
        "https://client.example/../client.json",
        "https://client.example/./client.json",
        "https://client.example/a/%2e%2E/client.json",
        "https://client.example/%2e/client.json",
        "https://client.example/a/..",
        "https://client.example\\client.json",
        "https:\\\\client.example/client.json",
        "https://client.example/a b",
        "https://client.example/a\tb",
        "https://client.example/a\nb",
        "https://client.example/\u00e9",
        "https://client.example/%zz",
        "https://Client.Example/client.json",
        "https://127.0.0.1/client.json",
        "https://0x7f.1/client.json",
        "https://1.2.3/client.json",
        "https://[::1]/client.json",
        "https://localhost/client.json",
        "https://a.localhost/client.json",
        "https://intranet/client.json",
        "https://client.example./client.json",
        "https://.example/client.json",
        "https://client..example/client.json",
        "https://-client.example/client.json",
        "https:///client.json",
        "https:/client.example/client.json",
        "https:client.example/client.json",
        "https://client.example:0/client.json",
        "https://client.example:99999/client.json",
        "https://client.example:/client.json",
        "https://client.example/" + "x" * (2049 - 23),
    ],
)
async def test_a_url_that_cannot_be_a_client_id_is_refused_without_a_fetch(client_id: str) -> None:
    """§3 of the draft, judged on the raw string."""
    network = Network()
    async with visited(network) as (server, browser):
        await refused(server, await browser.authorize(client_id=client_id), "invalid_client")
        token = await browser.http.post(
            "/token", data={"grant_type": "authorization_code", "client_id": client_id}
        )
        assert (token.status_code, token.json()["error"]) == (401, "invalid_client")
    assert network.asked == []


async def test_a_nul_in_the_url_is_refused_without_a_fetch() -> None:
    network = Network()
    async with visited(network) as (server, browser):
        response = await browser.authorize(client_id="https://client.example/\0")
        assert response.status_code == 400
        assert await server.store.list("authorization_request") == []
    assert network.asked == []


@pytest.mark.parametrize(
    "client_id_inside",
    [
        "https://client.example:443/oauth/client.json",
        "https://client.example/oauth/Client.json",
        "https://client.example/oauth/client.json/",
        "https://other.example/oauth/client.json",
        "",
        None,
        7,
        [CLIENT_ID],
    ],
)
async def test_a_document_of_another_client_id_is_refused(client_id_inside: object) -> None:
    """RFC 3986 §6.2.1, simple string comparison: nothing is normalized."""
    network = Network({CLIENT_ID: document() | {"client_id": client_id_inside}})
    if client_id_inside is None:
        network.documents[CLIENT_ID] = {"client_name": "x", "redirect_uris": [CALLBACK]}
    async with visited(network) as (server, browser):
        await refused(server, await browser.authorize(), "invalid_client")
    assert network.asked == [CLIENT_ID]


@pytest.mark.parametrize("wrong", [[], [document()], "text", 1, None, True])
async def test_what_is_no_json_object_is_refused(wrong: object) -> None:
    async with visited(Network({CLIENT_ID: wrong})) as (server, browser):
        await refused(server, await browser.authorize(), "invalid_client")


PUBLIC_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
PRIVATE_EC = PUBLIC_EC | {"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}


@pytest.mark.parametrize(
    "changed",
    [
        {"client_secret": "secret"},
        {"client_secret": ""},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": 1},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": None, "token_endpoint_auth_methods_supported": ["client_secret_post"]},
        {"token_endpoint_auth_method": None, "token_endpoint_auth_methods_supported": "none"},
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [PRIVATE_EC]}},
        {"jwks": {"keys": [PRIVATE_EC]}},
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"jwks": {"keys": []}},
        {"jwks": {}},
        {"jwks": {"keys": [PUBLIC_EC]}, "jwks_uri": "https://client.example/jwks"},
        {"jwks_uri": "http://client.example/jwks"},
        {"jwks_uri": "https://127.0.0.1/jwks"},
        {"redirect_uris": None},
        {"redirect_uris": []},
        {"redirect_uris": CALLBACK},
        {"redirect_uris": [1]},
        {"redirect_uris": ["javascript:alert(1)", "http://client.example/cb"]},
        {"client_name": None},
        {"client_name": ""},
        {"client_name": "\u202e\u200b"},
        {"client_name": 5},
        {"client_name": {"en": "x"}},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
        {"grant_types": [1]},
        {"response_types": ["token"]},
    ],
)
async def test_a_document_that_describes_no_client_is_refused(changed: dict[str, Any]) -> None:
    """§4 of the draft and the MCP profile: no secret, a name, a redirect URI."""
    async with visited(Network({CLIENT_ID: document(**changed)})) as (server, browser):
        await refused(server, await browser.authorize(), "invalid_client_metadata")
        token = await browser.http.post("/token", data={"client_id": CLIENT_ID})
    assert (token.status_code, token.json()["error"]) == (401, "invalid_client")
    # One event, though it was asked for twice: the second time nothing was fetched.
    (event,) = [event for event in server.happened if isinstance(event, ClientDocumentRefused)]
    assert (event.client_id, event.error) == (CLIENT_ID, "invalid_client_metadata")


CLAUDE = {
    "client_id": "https://claude.ai/oauth/mcp-oauth-client-metadata",
    "client_name": "Claude",
    "client_uri": "https://claude.ai",
    "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
    "grant_types": [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
VS_CODE = {
    "client_id": "https://vscode.dev/oauth/client-metadata.json",
    "client_name": "Visual Studio Code",
    "client_uri": "https://vscode.dev",
    "logo_uri": "https://code.visualstudio.com/assets/branding/code-stable.png",
    "grant_types": [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ],
    "response_types": ["code"],
    "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect", "http://127.0.0.1/"],
    "token_endpoint_auth_method": "none",
}
CHATGPT = {
    "client_id": "https://chatgpt.com/oauth/abc123/client.json",
    "client_name": "ChatGPT",
    "application_type": "web",
    "redirect_uris": ["https://chatgpt.com/connector/oauth/abc123"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "token_endpoint_auth_signing_alg": "RS256",
    "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
}


@pytest.mark.parametrize(
    ("described", "redirect_uri"),
    [
        (CLAUDE, "http://localhost:53682/callback"),
        (CLAUDE, "http://127.0.0.1:1/callback"),
        (VS_CODE, "http://127.0.0.1:33418/"),
        (VS_CODE, "http://127.0.0.1:50000/"),
        (VS_CODE, "https://vscode.dev/redirect"),
        (CHATGPT, "https://chatgpt.com/connector/oauth/abc123"),
    ],
)
async def test_documents_written_as_those_of_well_known_clients_work(
    described: dict[str, Any], redirect_uri: str
) -> None:
    """A grant type for other servers, a logo elsewhere, loopback without a port, a list of methods."""
    network = Network.of(described)
    client = as_client(described["client_id"], redirect_uri)
    async with visited(network, client) as (_, browser):
        assert (await redeemed(browser, await browser.to_code())).status_code == 200
    assert network.asked == [described["client_id"]], "no logo, no keys"


@pytest.mark.parametrize(
    "odd",
    [
        {"logo_uri": 5},
        {"client_uri": "javascript:alert(1)"},
        {"tos_uri": "not a URL"},
        {"contacts": "me"},
        {"software_id": {"a": 1}},
        {"scope": ["notes:read"]},
        {"scope": "unknown scopes"},
        {"application_type": 7},
        {"unknown": {"deep": [[1]]}},
        {"redirect_uris": ["zed://unknown", "javascript:alert(1)", CALLBACK]},
        {"response_types": ["code", "token"]},
        {"client_name#ja": "x"},
    ],
)
async def test_one_odd_member_does_not_spoil_a_document(odd: dict[str, Any]) -> None:
    """What is only shown, or for another server, is left out."""
    async with visited(Network.of(document(**odd))) as (_, browser):
        page = await browser.to_consent()
        assert "javascript" not in page.text
        assert (await browser.authorize(redirect_uri="javascript:alert(1)")).status_code == 400


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://client.example/other",
        "https://client.example/callback/",
        "http://client.example/callback",
        LOOPBACK,
    ],
)
async def test_a_redirect_uri_that_the_document_does_not_name_is_not_redirected_to(redirect_uri: str) -> None:
    async with visited(Network.of(document())) as (server, browser):
        await refused(server, await browser.authorize(redirect_uri=redirect_uri), "invalid_request")


async def test_a_registered_client_of_the_same_client_id_comes_first_and_nothing_is_fetched() -> None:
    """A document can never take a registered client over."""
    network = Network.of(document(redirect_uris=["https://evil.example/cb"]))
    async with running(fetch=network) as server:
        ours = await server.register()
        registered = Client.from_record(
            ours.to_record() | {"client_id": CLIENT_ID, "source": "pre-registered"}
        )
        await server.clients.add(registered)
        async with server.browser(registered) as browser:
            evil = await browser.authorize(redirect_uri="https://evil.example/cb")
            assert evil.status_code == 400
            assert (await browser.authorize()).status_code == 303
    assert network.asked == []


async def test_a_client_cannot_register_a_url_as_its_client_id() -> None:
    network = Network()
    async with visited(network) as (_, browser):
        body = {"client_id": CLIENT_ID, "redirect_uris": [LOOPBACK]}
        answer = (await browser.http.post("/register", json=body)).json()
    assert not answer["client_id"].startswith("https:")


@pytest.mark.parametrize(
    ("policy", "permitted"),
    [
        (DomainPolicy(), True),
        (DomainPolicy(allow=("client.example",)), True),
        (DomainPolicy(allow=("*.client.example",)), False),
        (DomainPolicy(allow=("other.example",)), False),
        (DomainPolicy(deny=("client.example",)), False),
        (DomainPolicy(allow=("client.example",), deny=("client.example",)), False),
        (DomainPolicy(deny=("*.client.example",)), True),
    ],
)
async def test_the_operator_says_on_which_domains(policy: DomainPolicy, permitted: bool) -> None:
    network = Network.of(document())
    async with visited(network, policy=policy) as (_, browser):
        response = await browser.authorize()
        assert response.status_code == (303 if permitted else 400)
    assert bool(network.asked) == permitted


def test_a_pattern_with_a_star_matches_whole_labels_below_it() -> None:
    policy = DomainPolicy(allow=("*.example.com",))
    assert policy.permits("a.example.com")
    assert policy.permits("a.b.example.com")
    assert not policy.permits("example.com")
    assert not policy.permits("evilexample.com")


@pytest.mark.parametrize(
    "pattern", ["", "*", "com", "*.com.", "Example.com", "https://a.example", "a.*.example"]
)
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="allow: "):
        DomainPolicy(allow=(pattern,))


async def test_the_consent_page_shows_where_the_client_describes_itself() -> None:
    """MCP: the user sees a host that was verified beside the name that was not, and where they go back to."""
    async with visited(Network.of(document(client_name="Trusty"))) as (server, browser):
        page = await browser.to_consent()
        assert "<dt>Described at</dt><dd><code>client.example</code></dd>" in page.text
        assert "named itself" in page.text
        async with server.browser() as other:
            assert "Described at" not in (await other.to_consent()).text


async def test_a_document_with_only_loopback_redirects_is_warned_of() -> None:
    """MCP: any program on the computer can pass for such a client, whatever host its document has."""
    network = Network.of(document(redirect_uris=["http://localhost/callback"]))
    client = as_client(redirect_uri="http://localhost:9999/callback")
    async with visited(network, client) as (_, browser):
        page = await browser.to_consent()
    assert "Did you start this yourself?" in page.text
    assert "<code>localhost:9999</code>" in page.text


async def test_a_client_in_its_own_name_is_not_one_of_a_document() -> None:
    """client_credentials: no operator has given it anything."""
    described = document(grant_types=["authorization_code", "client_credentials"])
    async with visited(Network.of(described)) as (_, browser):
        form = {"grant_type": "client_credentials", "client_id": CLIENT_ID}
        response = await browser.http.post("/token", data=form)
    assert response.status_code in (400, 401)
    assert response.json()["error"] in ("unauthorized_client", "unsupported_grant_type")


async def test_a_document_that_turns_invalid_ends_authorizations_under_way_and_new_ones() -> None:
    """It fails closed: no code comes of a consent page that was shown before."""
    network = Network.of(document(), fresh_for=60)
    async with visited(network) as (server, browser):
        page = await browser.to_consent()
        network.documents[CLIENT_ID] = document(client_name=None)
        server.clock.advance(61)
        for response in (await browser.decide(page), await browser.authorize()):
            assert response.status_code == 400
            assert "location" not in response.headers
        assert await kept_codes(server) == 0


async def test_a_redirect_uri_that_leaves_the_document_before_the_consent_gets_no_code() -> None:
    network = Network.of(document(), fresh_for=60)
    async with visited(network) as (server, browser):
        page = await browser.to_consent()
        network.documents[CLIENT_ID] = document(redirect_uris=["https://client.example/new"])
        server.clock.advance(61)
        answer = await browser.decide(page)
        assert answer.status_code == 400
        assert "location" not in answer.headers
        assert await kept_codes(server) == 0


async def test_tokens_of_a_document_that_turned_invalid_are_not_renewed_until_it_is_mended() -> None:
    """Existing grants: nothing is revoked, and nothing is issued."""
    network = Network.of(document(), fresh_for=60)
    async with visited(network) as (server, browser):
        tokens = (await redeemed(browser, await browser.to_code())).json()
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "refresh_token": tokens["refresh_token"],
        }
        network.documents[CLIENT_ID] = document(redirect_uris=None)
        server.clock.advance(61)
        refusal = await browser.http.post("/token", data=form)
        assert (refusal.status_code, refusal.json()["error"]) == (401, "invalid_client")
        network.documents[CLIENT_ID] = document()
        server.clock.advance(61)
        assert (await browser.http.post("/token", data=form)).status_code == 200


def test_a_document_without_keys_that_offers_both_methods_is_public() -> None:
    """And one that offers only private_key_jwt cannot be without."""
    offered = document(
        token_endpoint_auth_method=None, token_endpoint_auth_methods_supported=["private_key_jwt", "none"]
    )
    client = read_document(CLIENT_ID, offered, now=0)
    assert client.token_endpoint_auth_method == "none"
    assert client.source == "client_id_metadata_document"
    with pytest.raises(InvalidClientMetadata):
        read_document(
            CLIENT_ID, offered | {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, now=0
        )
