"""Documents of clients, and a network that has nothing but them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio

from mcpauth.oauth.fetching import Fetched, FetchFailed

CLIENT_ID = "https://client.example/oauth/client.json"
CALLBACK = "https://client.example/callback"


def document(client_id: str = CLIENT_ID, **changed: Any) -> dict[str, Any]:
    """A plain document, but for what is changed; None takes a member out."""
    members = {
        "client_id": client_id,
        "client_name": "Example Client",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        **changed,
    }
    return {name: value for name, value in members.items() if value is not None}


@dataclass
class Network:
    """Answers fetches by URL, and remembers them. What it does not have is a failure."""

    documents: dict[str, object] = field(default_factory=dict[str, object])
    fresh_for: int | None = None
    delay: float = 0
    asked: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, *documents: dict[str, Any], **options: Any) -> Network:
        """Each document at its client_id."""
        return cls({each["client_id"]: each for each in documents}, **options)

    async def __call__(self, url: str, /, *, max_bytes: int) -> Fetched:
        assert max_bytes > 0
        self.asked.append(url)
        await anyio.sleep(self.delay)
        if url not in self.documents:
            raise FetchFailed("status 404")
        return Fetched(self.documents[url], self.fresh_for)
