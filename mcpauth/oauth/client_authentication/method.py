"""What a way of client authentication is: each module of this package is one, and so may an object be."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpauth.oauth.store import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpauth.oauth.client import Client
    from mcpauth.oauth.form import Form

SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})

NO_DIGEST = digest("")  # of no secret: an empty one is never sent as such


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a request says about its client. `secrets` are the readings of one secret; one has to be right."""

    client_id: str
    secrets: tuple[str, ...] = ()


class NotProven(Exception):
    """Credentials are not the client's. `reason` is for the operator alone."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ClientAuthenticationMethod(Protocol):
    """One `token_endpoint_auth_method`."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant, in the modules that are methods
        """The method as registered with IANA."""
        ...

    def credentials(self, headers: Mapping[str, str], form: Form, /) -> Credentials | None:
        """What the request says in this method's way; None when it does not use it.

        Raises:
            InvalidClient: it does, and malformed.
            InvalidRequest: it names two clients.
        """
        ...

    def may_use(self, client: Client, /) -> bool:
        """Whether the client is registered so that this method will do."""
        ...

    async def verify(self, client: Client | None, credentials: Credentials, /) -> bool:
        """Whether the credentials are the client's. An unknown client (None) takes as much work.

        Raises:
            NotProven: they are not, and there is more to tell about it.
        """
        ...


def has_secret(client: Client | None, credentials: Credentials) -> bool:
    """Whether one of the readings is the client's secret, in a time that tells nothing."""
    expected = client.client_secret_digest if client is not None else None
    found = [hmac.compare_digest(digest(secret), expected or NO_DIGEST) for secret in credentials.secrets]
    return any(found) and expected is not None
