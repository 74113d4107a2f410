"""Tokens that are bound to a key: RFC 9449. Tests 88 and 89 of the list this project keeps to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mcpauth_middleware.errors import Unavailable
from mcpauth_middleware.tokens.dpop_nonce import DpopNonces
from mcpauth_middleware.tokens.replay import MAX_ENTRIES, SeenProofs
from mcpauth_middleware.tokens.thumbprint import REQUIRED_MEMBERS, thumbprint
from tests.middleware.dpop_helpers import Key, Prover
from tests.middleware.edge_helpers import (
    METADATA_URL,
    NOW,
    Clock,
    IssuerServer,
    Journal,
    RecordingApp,
    b64,
    bearer,
    claims,
    client_of,
    message,
    mint,
    post,
    protect,
)
from tests.middleware.test_edge_pipeline import Wire, body_event, http_scope

if TYPE_CHECKING:
    import httpx2

    from tests.middleware.edge_helpers import PrivateKey

pytestmark = pytest.mark.anyio

ALGS = 'algs="ES256 ES384 Ed25519 EdDSA PS256 RS256"'
PROVER = Prover()


class Subject:
    """A protected app, and what reached it."""

    def __init__(self, **options: Any) -> None:
        self.app, self.journal, self.clock = RecordingApp(), Journal(), Clock()
        self.http = client_of(
            protect(
                self.app,
                verifier=None,
                http_client=IssuerServer().client(),
                revocation="off",
                audit=self.journal,
                now=self.clock,
                **options,
            )
        )

    async def post(self, headers: dict[str, str], **options: Any) -> httpx2.Response:
        return await post(self.http, "tools/list", headers=headers, **options)

    async def refused(self, headers: dict[str, str], error: str = "invalid_dpop_proof") -> str:
        """Send it, see it refused, and give the reason that the journal has."""
        response = await self.post(headers)
        assert response.status_code == 401, response.text
        assert response.json()["error"] == error
        assert not self.app.scopes
        return str(self.journal.events[-1]["reason"])


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "PS256"),
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA")
async def test_a_bound_token_with_its_proof_is_let_through_and_the_app_sees_neither(
    key: Key, alg: str
) -> None:
    """RFC 9449 §7.1."""
    subject, prover = Subject(), Prover(key, alg)

    response = await subject.post(prover.headers())

    assert response.status_code == 200, response.text
    names = {name for name, _ in subject.app.scopes[0]["headers"]}
    assert names.isdisjoint({b"authorization", b"dpop"})


async def test_a_bound_token_sent_as_bearer_is_refused() -> None:
    """RFC 9449 §7.2; with its proof too, since the scheme was chosen to get by without."""
    subject = Subject()
    token = PROVER.token()

    reasons = [
        await subject.refused(bearer(token), "invalid_token"),
        await subject.refused({**bearer(token), "DPoP": PROVER.proof(token)}, "invalid_token"),
    ]
    assert reasons == ["bound_to_a_key"] * 2


async def test_a_token_that_is_not_bound_sent_as_dpop_is_refused() -> None:
    """RFC 9449 §7.1: the proof proves nothing about it."""
    subject = Subject()
    reason = await subject.refused(PROVER.headers(mint()), "invalid_token")
    assert reason == "not_bound_to_a_key"


@pytest.mark.parametrize(
    "cnf", [{"x5t#S256": "abc"}, {"jkt": PROVER.thumbprint, "x5t#S256": "a"}, {"jkt": 7}, {}, "jkt", None]
)
async def test_another_kind_of_binding_is_not_taken_for_proven(cnf: object) -> None:
    """RFC 7800 §3.1; also when the claim is there and says nothing."""
    token = mint(json.dumps({**claims(), "cnf": cnf}).encode())
    for headers in (bearer(token), PROVER.headers(token)):
        assert await Subject().refused(headers, "invalid_token")


OTHER = Prover()
_GOOD = PROVER.token()

BAD_PROOFS: dict[str, tuple[str, dict[str, Any]]] = {
    "typ JWT": ("proof_header", {"header": {"typ": "JWT"}}),
    "no typ": ("proof_header", {"header": {"typ": None}}),
    "kid instead of jwk": ("proof_header", {"header": {"jwk": None, "kid": "k1"}}),
    "kid too": ("proof_header", {"header": {"kid": "k1"}}),
    "private jwk": ("proof_key", {"header": {"jwk": PROVER.key.as_dict(private=True)}}),
    "jwk without y": ("proof_key", {"header": {"jwk": {**PROVER.jwk, "y": None}}}),
    "jwk of no type": ("proof_key", {"header": {"jwk": {}}}),
    "jwk with a strange member": ("proof_key", {"header": {"jwk": {**PROVER.jwk, "x5c": []}}}),
    "another key": ("proof_of_another_key", {"header": {"jwk": OTHER.jwk}, "key": OTHER.key}),
    "signed by another key": ("proof_signature", {"key": OTHER.key}),
    "jwk for encryption": ("proof_signature", {"header": {"jwk": {**PROVER.jwk, "use": "enc"}}}),
    "another method": ("proof_method", {"htm": "GET"}),
    "method in lower case": ("proof_method", {"htm": "post"}),
    "no method": ("proof_method", {"htm": None}),
    "another address": ("proof_address", {"htu": "https://rs.example/other"}),
    "another host": ("proof_address", {"htu": "https://evil.example/mcp"}),
    "another scheme": ("proof_address", {"htu": "http://rs.example/mcp"}),
    "another port": ("proof_address", {"htu": "https://rs.example:8443/mcp"}),
    "htu with user information": ("proof_address", {"htu": "https://a@rs.example/mcp"}),
    "htu a number": ("proof_address", {"htu": 1}),
    "htu a list": ("proof_address", {"htu": ["https://rs.example/mcp"]}),
    "htu relative": ("proof_address", {"htu": "/mcp"}),
    "no htu": ("proof_address", {"htu": None}),
    "a minute old": ("proof_time", {"iat": NOW - 60}),
    "of the future": ("proof_time", {"iat": NOW + 31}),
    "iat a string": ("proof_time", {"iat": str(NOW)}),
    "iat true": ("proof_time", {"iat": True}),
    "iat a fraction": ("proof_time", {"iat": NOW + 0.5}),
    "no iat": ("proof_time", {"iat": None}),
    "of another token": ("proof_of_another_token", {"ath": "AAAA"}),
    "ath a number": ("proof_of_another_token", {"ath": 1}),
    "no ath": ("proof_of_another_token", {"ath": None}),
    "no jti": ("proof_id", {"jti": None}),
    "jti a number": ("proof_id", {"jti": 1}),
    "jti empty": ("proof_id", {"jti": ""}),
    "jti very long": ("proof_id", {"jti": "x" * 257}),
    "payload a list": ("proof_malformed", {"payload": b"[]"}),
    "payload not JSON": ("proof_malformed", {"payload": b"{"}),
}


@pytest.mark.parametrize(("reason", "changes"), BAD_PROOFS.values(), ids=list(BAD_PROOFS))
async def test_a_proof_that_is_not_for_this_request_is_refused(reason: str, changes: dict[str, Any]) -> None:
    """Test 88; RFC 9449 §4.3."""
    assert await Subject().refused(PROVER.headers(_GOOD, **changes)) == reason


async def test_a_proof_with_a_shared_key_or_none_is_refused() -> None:
    """RFC 9449 §4.3: an asymmetric algorithm, never `none`."""
    subject = Subject()
    secret = OctKey.generate_key(256)
    shared = Prover(secret, "HS256")  # type: ignore[arg-type]  # that it is refused is shown
    good = PROVER.proof(_GOOD)
    none = PROVER.proof(_GOOD).split(".")
    header = json.dumps({"typ": "dpop+jwt", "alg": "none", "jwk": PROVER.jwk}).encode()
    for proof in (
        shared.proof(_GOOD, header={"jwk": PROVER.jwk}),
        f"{b64(header)}.{none[1]}.{none[2]}",
        f"{b64(header)}.{none[1]}.",
        good + "==",
        good + ".AAAA",
        good[:-4],
        "",
        "x" * 9000,
    ):
        await subject.refused({"Authorization": f"DPoP {_GOOD}", "DPoP": proof})


@pytest.mark.parametrize("member", [{"crit": ["exp"], "exp": 1}, {"jwk": "key"}, {"jwk": [1]}, {"typ": 1}])
async def test_a_header_that_no_library_would_make_is_refused(member: dict[str, Any]) -> None:
    """RFC 7515 §4.1.11, and types that nobody expects."""
    key = cast("PrivateKey", PROVER.key.private_key)
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": PROVER.jwk, **member}
    proof = mint(PROVER.claims(_GOOD), key=key, header=header)

    assert await Subject().refused({"Authorization": f"DPoP {_GOOD}", "DPoP": proof}) == "proof_header"


async def test_exactly_one_proof_is_wanted() -> None:
    """RFC 9449 §4.3, the first check."""
    subject = Subject()
    assert await subject.refused({"Authorization": f"DPoP {_GOOD}"}) == "no_proof"

    own, body = message("tools/list")
    headers = [*own.items(), *PROVER.headers(_GOOD).items(), ("DPoP", PROVER.proof(_GOOD))]
    response = await subject.http.post("/mcp", headers=headers, content=body)
    assert response.status_code == 401
    assert subject.journal.events[-1]["reason"] == "two_proofs"
    assert not subject.app.scopes


async def test_a_proof_is_good_once() -> None:
    """RFC 9449 §11.1."""
    subject = Subject()
    headers = PROVER.headers(_GOOD)

    assert (await subject.post(headers)).status_code == 200
    ran = len(subject.app.scopes)
    assert (await subject.post(headers)).status_code == 401
    assert subject.journal.events[-1]["reason"] == "proof_used_before"
    assert len(subject.app.scopes) == ran


async def test_a_proof_that_failed_for_another_reason_does_not_spend_its_id() -> None:
    """Only what would be accepted is remembered."""
    subject = Subject()
    await subject.refused(PROVER.headers(_GOOD, jti="same", htm="GET"))
    assert (await subject.post(PROVER.headers(_GOOD, jti="same"))).status_code == 200


@pytest.mark.parametrize(
    "htu", ["https://rs.example/mcp", "HTTPS://RS.EXAMPLE:443/mcp", "https://rs.example/mcp?a=b#c"]
)
async def test_the_address_is_compared_in_its_normal_form(htu: str) -> None:
    """RFC 9449 §4.3: query and fragment are ignored, scheme and host are normalized."""
    assert (await Subject().post(PROVER.headers(_GOOD, htu=htu))).status_code == 200


async def test_the_address_is_the_public_one_whatever_the_proxy_made_of_the_path() -> None:
    """The client signs what it sees; and a path below it is another address."""
    subject = Subject(resource="https://rs.example/api/mcp")
    token = PROVER.token(aud="https://rs.example/api/mcp")
    headers = PROVER.headers(token, htu="https://rs.example/api/mcp")

    assert (await subject.post(headers, path="/mcp")).status_code == 200


@pytest.mark.parametrize(
    ("target", "htu"),
    [
        (b".evil.example/mcp", "https://rs.example.evil.example/mcp"),
        (b":444/mcp", "https://rs.example:444/mcp"),
        (b"https://evil.example/mcp", "https://evil.example/mcp"),
    ],
)
async def test_a_request_target_without_a_slash_does_not_make_a_proof_for_another_host_good(
    target: bytes, htu: str
) -> None:
    """RFC 9449 §4.3 (9); RFC 9112 §3.2 for what may stand there."""
    app, (headers, body) = RecordingApp(), message("tools/list")
    guarded = protect(app, verifier=None, http_client=IssuerServer().client(), revocation="off")
    wire = Wire(body_event(body))
    scope = http_scope({**headers, **PROVER.headers(htu=htu)})

    await guarded({**scope, "path": target.decode(), "raw_path": target}, wire.receive, wire.send)

    assert wire.sent[0]["status"] == 401
    assert not app.scopes


async def test_the_challenge_is_bearer_first_then_dpop() -> None:
    """RFC 9449 §7.1; what was wrong is said of the scheme that was used."""
    subject = Subject()
    link = f'scope="files:read files:write", resource_metadata="{METADATA_URL}"'

    none = await subject.http.get("/mcp")
    assert none.headers.get_list("WWW-Authenticate") == [f"Bearer {link}", f"DPoP {ALGS}"]

    bad_bearer = await subject.post(bearer("garbage"))
    invalid = 'error_description="The access token is invalid or has expired"'
    assert bad_bearer.headers.get_list("WWW-Authenticate") == [
        f'Bearer error="invalid_token", {link}, {invalid}',
        f"DPoP {ALGS}",
    ]
    bad_proof = await subject.post({"Authorization": f"DPoP {_GOOD}"})
    missing = 'error_description="The DPoP proof is missing or not valid for this request"'
    assert bad_proof.headers.get_list("WWW-Authenticate") == [
        f"Bearer {link}",
        f'DPoP error="invalid_dpop_proof", {missing}, {ALGS}',
    ]


async def test_more_scopes_are_asked_for_in_the_scheme_of_the_request() -> None:
    """RFC 9449 §7.1."""
    subject = Subject()
    params: dict[str, Any] = {"name": "write_file", "arguments": {}}
    response = await post(subject.http, "tools/call", params, headers=PROVER.headers(_GOOD))

    assert response.status_code == 403
    (challenge,) = response.headers.get_list("WWW-Authenticate")
    assert challenge.startswith('DPoP error="insufficient_scope", scope="files:read files:write"')


async def test_when_it_is_required_bearer_tokens_are_refused_and_not_asked_for() -> None:
    """RFC 9728 §2: `dpop_bound_access_tokens_required`."""
    subject = Subject(dpop="required")

    response = await subject.post(bearer())
    assert response.status_code == 401
    (challenge,) = response.headers.get_list("WWW-Authenticate")
    assert challenge.startswith('DPoP error="invalid_token", scope=')
    assert f'resource_metadata="{METADATA_URL}"' in challenge
    assert not subject.app.scopes
    assert (await subject.post(PROVER.headers(_GOOD))).status_code == 200

    document = (await subject.http.get("/.well-known/oauth-protected-resource")).json()
    assert document["dpop_bound_access_tokens_required"] is True


async def test_when_it_is_off_the_scheme_does_not_exist() -> None:
    """And bound tokens are good for nothing."""
    subject = Subject(dpop="off")

    response = await subject.post(PROVER.headers(_GOOD))
    assert response.status_code == 401
    (challenge,) = response.headers.get_list("WWW-Authenticate")
    assert challenge.startswith("Bearer scope=")
    assert (await subject.post(bearer(_GOOD))).status_code == 401
    assert not subject.app.scopes


async def test_a_nonce_is_given_and_wanted_when_a_key_for_it_is_set() -> None:
    """RFC 9449 §9."""
    subject = Subject(dpop_nonce_key=b"k" * 32)

    first = await subject.post(PROVER.headers(_GOOD))
    assert first.status_code == 401
    assert first.json()["error"] == "use_dpop_nonce"
    assert 'DPoP error="use_dpop_nonce"' in first.headers["WWW-Authenticate"]
    nonce = first.headers["DPoP-Nonce"]
    assert not subject.app.scopes
    assert (await subject.post(PROVER.headers(_GOOD, nonce="wrong"))).status_code == 401

    assert (await subject.post(PROVER.headers(_GOOD, nonce=nonce))).status_code == 200
    subject.clock.time += 150
    later = {"nonce": nonce, "iat": NOW + 150}
    assert (await subject.post(PROVER.headers(_GOOD, **later))).status_code == 200
    subject.clock.time += 150
    latest = {"nonce": nonce, "iat": NOW + 300}
    assert (await subject.post(PROVER.headers(_GOOD, **latest))).status_code == 401


def test_nonces_of_servers_with_one_key_are_the_same_and_of_others_not() -> None:
    """Processes that share a key share their nonces."""
    clock = Clock()
    ours, same, other = (DpopNonces(key * 32, now=clock) for key in (b"a", b"a", b"b"))
    assert same.accepts(ours.current())
    assert not other.accepts(ours.current())
    assert not ours.accepts("é")
    assert not ours.accepts(None)
    with pytest.raises(ValueError, match=r"^dpop_nonce_key: "):
        DpopNonces(b"short", now=clock)


@pytest.mark.parametrize(
    "key", [ECKey.generate_key("P-384"), OKPKey.generate_key("Ed25519"), RSAKey.generate_key(2048)]
)
def test_thumbprints_are_those_of_the_standard(key: Key) -> None:
    """RFC 7638 §3, against another implementation; and its own example."""
    jwk = cast("dict[str, str]", key.as_dict(private=False))
    assert thumbprint({**jwk, "kid": "x", "use": "sig"}) == key.thumbprint()
    assert sorted(REQUIRED_MEMBERS[jwk["kty"]]) == list(REQUIRED_MEMBERS[jwk["kty"]])


def test_the_example_of_the_standard_has_its_thumbprint() -> None:
    """RFC 7638 §3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("jwk", [{}, {"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": 1, "x": "a", "y": "b"}])
