"""Proof Key for Code Exchange, RFC 7636, with S256 alone."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, cast

from authlib.oauth2 import rfc7636

if TYPE_CHECKING:
    from collections.abc import Callable

# Authlib's stubs leave it untyped.
s256_challenge = cast("Callable[[str], str]", rfc7636.create_s256_code_challenge)  # pyright: ignore[reportUnknownMemberType]

CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")  # §4.1
S256_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")  # §4.2: base64url of 32 bytes, no padding


def is_s256_challenge(challenge: str) -> bool:
    """Whether this can be the challenge of a verifier."""
    return S256_CHALLENGE.fullmatch(challenge) is not None


def verifies(code_verifier: str, code_challenge: str) -> bool:
    """Whether the verifier is the one behind the challenge (§4.6)."""
    if not CODE_VERIFIER.fullmatch(code_verifier):
        return False
    return hmac.compare_digest(s256_challenge(code_verifier), code_challenge)
