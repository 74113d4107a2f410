"""JWT access tokens: RFC 9068 §4, RFC 8725, RFC 7515."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization

from mcpauth_middleware import AuthorizationServer, InvalidToken, JwtVerifier
from tests.middleware.edge_helpers import (
    ED25519_KEY,
    ES256_KEY,
    ES384_KEY,
    ISSUER,
    NOW,
    RESOURCE,
    RSA_KEY,
    Clock,
    IssuerServer,
    PrivateKey,
    RecordingApp,
    b64,
    claims,
    mint,
    protect,
    public_jwk,
)

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import Receive, Scope, Send

pytestmark = pytest.mark.anyio


def verifier(issuer: IssuerServer | None = None, **options: Any) -> JwtVerifier:
    client = (issuer or IssuerServer()).client()
    good: dict[str, Any] = {"resource": RESOURCE, "issuers": [ISSUER], "now": Clock(), "http_client": client}
    return JwtVerifier(**{**good, **options})


async def refusal(token: str, **options: Any) -> str:
    with pytest.raises(InvalidToken) as raised:
        await verifier(**options).verify(token)
    return raised.value.reason


async def test_a_good_token_gives_its_principal() -> None:
    """RFC 9068 §2.2."""
    principal = await verifier().verify(mint(claims(scope="files:read files:write", tenant="a")))

    assert principal.issuer == ISSUER
    assert principal.subject == "user-1"
    assert principal.client_id == "client-1"
    assert principal.scopes == {"files:read", "files:write"}
    assert principal.resource == RESOURCE
    assert principal.expires_at == NOW + 600
    assert principal.token_id == "token-1"
    assert principal.claims["tenant"] == "a"


async def test_claims_cannot_be_changed_and_are_not_printed() -> None:
    """What a tool does to its principal must not reach the next one, nor a log the claims."""
    principal = await verifier().verify(mint(claims(email="ada@example.com")))

    with pytest.raises(TypeError):
        principal.claims["sub"] = "somebody else"  # type: ignore[index]  # that it cannot be done is shown
    assert "ada@example.com" not in repr(principal)
    assert len({principal, principal}) == 1


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ES256_KEY, "ES256"),
        (ES384_KEY, "ES384"),
        (RSA_KEY, "RS256"),
        (RSA_KEY, "PS256"),
        (ED25519_KEY, "EdDSA"),
    ],
)
@pytest.mark.parametrize("kid", ["k9", None])
async def test_each_allowed_algorithm_verifies_with_and_without_kid(
    key: PrivateKey, alg: str, kid: str | None
) -> None:
    """RFC 7515 §4.1.4: `kid` is a hint, and optional."""
    issuer = IssuerServer()
    issuer.publish(public_jwk(ES256_KEY, kid="k1"), public_jwk(key, kid=kid))

    assert (await verifier(issuer).verify(mint(key=key, alg=alg, kid=kid))).subject == "user-1"


@pytest.mark.parametrize("aud", [RESOURCE, [RESOURCE], ["https://other.example", RESOURCE]])
async def test_the_audience_may_be_one_of_a_list(aud: object) -> None:
    """RFC 7519 §4.1.3."""
    assert (await verifier().verify(mint(claims(aud=aud)))).subject == "user-1"


@pytest.mark.parametrize("aud", ["https://rs.example", "https://rs.example/"])
@pytest.mark.parametrize("resource", ["https://rs.example", "https://rs.example/", "HTTPS://RS.example:443"])
async def test_a_resource_without_path_is_accepted_with_and_without_slash(resource: str, aud: str) -> None:
    """RFC 3986 §6.2.3: both name the same thing, and clients send both."""
    assert (await verifier(resource=resource).verify(mint(claims(aud=aud)))).subject == "user-1"


async def test_an_audience_that_was_agreed_on_is_accepted() -> None:
    """For authorization servers without RFC 8707."""
    token = mint(claims(aud="6f1c-guid"))

    assert await refusal(token) == "audience"
    assert (await verifier(accepted_audiences=["6f1c-guid"]).verify(token)).subject == "user-1"


async def test_typ_jwt_is_accepted_only_when_asked_for() -> None:
    """RFC 9068 §4: the resource server MUST verify that `typ` is at+jwt."""
    token = mint(typ="JWT")

    assert await refusal(token) == "typ"
    assert (await verifier(accepted_typ=["at+jwt", "JWT"]).verify(token)).subject == "user-1"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
async def test_typ_is_a_media_type(typ: str) -> None:
    """RFC 7515 §4.1.9: `application/` may be left out, and case does not matter."""
    assert (await verifier().verify(mint(typ=typ))).subject == "user-1"


@pytest.mark.parametrize(
    ("members", "scopes"),
    [
        ({"scope": "a b"}, {"a", "b"}),
        ({"scope": ""}, set[str]()),
        ({"scope": None}, set[str]()),
        ({"scope": None, "scp": ["a", "b"]}, {"a", "b"}),
        ({"scope": None, "scp": "a b"}, {"a", "b"}),
        ({"scope": "a", "scp": ["b"]}, {"a"}),
    ],
)
async def test_scopes_come_from_scope_or_else_from_scp(members: dict[str, Any], scopes: set[str]) -> None:
    """RFC 9068 §2.2.3, and what other servers write."""
    assert (await verifier().verify(mint(claims(**members)))).scopes == scopes


def _hs256_with_public_key() -> str:
    secret = ES256_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = json.dumps(_header(alg="HS256")).encode()
    signing_input = f"{b64(header)}.{b64(json.dumps(claims()).encode())}"
    return f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def _unsigned(header: dict[str, Any]) -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}."


def _header(**members: Any) -> dict[str, Any]:
    return {"alg": "ES256", "typ": "at+jwt", "kid": "k1", **members}


def _changed_signature() -> str:
    head, _, signature = mint().rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _changed_payload() -> str:
    header, _, signature = mint().split(".")
    return f"{header}.{b64(json.dumps(claims(scope='admin')).encode())}.{signature}"


def _other_spelling() -> str:
    """The same bytes, with a spare bit of the last character set."""
    head, _, signature = mint().rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return f"{head}.{signature[:-1]}{alphabet[alphabet.index(signature[-1]) ^ 1]}"


_OWN_JWK = public_jwk(ES384_KEY)
_DEEP = b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"

BAD_TOKENS: dict[str, str] = {
    "empty": "",
    "garbage": "garbage",
    "only dots": "..",
    "alg none": _unsigned(_header(alg="none")),
    "alg none with a signature": mint(header=_header(alg="none")),
    "alg NONE": _unsigned(_header(alg="NONE")),
    "alg empty": mint(header=_header(alg="")),
    "alg a list": mint(header=_header(alg=["ES256"])),
    "alg null": mint(header=_header(alg=None)),
    "no alg": mint(header={"typ": "at+jwt", "kid": "k1"}),
    "HS256 with the public key": _hs256_with_public_key(),
    "ES384 said of an ES256 key": mint(header=_header(alg="ES384")),
    "RS256 said of an ES256 key": mint(header=_header(alg="RS256")),
    "another kid": mint(kid="k2"),
    "kid a path": mint(kid="../../k1"),
    "kid a number": mint(header=_header(kid=1)),
    "kid null": mint(header=_header(kid=None)),
    "another key under the same kid": mint(key=ES384_KEY, alg="ES384", kid="k1"),
    "embedded jwk": mint(key=ES384_KEY, alg="ES384", header=_header(alg="ES384", jwk=_OWN_JWK)),
    "jku": mint(header=_header(jku="https://evil.example/jwks")),
    "x5u": mint(header=_header(x5u="https://evil.example/x5c")),
    "x5c": mint(header=_header(x5c=["AAAA"])),
    "crit": mint(header=_header(crit=["exp"])),
    "crit b64": mint(header=_header(crit=["b64"], b64=False)),
    "unknown header member": mint(header=_header(extra=1)),
    "header a list": mint(header=b"[]"),
    "header twice alg": mint(header=b'{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"k1"}'),
    "no typ": mint(typ=None),
    "typ of an ID token": mint(typ="JWT"),
    "typ of a logout token": mint(typ="logout+jwt"),
    "typ of a DPoP proof": mint(typ="dpop+jwt"),
    "typ a number": mint(header=_header(typ=1)),
    "aud of another resource": mint(claims(aud="https://other.example/mcp")),
    "aud of several others": mint(claims(aud=["https://a.example", "https://b.example"])),
    "aud a prefix": mint(claims(aud="https://rs.example/")),
    "aud with more path": mint(claims(aud=RESOURCE + "/more")),
    "aud with a slash": mint(claims(aud=RESOURCE + "/")),
    "aud in another case": mint(claims(aud="https://RS.example/mcp")),
    "aud an empty list": mint(claims(aud=[])),
    "aud nested": mint(claims(aud=[[RESOURCE]])),
    "aud an object": mint(claims(aud={RESOURCE: True})),
    "aud a number": mint(claims(aud=1)),
    "no aud": mint(claims(aud=None)),
    "iss with a slash": mint(claims(iss=ISSUER + "/")),
    "iss in another case": mint(claims(iss="https://AS.example")),
    "iss of another server": mint(claims(iss="https://evil.example")),
    "iss a list": mint(claims(iss=[ISSUER])),
    "no iss": mint(claims(iss=None)),
    "exp passed": mint(claims(exp=NOW)),
    "exp passed within the skew": mint(claims(exp=NOW - 1)),
    "exp a string": mint(claims(exp=str(NOW + 600))),
    "exp true": mint(claims(exp=True)),
    "exp a fraction": mint(claims(exp=NOW + 600.5)),
    "exp 1e400": mint(json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": 1e400').encode()),
    "exp Infinity": mint(json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": Infinity').encode()),
    "exp NaN": mint(json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": NaN').encode()),
    "exp negative": mint(claims(exp=-1)),
    "exp enormous": mint(claims(exp=2**64)),
    "exp of 5000 digits": mint(
        json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": ' + "9" * 5000).encode()
    ),
    "exp null": mint(json.dumps(claims(exp=7)).replace('"exp": 7', '"exp": null').encode()),
    "no exp": mint(claims(exp=None)),
    "exp twice": mint(
        json.dumps(claims(exp=7)).replace('"exp": 7', f'"exp": 7, "exp": {NOW + 600}').encode()
    ),
    "nbf in the future": mint(claims(nbf=NOW + 31)),
    "nbf a string": mint(claims(nbf=str(NOW))),
    "iat in the future": mint(claims(iat=NOW + 31)),
    "iat true": mint(claims(iat=True)),
    "no sub": mint(claims(sub=None)),
    "sub empty": mint(claims(sub="")),
    "sub a number": mint(claims(sub=1)),
    "client_id a list": mint(claims(client_id=["client-1"])),
    "jti a number": mint(claims(jti=1)),
    "scope a list": mint(claims(scope=["files:read"])),
    "scope with a quote": mint(claims(scope='a"b')),
    "scp nested": mint(claims(scope=None, scp=[["a"]])),
    "scp with a space": mint(claims(scope=None, scp=["a b"])),
    "bound to a key": mint(claims(cnf={"jkt": "thumbprint"})),
    "payload a list": mint(b"[]"),
    "payload not JSON": mint(b"{"),
    "payload in UTF-16": mint(json.dumps(claims()).encode("utf-16")),
    "payload with a byte order mark": mint(b"\xef\xbb\xbf" + json.dumps(claims()).encode()),
    "deep JSON": mint(_DEEP),
    "padding": mint() + "=",
    "two paddings": mint() + "==",
    "padded segment": mint().replace(".", "=.", 1),
    "other spelling of the signature": _other_spelling(),
    "four segments": mint() + ".AAAA",
    "two segments": mint().rpartition(".")[0],
    "no signature": mint().rpartition(".")[0] + ".",
    "changed signature": _changed_signature(),
    "changed payload": _changed_payload(),
    "a space inside": mint().replace(".", ". ", 1),
    "a line break at the end": mint() + "\n",
    "standard base64": mint()[:-4] + "+/+/",
    "letters that are not ASCII": mint()[:-1] + "é",
    "nine kilobytes": mint(claims(padding="x" * 9000)),
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=list(BAD_TOKENS))
async def test_a_token_that_is_not_in_order_is_refused(token: str) -> None:
    """RFC 9068 §4, RFC 8725 §3, RFC 7515 §5.2."""
    assert await refusal(token)


async def test_the_reason_is_for_the_journal_and_the_text_says_nothing() -> None:
    """RFC 6750 §3.1: one description for every way a token can be bad."""
    descriptions: set[str] = set()
    for token in ("garbage", mint(claims(exp=1)), mint(claims(aud="x"))):
        with pytest.raises(InvalidToken) as raised:
            await verifier().verify(token)
        assert token not in str(raised.value)
        descriptions.add(raised.value.description)

    assert len(descriptions) == 1


async def test_nbf_and_iat_have_thirty_seconds_of_grace_and_exp_has_none() -> None:
    """RFC 9068 §4 allows a small leeway for clocks that differ."""
    clock = Clock()
    subject = verifier(now=clock)

    assert (await subject.verify(mint(claims(nbf=NOW + 30, iat=NOW + 30)))).subject == "user-1"
    clock.time = NOW + 599.9
    assert (await subject.verify(mint())).subject == "user-1"
    clock.time = NOW + 600
    with pytest.raises(InvalidToken):
        await subject.verify(mint())


async def test_a_token_for_a_resource_that_only_starts_alike_is_refused() -> None:
    """RFC 8707 §2: exact, not by prefix."""
    assert await refusal(mint(claims(aud="https://rs.example.evil/mcp"))) == "audience"
    assert (
        await refusal(mint(claims(aud="https://rs.example//")), resource="https://rs.example") == "audience"
    )


async def test_an_unsigned_claim_does_not_choose_the_keys_of_another_issuer() -> None:
    """RFC 8725 §3.8: the key belongs to the issuer that the token names."""
    other = IssuerServer("https://other.example")
    other.publish(public_jwk(ES384_KEY, kid="k1"))

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"])[b"host"]
        await (other if host == b"other.example" else IssuerServer())(scope, receive, send)

    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(route))
    subject = verifier(issuers=[ISSUER, "https://other.example"], http_client=client)

    theirs = mint(claims(iss="https://other.example"), key=ES384_KEY, alg="ES384")
    assert (await subject.verify(theirs)).issuer == "https://other.example"
    with pytest.raises(InvalidToken):
        await subject.verify(mint(claims(iss=ISSUER), key=ES384_KEY, alg="ES384"))


@pytest.mark.parametrize("issuers", [[], ["http://as.example"], ["as.example"], ["https://as.example?x=1"]])
def test_an_issuer_that_cannot_be_one_is_refused_at_start(issuers: list[str]) -> None:
    """RFC 8414 §2."""
    with pytest.raises(ValueError, match=r"^issuers: "):
        JwtVerifier(resource=RESOURCE, issuers=issuers)


def test_an_issuer_is_described_once() -> None:
    """Of two descriptions one would count, and nobody could tell which."""
    twice: list[str | AuthorizationServer] = [ISSUER, AuthorizationServer(ISSUER, accepted_typ=("JWT",))]

    with pytest.raises(ValueError, match=r"^issuers: describe each issuer once"):
        JwtVerifier(resource=RESOURCE, issuers=twice)
    with pytest.raises(ValueError, match=r"^authorization_servers: describe each issuer once"):
        protect(RecordingApp(), authorization_servers=twice, verifier=None)


def test_a_resource_that_cannot_be_one_is_refused_at_start() -> None:
    """RFC 8707 §2."""
    with pytest.raises(ValueError, match=r"^resource: "):
        JwtVerifier(resource="rs.example", issuers=[ISSUER])
