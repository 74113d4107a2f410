"""What a caller may not use is to it as what is not there: in status, headers and body, on every stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stacks.stacks import ERAS, Era

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
