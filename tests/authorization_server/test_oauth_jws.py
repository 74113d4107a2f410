"""The server's own signatures, RFC 7515, against PyJWT as a verifier that knows nothing of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest

from mcpauth.oauth.jws import is_signed_by, signed
from mcpauth.oauth.key_pair import ALGORITHMS, SigningKey, new_private_jwk, signing_key
from mcpauth_middleware.tokens.compact import CompactJws, read_compact

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

CLAIMS = {"iss": "https://auth.example", "name": "Zoë ☃", "exp": 2_000_000_000, "nested": {"a": [1, None]}}


async def key(algorithm: str) -> SigningKey:
    return signing_key({"algorithm": algorithm, "private_jwk": await new_private_jwk(algorithm)})


def with_header(jws: CompactJws, **changes: str) -> CompactJws:
    header: Mapping[str, object] = {**jws.header, **changes}
    return CompactJws(header, jws.claims, jws.signing_input, jws.signature)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_another_library_verifies_what_is_signed(algorithm: str) -> None:
    """RFC 7515 §5.1."""
    own = await key(algorithm)
    token = signed(CLAIMS, own, typ="at+jwt")
    assert jwt.decode(token, own.public_key, algorithms=[algorithm]) == CLAIMS
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": own.kid, "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_what_another_library_signs_is_verified(algorithm: str) -> None:
    """RFC 7515 §5.2."""
    own, other = await key(algorithm), await key(algorithm)
    jws = read_compact(jwt.encode(CLAIMS, own.private_key, algorithm=algorithm))
    assert is_signed_by(own, jws)
    assert not is_signed_by(other, jws)
    altered = CompactJws(jws.header, jws.claims, jws.signing_input + b"x", jws.signature)
    assert not is_signed_by(own, altered)
    assert not is_signed_by(own, CompactJws(jws.header, jws.claims, jws.signing_input, b""))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_only_the_keys_own_algorithm_counts(algorithm: str) -> None:
    """RFC 8725 §3.1: the header does not choose. RFC 7515 §4.1.11: an unknown `crit` is refused."""
    own = await key(algorithm)
    jws = read_compact(signed(CLAIMS, own, typ="at+jwt"))
    assert is_signed_by(own, jws)
    for other in {"none", "HS256", *ALGORITHMS} - {algorithm}:
        assert not is_signed_by(own, with_header(jws, alg=other))
    assert not is_signed_by(own, with_header(jws, crit="exp"))


async def test_types_and_keys_do_not_share_a_header() -> None:
    """The header is remembered, so what is remembered has to be that of the key and the type."""
    first, second = await key("ES256"), await key("ES256")
    tokens = [signed(CLAIMS, each, typ=typ) for each in (first, second) for typ in ("at+jwt", "JWT")]
    headers = [jwt.get_unverified_header(token) for token in tokens]
    assert [(header["kid"], header["typ"]) for header in headers] == [
        (first.kid, "at+jwt"),
        (first.kid, "JWT"),
        (second.kid, "at+jwt"),
        (second.kid, "JWT"),
    ]
