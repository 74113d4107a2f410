"""State handles are bound to their user: MCP, "Security Best Practices", state handle hijacking."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from mcpauth_middleware import HandleRefused, StateHandles
from mcpauth_middleware.principal import principal_var
from tests.middleware.edge_helpers import Clock
from tests.middleware.test_revocation import principal

if TYPE_CHECKING:
    from mcpauth_middleware import Principal

KEY = b"k" * 32


def someone(subject: str = "ada", issuer: str = "https://as.example", **changed: Any) -> Principal:
    return replace(principal(**changed), subject=subject, issuer=issuer)


def test_a_handle_comes_back_to_the_user_it_was_given_to_and_to_nobody_else() -> None:
    """Not to another user, and not to one of another issuer who is called the same."""
    handles = StateHandles(now=Clock())
    handle = handles.mint(someone())

    assert handles.check(handle.value, someone()) == handle
    assert handles.check(handle.value, someone(jti="another token of hers")) == handle
    for other in (someone("bob"), someone(issuer="https://other.example"), someone("ada\0")):
        with pytest.raises(HandleRefused):
            handles.check(handle.value, other)


def test_a_refusal_tells_the_operator_who_and_the_caller_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Why is nobody's business; the handle is a secret."""
    handles = StateHandles(now=Clock())
    handle = handles.mint(someone())
    with pytest.raises(HandleRefused) as raised:
        handles.check(handle.value, someone("bob"))

    assert str(raised.value) == "unknown or expired handle"
    assert "'bob'" in caplog.text
    assert handle.value not in caplog.text


def test_a_handle_ends_at_its_time() -> None:
    """To the second."""
    clock = Clock()
    handles = StateHandles(lifetime=timedelta(minutes=5), now=clock)
    handle = handles.mint(someone())

    clock.time += 299
    handles.check(handle.value, someone())
    clock.time += 1
    with pytest.raises(HandleRefused):
        handles.check(handle.value, someone())


def test_every_handle_is_another_and_has_another_place_in_the_store() -> None:
    """128 random bits; the place is not the handle."""
    handles = StateHandles(now=Clock())
    made = [handles.mint(someone()) for _ in range(100)]

    assert len({handle.value for handle in made}) == 100
    assert len({handle.key for handle in made}) == 100
    assert all(handle.value not in handle.key for handle in made)


def test_processes_with_one_key_know_each_others_handles_and_others_do_not() -> None:
    """Without a key, handles end with the process."""
    clock = Clock()
    ours, same, other = StateHandles(KEY, now=clock), StateHandles(KEY, now=clock), StateHandles(now=clock)
    handle = ours.mint(someone())

    assert same.check(handle.value, someone()) == handle
    with pytest.raises(HandleRefused):
        other.check(handle.value, someone())


@pytest.mark.parametrize("value", ["", "x", "A" * 51, "A" * 52, "é" * 51, "=" * 51, " " * 51, None, 7, b"A"])
def test_what_is_no_handle_is_refused(value: object) -> None:
    """Whatever an argument of a tool may hold."""
    with pytest.raises(HandleRefused):
        StateHandles(now=Clock()).check(cast("str", value), someone())


def test_no_character_of_a_handle_can_be_changed() -> None:
    """Its spelling is the only one."""
    handles = StateHandles(KEY, now=Clock())
    value = handles.mint(someone()).value
    for place in range(len(value)):
        changed = value[:place] + ("B" if value[place] == "A" else "A") + value[place + 1 :]
        with pytest.raises(HandleRefused):
            handles.check(changed, someone())


def test_inside_a_tool_the_caller_is_known() -> None:
    """As everywhere: the principal of the request."""
    handles = StateHandles(now=Clock())
    token = principal_var.set(someone())
    try:
        handle = handles.mint()
        assert handles.check(handle.value) == handle
    finally:
        principal_var.reset(token)
    with pytest.raises(LookupError):
        handles.check(handle.value)


def test_a_wrong_setting_is_told() -> None:
    """With its mend."""
    with pytest.raises(ValueError, match=r"^key: "):
        StateHandles(b"short")
    with pytest.raises(ValueError, match=r"^lifetime: "):
        StateHandles(lifetime=timedelta(0))
