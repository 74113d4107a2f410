"""Authorization server metadata, RFC 8414 and OpenID Connect Discovery 1.0: from issuer to its endpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpauth_middleware.resource import canonical_resource, is_loopback_host, origin_of
from mcpauth_middleware.tokens.fetch import FetchFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]

METADATA_SECONDS = 3600
"""So long an address is used without another look at the metadata."""
DOUBT_SECONDS = 10
"""So long also one that is doubted: in an outage not everyone waits for the metadata too."""
_SHOWN = 200
"""Of what a document from elsewhere says, in a log."""


def check_issuer(issuer: str) -> None:
    """Refuse what cannot be an issuer identifier (RFC 8414 §2); plain http is for loopback only.

    Raises:
        ValueError: says what to change.
    """
    canonical_resource(issuer)
    parts = urlsplit(issuer)
    if parts.query:
        raise ValueError(f"an issuer has no query (got {issuer!r})")
    if not is_safe(issuer):
        raise ValueError(f"must be https, except on loopback (got {issuer!r})")


def metadata_urls(issuer: str) -> Sequence[str]:
    """Where the metadata may be, in the order in which MCP 2026-07-28 has them tried."""
    parts = urlsplit(issuer)
    origin, path = origin_of(parts), parts.path.removesuffix("/")
    urls = [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
    ]
    return [*urls, f"{origin}{path}/.well-known/openid-configuration"] if path else urls


def check_url(name: str, url: str) -> None:
    """Refuse what is no address to send requests to.

    Raises:
        ValueError: says what to change.
    """
    try:
        canonical_resource(url)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not is_safe(url):
        raise ValueError(f"{name}: must be https, except on loopback (got {url!r})")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an authorization server says of itself."""

    issuer: str
    document: Mapping[str, Any]

    def url(self, member: str) -> str:
        """The address that a member gives.

        Raises:
            FetchFailed: there is none, or none to send requests to.
        """
        url = self.document.get(member)
        if not isinstance(url, str):
            raise FetchFailed(f"{self.issuer}: its metadata has no {member}")
        try:
            canonical_resource(url)
        except ValueError as error:
            raise FetchFailed(f"{self.issuer}: {member} {error}") from None
        # A document from the net must not point the server at its own loopback interface.
        if not is_safe(url) or (_is_loopback(url) and not _is_loopback(self.issuer)):
            raise FetchFailed(
                f"{self.issuer}: {member} must be https, on loopback only as the issuer is (got {url!r})"
            )
        return url


async def discover(issuer: str, fetch: Fetch) -> Metadata:
    """The first metadata document that names this very issuer (RFC 8414 §3.3).

    Raises:
        FetchFailed: there is none, or the server could not be asked.
    """
    problems: list[str] = []
    for url in metadata_urls(issuer):
        try:
            document = await fetch(url)
        except FetchFailed as error:
            if not error.absent:
                raise
            problems.append(str(error))
            continue
        if (named := document.get("issuer")) != issuer:
            problems.append(f"{url}: names the issuer {str(named)[:_SHOWN]!r}, and not {issuer!r}")
            continue
        return Metadata(issuer, document)
    raise FetchFailed("; ".join(problems))


class DiscoveredUrl:
    """One address of an authorization server's metadata, for a process that may run longer than it is true.

    It is looked up again after an hour, and after ten seconds when it is doubted. While the metadata cannot
    be had, what it said last counts; when it has the address no more, nothing does. `configured`: it is
    always this one.
    """

    def __init__(
        self,
        issuer: str,
        member: str,
        *,
        fetch: Fetch,
        now: Callable[[], float],
        configured: str | None = None,
    ) -> None:
        self._issuer = issuer
        self._member = member
        self._fetch = fetch
        self._now = now
        self._configured = configured
        self._url: str | None = None
        self._looked_at = -math.inf
        self._is_doubted = False

    async def get(self) -> str:
        """The address.

        Raises:
            FetchFailed: there is none, or it cannot be told.
        """
        if self._configured is not None:
            return self._configured
        known = self._url
        # A clock that was set back makes it no more recent.
        age = abs(self._now() - self._looked_at)
        if known is not None and age < (DOUBT_SECONDS if self._is_doubted else METADATA_SECONDS):
            return known
        # Before the answer: whoever has a known address does not wait for it.
        self._looked_at, self._is_doubted = self._now(), False
        try:
            metadata = await discover(self._issuer, self._fetch)
        except FetchFailed:
            if known is None:
                raise
            return known
        self._url = None
        self._url = metadata.url(self._member)
        return self._url

    def doubt(self) -> None:
        """It may have moved: it is looked up soon."""
        self._is_doubted = True


def is_safe(url: str) -> bool:
    """Whether what is sent there and comes back stays secret and whole: https, or this very machine."""
    return urlsplit(url).scheme == "https" or _is_loopback(url)


def _is_loopback(url: str) -> bool:
    return is_loopback_host(urlsplit(url).hostname or "")
