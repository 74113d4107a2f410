"""The log says once what may be set wrong when requests are refused, and nothing of what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.middleware.edge_helpers import (
    ISSUER,
    RESOURCE,
    RecordingApp,
    bearer,
    claims,
    client_of,
    mint,
    post,
    protect,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

LOGGER = "mcpauth_middleware.hints"


def hints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({**bearer(), "Host": "evil.example"}, 421, ["host", RESOURCE, "allowed_hosts"]),
        ({**bearer(), "Origin": "https://evil.example"}, 403, ["origin", "allowed_origins"]),
        (bearer(aud="https://evil.example/mcp"), 401, ["audience", RESOURCE, "accepted_audiences"]),
        (bearer(iss="https://evil.example"), 401, ["issuer", ISSUER, "authorization_servers"]),
        (bearer("an-evil-opaque-token"), 401, ["malformed", "introspection"]),
        (bearer(mint(claims(), typ="evil")), 401, ["typ", "accepted_typ"]),
    ],
    ids=["host", "origin", "audience", "issuer", "opaque", "typ"],
)
async def test_a_refusal_that_a_setting_may_have_caused_is_told_once(
    headers: Mapping[str, str], status: int, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told no more than before (RFC 6750 §3.1), and what it sent is not in the log."""
    app = RecordingApp()
    client = client_of(protect(app))
    for _ in range(3):
        response = await post(client, "tools/list", headers=headers)
        assert response.status_code == status
        assert "allowed_" not in response.text
    (hint,) = hints(caplog)
    assert all(word in hint for word in told)
    assert "evil" not in hint
    assert app.bodies == []


async def test_a_path_that_is_no_endpoint_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """RFC 8707 §2: a token is for the resource, and nothing else of the app runs for it."""
    app = RecordingApp()
    response = await post(client_of(protect(app)), "tools/list", path="/admin")
    assert response.status_code == 404
    (hint,) = hints(caplog)
    assert "public_paths" in hint
    assert app.bodies == []


async def test_a_tool_that_nobody_declared_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its caller cannot tell it from a tool that does not exist; its operator can."""
    app = RecordingApp()
    response = await post(client_of(protect(app)), "tools/call", {"name": "forgotten"})
    assert "Unknown tool" in response.text
    (hint,) = hints(caplog)
    assert "@policy.requires" in hint
    assert "forgotten" not in hint
    assert app.bodies == []


async def test_what_no_setting_can_mend_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """A token that has expired, or none."""
    client = client_of(protect(RecordingApp()))
    for headers in (bearer(exp=1), {}):
        assert (await post(client, "tools/list", headers=headers)).status_code == 401
    assert hints(caplog) == []
