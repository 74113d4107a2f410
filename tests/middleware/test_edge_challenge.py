"""The WWW-Authenticate challenge: RFC 6750 §3, RFC 9728 §5.1."""

from __future__ import annotations

import pytest

from mcpauth_middleware.challenge import challenge

URL = "https://rs.example/.well-known/oauth-protected-resource"


def test_the_parameters_come_in_one_order_all_quoted() -> None:
    """Clients that search the header for a name must find the parameter first."""
    header = challenge(
        "Bearer",
        resource_metadata=URL,
        error="insufficient_scope",
        scope=["a", "b"],
        error_description="More is needed",
    )

    assert header == (
        f'Bearer error="insufficient_scope", scope="a b", resource_metadata="{URL}", '
        'error_description="More is needed"'
    )


def test_without_scopes_there_is_no_scope() -> None:
    """RFC 6750 §3: `scope` has at least one value."""
    assert challenge("Bearer", resource_metadata=URL) == f'Bearer resource_metadata="{URL}"'


@pytest.mark.parametrize("scope", [[""], ["a b"], ['a"'], ["a\\"], ["a\r\nX: y"], ["ä"]])
def test_a_scope_that_is_none_is_refused(scope: list[str]) -> None:
    """RFC 6749 §3.3."""
    with pytest.raises(ValueError, match="scope"):
        challenge("Bearer", resource_metadata=URL, scope=scope)


@pytest.mark.parametrize(
    "description", ['a "quoted" word', "back\\slash", "line\r\nbreak", "é", "needs scope=admin", "Error = 1"]
)
def test_a_description_that_could_be_read_as_something_else_is_refused(description: str) -> None:
    """RFC 6750 §3: no quotation marks or backslashes; and nothing that looks like a parameter."""
    with pytest.raises(ValueError, match="error_description"):
        challenge("Bearer", resource_metadata=URL, error="invalid_token", error_description=description)


def test_a_description_needs_an_error() -> None:
    """RFC 6750 §3.1: without a token, no error information."""
    with pytest.raises(ValueError, match="error"):
        challenge("Bearer", resource_metadata=URL, error_description="text")