def test_what_is_no_public_key_has_no_thumbprint(jwk: dict[str, Any]) -> None:
    """RFC 7638 §3.2."""
    with pytest.raises(ValueError, match="public key"):
        thumbprint(jwk)


def test_used_proofs_are_forgotten_when_they_have_expired_and_never_before() -> None:
    """Bounded, and fail closed: what is forgotten early could be used again."""
    clock = Clock()
    seen = SeenProofs(now=clock, max_entries=3, max_entries_of_a_key=2)

    assert seen.is_first("a", "1", until=NOW + 60)
    assert not seen.is_first("a", "1", until=NOW + 60)
    assert seen.is_first("a", "2", until=NOW + 60)
    with pytest.raises(Unavailable):
        seen.is_first("a", "3", until=NOW + 60)  # its share is used up
    assert seen.is_first("b", "1", until=NOW + 60)
    with pytest.raises(Unavailable):
        seen.is_first("c", "1", until=NOW + 60)
    assert not seen.is_first("b", "1", until=NOW + 60)

    clock.time = NOW + 60
    assert seen.is_first("a", "3", until=NOW + 120)
    assert len(seen) == 1


def test_many_proofs_are_forgotten_as_fast_as_few() -> None:
    """Each is looked at once: it took a minute when each was looked for from the start."""
    clock = Clock()
    seen = SeenProofs(now=clock)
    for number in range(MAX_ENTRIES):
        assert seen.is_first(f"key-{number % 20}", str(number), until=NOW + 60)
    clock.time = NOW + 60
    assert seen.is_first("key-1", "1", until=NOW + 120)
    assert len(seen) == 1


async def test_a_wrong_mode_is_told_at_start() -> None:
    """With what may stand there."""
    with pytest.raises(ValueError, match=r"^dpop: must be one of accepted, required, off"):
        Subject(dpop="maybe")
