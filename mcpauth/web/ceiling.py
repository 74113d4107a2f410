"""A ceiling for what anybody may do, per network address, RFC 6585 §4: 429, and when to come back.

A network address may be a whole company's. So those whom this server knows are counted by themselves: nobody
behind the same address can use up what is theirs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import TemporarilyUnavailable
from mcpauth.oauth.store import digest
from mcpauth.web.throttle import Attempt, Pace, Throttle
from mcpauth_middleware.throttle import subscriber

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_HOUR = 3600


class Ceiling:
    """So many an hour from one source, all at once or spread; counted in this process."""

    def __init__(self, per_hour: int, *, now: Callable[[], float]) -> None:
        self._pace = Pace(burst=per_hour, interval=_HOUR / per_hour)
        self._throttle = Throttle(now=now)

    def take(self, request: Request, *, known: str | None = None) -> Attempt:
        """Count one, for whom the request is `known` to be of, or else for where it comes from; what is
        returned can be given back.

        Raises:
            TemporarilyUnavailable: 429, there have been too many.
        """
        counted = f"known {known}" if known is not None else f"address {source_of(request)}"
        attempt = Attempt(digest(counted), self._pace)
        wait = self._throttle.reserve([attempt])
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            raise TemporarilyUnavailable("too many requests", status=429, headers=headers)
        return attempt

    def give_back(self, attempt: Attempt) -> None:
        """It cost nothing."""
        self._throttle.give_back([attempt])


def source_of(request: Request) -> str:
    """Where a request comes from, as far as counting goes."""
    # The peer, or behind a trusted proxy whom that one names: `trusted_proxies` has seen to it.
    return subscriber(request.client.host if request.client is not None else "")
