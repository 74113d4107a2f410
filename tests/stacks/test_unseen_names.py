"""What a caller may not use is to it as what is not there: in status, headers and body, on every stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.middleware.edge_helpers import rpc
from tests.stacks.stacks import ERAS, Era
from tests.stacks.test_asgi_servers import LISTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stacks.running import Running

pytestmark = pytest.mark.anyio

PAIRS: list[tuple[str, str, str, str]] = [
    ("tools/call", "name", "drop_everything", "is_nowhere"),
    # By tags and annotations, which the server tells of the one and not of the other.
    ("tools/call", "name", "listed_secret", "listed_nowhere"),
    ("tools/call", "name", "listed_writing", "listed_nowhere"),
    ("prompts/get", "name", "hidden", "nowhere"),
    ("resources/read", "uri", "demo://files/secret/a", "demo://files/secret/nowhere"),
]
"""A method, the parameter that names, what the server has and the policy denies, and what it has not."""


@pytest.mark.parametrize(("method", "member", "denied", "absent"), PAIRS)
@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_nobody_can_tell_what_is_denied_from_what_is_not_there(
    start: Callable[[str], Running],
    name: str,
    era: Era,
    method: str,
    member: str,
    denied: str,
    absent: str,
) -> None:
    """MCP "Tools", "Prompts", "Resources": who may not use a thing may not know of it."""
    up = start(name)
    answers: list[tuple[int, dict[str, str], str]] = []
    async with up.client() as client:
        headers = {**up.bearer(), **await up.session(client, era, up.bearer())}
        for each in (denied, absent):
            params: dict[str, Any] = {member: each}
            response = await up.post(client, era, method, params, headers=headers)
            told = {key: value for key, value in response.headers.items() if key not in OF_EACH}
            answers.append((response.status_code, told, response.text.replace(each, "NAME")))

    assert answers[0] == answers[1]
    assert "Unknown" in answers[0][2]
    assert denied not in {ran["name"] for ran in up.ran()}


OF_EACH = ("date", "content-length")
"""Headers that differ from answer to answer."""


LISTS = {
    "tools/list": ("tools", "name", LISTED),
    "prompts/list": ("prompts", "name", {"greet"}),
    "resources/list": ("resources", "uri", {"demo://files/public/a"}),
    "resources/templates/list": ("resourceTemplates", "uriTemplate", {"demo://files/public/{name}/text"}),
}
"""A method, what it lists, the member that names, and which of these the policy allows."""


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize(("name", "era"), ERAS)
async def test_every_kind_of_list_shows_what_may_be_used(
    start: Callable[[str], Running], name: str, era: Era, method: str
) -> None:
    """As JSON or SSE, whichever the stack sends; and for no shared cache (2026-07-28, `CacheableResult`)."""
    up = start(name)
    kind, member, shown = LISTS[method]
    async with up.client() as client:
        headers = {**up.bearer(), **await up.session(client, era, up.bearer())}
        result = rpc(await up.post(client, era, method, headers=headers))["result"]

    assert {entry[member] for entry in result[kind]} == shown
    assert result.get("cacheScope") == ("private" if era == "stateless" else None)
