"""Why a message was refused, as an HTTP status and a JSON-RPC 2.0 error (§5.1)."""

from __future__ import annotations

from http import HTTPStatus

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# MCP 2026-07-28, Streamable HTTP, "Server Validation".
HEADER_MISMATCH = -32020


class MessageRefused(Exception):
    """The message cannot be judged, so it goes no further.

    `message` is made of constant text and member names only: it is safe to send and to log.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        id: str | int | None = None,  # noqa: A002 (JSON-RPC's own word)
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.code = code
        self.message = message
        self.id = id
        self.modern = True
        """Whether its client is of the stateless era, or unknown."""
