"""Who this resource server is at an authorization server: `client_secret_basic`, RFC 6749 §2.3.1."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote_plus


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Id and secret of the client that this resource server is.

    Raises:
        ValueError: one of the two is empty, or has what neither can have (§A.1, §A.2).
    """

    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client credentials: give the client_id and the client_secret")
        for name in ("client_id", "client_secret"):
            # Read from a file, most often. What it is, is not shown.
            if not getattr(self, name).isprintable():
                raise ValueError(f"{name}: remove the line break or control character in it")

    def authorization(self) -> str:
        """The Authorization header. §2.3.1 has each of the two form-encoded before they are joined."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {b64encode(pair.encode()).decode()}"
