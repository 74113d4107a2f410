"""Errors on the wire: one place turns them into answers, and nothing else gets out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from mcpauth.events import Event, Events, SignedIn
from mcpauth.oauth import errors
from mcpauth.oauth.errors import InvalidScope, OAuthError
from mcpauth.oauth.store import StoreUnavailable
from mcpauth.web.responses import oauth_errors

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

pytestmark = pytest.mark.anyio


async def answer_to(error: Exception) -> httpx2.Response:
    @oauth_errors
    async def fail(_request: Request) -> Response:
        raise error

    transport = httpx2.ASGITransport(app=Starlette(routes=[Route("/", fail)]))
    async with httpx2.AsyncClient(transport=transport, base_url="https://as.example") as http:
        return await http.get("/")


async def test_an_oauth_error_becomes_json() -> None:
    """RFC 6749 §5.2."""
    answer = await answer_to(InvalidScope("too much"))
    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid_scope", "error_description": "too much"}
    assert answer.headers["cache-control"] == "no-store"


async def test_anything_else_becomes_server_error_without_details(caplog: pytest.LogCaptureFixture) -> None:
    answer = await answer_to(RuntimeError("the password is hunter2"))
    assert answer.status_code == 500
    assert answer.json()["error"] == "server_error"
    assert "hunter2" not in answer.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_unavailable_store_is_503_with_a_hint_when_to_come_back() -> None:
    answer = await answer_to(StoreUnavailable("/var/lib/x.db is locked"))
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "/var/lib" not in answer.text


def test_every_error_has_its_own_code_and_a_status() -> None:
    classes = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, OAuthError) and each is not OAuthError
    ]
    codes = [each("x").error for each in classes]
    assert len(set(codes)) == len(codes) >= 17
    assert all(400 <= each("x").status_code < 600 for each in classes)


@pytest.mark.parametrize("description", ['a "quote"', "back\\slash", "é", "line\nbreak"])
def test_a_description_outside_the_characters_of_the_standard_cannot_be_made(description: str) -> None:
    """RFC 6749 §5.2, held by Authlib's base class: so nothing of a request can slip in unseen."""
    with pytest.raises(ValueError, match="forbidden"):
        InvalidScope(description)


async def test_a_listener_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def fail(_event: Event) -> None:
        raise OSError("disk full")

    async def listen(event: Event) -> None:
        heard.append(event)

    event = SignedIn(user_id="alice", method="password")
    await Events(fail, listen, heard.append).emit(event)
    assert heard == [event, event]
    assert "SignedIn" in caplog.text
