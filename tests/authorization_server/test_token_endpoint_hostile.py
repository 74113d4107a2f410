"""Hostile input to every endpoint of the core: an error of the standard, never a 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.authorization_server.core_helpers import LOOPBACK, CoreServer, core_server

PARAMETERS = (
    "client_id",
    "client_secret",
    "client_assertion",
    "grant_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "resource",
    "scope",
    "token",
)
MEMBERS = (
    "redirect_uris",
    "client_name",
    "client_uri",
    "contacts",
    "grant_types",
    "response_types",
    "scope",
    "software_id",
    "token_endpoint_auth_method",
    "application_type",
)

names = st.sampled_from(PARAMETERS)
values = st.one_of(
    st.sampled_from(["CLIENT", "authorization_code", "refresh_token", "notes:read", LOOPBACK]).map(
        str.encode
    ),
    st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=80),
)
forms = st.lists(st.tuples(names, values), max_size=8)
headers = st.one_of(
    st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map("Basic {}".format)
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(LOOPBACK),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
metadata = st.dictionaries(st.sampled_from(MEMBERS), json_values)


async def send_form(server: CoreServer, form: list[tuple[str, bytes]], header: str | None) -> None:
    client = await server.public_client()
    body = "&".join(
        f"{name}={client.client_id if value == b'CLIENT' else quote_from_bytes(value)}"
        for name, value in form
    )
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    sent |= {"Authorization": header} if header is not None else {}
    for path in ("/token", "/revoke"):
        response = await server.http.post(path, content=body, headers=sent)
        assert response.status_code in (200, 400, 401), response.text
        if response.status_code != 200:
            assert response.json()["error"].startswith(("invalid_", "un"))


@settings(max_examples=80, deadline=None)
@given(forms, headers)
def test_no_form_is_a_failure(form: list[tuple[str, bytes]], header: str | None) -> None:
    """RFC 6749 §5.2."""

    async def run() -> None:
        async with core_server() as server:
            await send_form(server, form, header)

    anyio.run(run)


@settings(max_examples=80, deadline=None)
@given(metadata, st.booleans())
def test_no_metadata_is_a_failure(members: dict[str, Any], with_redirect_uris: bool) -> None:
    """RFC 7591 §3.2.2; and what is answered to a registration can be read."""

    async def run() -> None:
        sent = members | ({"redirect_uris": [LOOPBACK]} if with_redirect_uris else {})
        async with core_server() as server:
            response = await server.http.post(
                "/register", content=json.dumps(sent), headers={"Content-Type": "application/json"}
            )
            assert response.status_code in (201, 400), response.text
            assert isinstance(response.json(), dict)

    anyio.run(run)
