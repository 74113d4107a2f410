"""One authorization server as the middleware sees it: an issuer and its signing keys (RFC 8414, RFC 7517).

The keys are fetched when the first token needs them and renewed in the background while tokens come. What
goes wrong later is judged by what is known: while the keys are at hand an unreachable server changes
nothing; without them its tokens are neither good nor bad, and `IssuerUnavailable` says so.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from mcpauth_middleware.background import Background, SharedRun
from mcpauth_middleware.errors import IssuerUnavailable
from mcpauth_middleware.tokens.discovery import DiscoveredUrl, check_issuer
from mcpauth_middleware.tokens.fetch import FetchFailed
from mcpauth_middleware.tokens.jwks import KeySet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpauth_middleware.tokens.discovery import Fetch
    from mcpauth_middleware.tokens.jwks import VerificationKey

RENEW_SECONDS = 300
"""From then on the next token has the keys renewed, and does not wait for it."""
FRESH_SECONDS = 600
"""How long keys are used without news. Only the first token after an idle time ever waits for them."""
STALE_SECONDS = 86_400
"""How long they serve when the server cannot be asked."""
RETRY_SECONDS = 10
"""The pause after a failure, in which nobody waits for another one."""
UNKNOWN_KID_SECONDS = 30
"""Anyone can invent a `kid`: it makes the server ask again at most this often."""

_logger = logging.getLogger(__name__)


class Issuer:
    """The signing keys of one issuer, behind a cache. One fetch serves all that wait for it.

    Raises:
        ValueError: the identifier cannot be an issuer's.
    """

    def __init__(
        self,
        identifier: str,
        *,
        fetch: Fetch,
        now: Callable[[], float],
        jwks_uri: str | None = None,
        background: Background | None = None,
    ) -> None:
        check_issuer(identifier)
        self.identifier = identifier
        self._fetch = fetch
        self._now = now
        self._jwks_uri = DiscoveredUrl(identifier, "jwks_uri", fetch=fetch, now=now, configured=jwks_uri)
        self._refreshing = SharedRun(self._refresh, background or Background())
        self.keys: KeySet | None = None
        """Another object each time they have changed: what was verified before need not be good now."""
        self._fetched_at = -math.inf
        self._failed_at = -math.inf
        self._last_fetch_failed = False
        self._asked_for_unknown_kid_at = -math.inf

    async def signing_keys(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed a token with this header; empty when the issuer has none such.

        Raises:
            IssuerUnavailable: that cannot be told, since the issuer cannot be asked.
        """
        if self.keys is not None and self._age(self._fetched_at) < RENEW_SECONDS:
            keys = self.keys
        else:
            keys = await self._current()
        if found := keys.find(kid, algorithm):
            return found
        return (await self._newer_than(keys)).find(kid, algorithm)

    async def _current(self) -> KeySet:
        age = self._age(self._fetched_at)
        if age >= RENEW_SECONDS and not self._is_pausing():
            # Older keys are good enough while somebody else is already asking for new ones.
            others_ask = self._refreshing.is_running and age < STALE_SECONDS
            refresh = self._refreshing.start()
            if age >= FRESH_SECONDS and not others_ask and not refresh.done():
                await self._refreshing.wait()
        return self._usable()

    async def _newer_than(self, known: KeySet) -> KeySet:
        asked = self._age(self._asked_for_unknown_kid_at) < UNKNOWN_KID_SECONDS
        if self.keys is known and not asked and not self._is_pausing():
            self._asked_for_unknown_kid_at = self._now()
            self._jwks_uri.doubt()
            await self._refreshing.wait()
        elif self._refreshing.is_running:
            await self._refreshing.wait()
        if self._last_fetch_failed:
            # The key may be a new one that this server has not heard of.
            raise self._unavailable()
        return self._usable()

    async def _refresh(self) -> None:
        """Fetch the keys. Failure is remembered, not raised: what follows from it depends on the caller."""
        try:
            keys = KeySet.from_document(await self._fetch(await self._jwks_uri.get()))
        except (FetchFailed, ValueError) as error:
            self._failed_at = self._now()
            self._last_fetch_failed = True
            self._jwks_uri.doubt()
            _logger.warning("No signing keys from %s: %s", self.identifier, error)
        else:
            if self.keys is None or not keys.is_same_as(self.keys):
                self.keys = keys
            self._fetched_at = self._now()
            self._last_fetch_failed = False

    def _is_pausing(self) -> bool:
        return self._age(self._failed_at) < RETRY_SECONDS

    def _age(self, moment: float) -> float:
        # Of a clock that was set back, too: what was fetched "later" than now is as old as if it was earlier.
        return abs(self._now() - moment)

    def _usable(self) -> KeySet:
        if self.keys is None or self._age(self._fetched_at) >= STALE_SECONDS:
            raise self._unavailable()
        return self.keys

    def _unavailable(self) -> IssuerUnavailable:
        pause = self._failed_at + RETRY_SECONDS - self._now()
        return IssuerUnavailable(
            "issuer_unavailable", retry_after=math.ceil(min(max(pause, 1), RETRY_SECONDS))
        )
