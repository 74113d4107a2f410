"""Tokens that were verified a moment ago, and when that does not count any more."""

from __future__ import annotations

from typing import Any

import pytest

from mcpauth_middleware import InvalidToken, JwtVerifier
from mcpauth_middleware.background import Background
from mcpauth_middleware.tokens.accepted import AcceptedTokens
from mcpauth_middleware.tokens.verified import VerifiedTokens
from tests.middleware.edge_helpers import (
    ED25519_KEY,
    ISSUER,
    NOW,
    RESOURCE,
    Clock,
    IssuerServer,
    claims,
    mint,
    public_jwk,
)
from tests.middleware.test_tokens_refresh import settled

pytestmark = pytest.mark.anyio


class Subject:
    """A verifier with a cache, and how often a signature was really looked at."""

    def __init__(self, **options: Any) -> None:
        self.server, self.clock, self.background = IssuerServer(), Clock(), Background()
        jwt = JwtVerifier(
            resource=RESOURCE,
            issuers=[ISSUER],
            http_client=self.server.client(),
            background=self.background,
            now=self.clock,
        )
        self.cache = VerifiedTokens(generation=jwt.generation, now=self.clock, **options)
        self.tokens = AcceptedTokens(jwt, introspection={}, verified=self.cache)
        self.verify = self.tokens.verify


async def test_the_same_token_gives_the_same_principal_without_being_verified_again() -> None:
    """The very object, so nothing was done."""
    subject = Subject()
    token = mint()

    assert await subject.verify(token) is await subject.verify(token)
    assert len(subject.cache) == 1


async def test_a_token_that_differs_in_one_character_is_verified() -> None:
    """What is remembered is found by all of the token."""
    subject = Subject()
    token = mint()
    await subject.verify(token)

    for other in (token + "=", token[:-1], token.upper(), f"{token}.x"):
        with pytest.raises(InvalidToken):
            await subject.verify(other)
    assert len(subject.cache) == 1


async def test_it_ends_with_the_token_and_after_its_lifetime() -> None:
    """To the second: a token that has expired is expired."""
    subject = Subject(lifetime=60.0)
    short, long = mint(claims(exp=NOW + 30)), mint()
    await subject.verify(short)
    first = await subject.verify(long)

    subject.clock.time = NOW + 29.9
    await subject.verify(short)
    subject.clock.time = NOW + 30
    with pytest.raises(InvalidToken):
        await subject.verify(short)

    subject.clock.time = NOW + 59.9
    assert await subject.verify(long) is first
    subject.clock.time = NOW + 60
    assert await subject.verify(long) is not first


async def test_bad_tokens_are_not_remembered() -> None:
    """Anyone can invent them."""
    subject = Subject()

    for number in range(5):
        with pytest.raises(InvalidToken):
            await subject.verify(mint(claims(aud=f"https://other-{number}.example")))
    assert len(subject.cache) == 0


async def test_the_one_used_longest_ago_makes_room() -> None:
    """Bounded, whatever clients do."""
    subject = Subject(max_entries=3)
    tokens = [mint(claims(jti=f"t{number}")) for number in range(4)]
    kept = [await subject.verify(token) for token in tokens[:3]]
    assert await subject.verify(tokens[0]) is kept[0]

    await subject.verify(tokens[3])

    assert len(subject.cache) == 3
    assert await subject.verify(tokens[0]) is kept[0]
    assert await subject.verify(tokens[1]) is not kept[1]


async def test_a_withdrawn_key_takes_what_it_signed_out_of_the_memory() -> None:
    """An entry belongs to the key set it was verified with."""
    subject = Subject(lifetime=3600.0)
    token = mint(claims(exp=NOW + 3600))
    await subject.verify(token)

    subject.server.publish(public_jwk(ED25519_KEY, kid="k2"))
    subject.clock.time += 300
    await subject.verify(mint(claims(exp=NOW + 3600, jti="another")))  # has the keys renewed
    await settled(subject.background)

    with pytest.raises(InvalidToken):
        await subject.verify(token)
