"""Request bodies: read once, never more than a limit, and only in the media type that was asked for."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from mcpauth.oauth.errors import InvalidRequest

MAX_BODY_BYTES = 64 * 1024


async def read_body(request: Request, media_type: str) -> bytes:
    """The bytes of a body of this media type.

    Raises:
        InvalidRequest: 415 for another media type or an encoded body, 413 for more than 64 kB.
    """
    _check_media_type(request, media_type)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise InvalidRequest("the body is too long", status=413)
    except ClientDisconnect as error:
        raise InvalidRequest("the body broke off") from error
    return bytes(body)


def every_header(request: Request, name: bytes) -> list[bytes]:
    """All values of a header, whose name is in lower case; neither decoded nor joined."""
    return [value for key, value in request.scope["headers"] if key == name]


def only_header(request: Request, name: str) -> str | None:
    """A header that may occur once; `name` is in lower case, as ASGI hands headers on.

    Raises:
        InvalidRequest: it occurs twice: another reader of the request might take the other one.
    """
    values = every_header(request, name.encode())
    if len(values) > 1:
        raise InvalidRequest("a header is repeated")
    return values[0].decode("latin-1") if values else None


def _check_media_type(request: Request, media_type: str) -> None:
    content_type = only_header(request, "content-type") or ""
    sent, _, parameters = content_type.partition(";")
    if "," in content_type:
        raise InvalidRequest("Content-Type names two media types")
    if sent.strip().lower() != media_type:
        # The parser's text, not the client's: `media_type` is one of ours.
        raise InvalidRequest(f"Content-Type must be {media_type}", status=415)
    if parameters.strip().lower() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise InvalidRequest("the only charset is utf-8", status=415)
    if only_header(request, "content-encoding") not in (None, "identity"):
        raise InvalidRequest("the body must not be encoded", status=415)
