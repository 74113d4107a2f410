"""Failed authentications by address, counted with GCRA: those beyond a generous rate get 429 (RFC 6585 §4).

Nothing of this touches a valid token: a whole office behind one address must not suffer for one client that
runs in circles. It keeps such a client, or somebody who tries, from filling the journal. Only an opaque token
that is new is counted before it is known to be valid, since it is by the asking that others would suffer.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from mcpauth_middleware.errors import RateLimited
from mcpauth_middleware.limits import Debit, MemoryLimiter, RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_RATE = "600/minute"
"""A client's discovery fails two or three times by design, so two hundred clients may start at once."""
MAX_ADDRESSES = 50_000

_NETWORK_PREFIX = 64
"""What one subscriber of IPv6 has at least is a network, not an address (RFC 6177)."""


class FailedAuthentications:
    """Counts them. `rate` None: nothing is counted.

    Raises:
        ValueError: the rate is none.
    """

    def __init__(self, rate: str | None, *, now: Callable[[], float]) -> None:
        self._gcra = None if rate is None else RateLimit(rate, by=("address",)).gcra
        self._limiter = MemoryLimiter(now=now, max_keys=MAX_ADDRESSES)

    async def count(self, address: str | None) -> None:
        """Count one.

        Raises:
            RateLimited: it is one too many.
        """
        # Behind a Unix socket every client looks alike.
        if self._gcra is None or address is None:
            return
        result = await self._limiter.take([Debit(subscriber(address), self._gcra, "failed authentications")])
        if not result.allowed:
            raise RateLimited(result.limit, retry_after=result.retry_after)


def subscriber(address: str) -> str:
    """Whom an address belongs to."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, _NETWORK_PREFIX), strict=False))
