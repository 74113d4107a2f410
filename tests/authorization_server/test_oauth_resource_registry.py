"""Resources and their scopes."""

from __future__ import annotations

import pytest

from mcpauth.oauth.errors import InvalidTarget
from mcpauth.oauth.resource_registry import Resource, ResourceRegistry, Scope

READ = Scope("read", "Read")


def test_a_path_less_resource_has_no_slash() -> None:
    """RFC 8707 §2 in the one form that is written to `aud`."""
    registry = ResourceRegistry([Resource("https://RS.example:443/", "RS", (READ,))])
    assert registry.resources[0].identifier == "https://rs.example"
    for spelling in ("https://rs.example", "https://rs.example/"):
        assert registry.resolve([spelling]).identifier == "https://rs.example"


def test_the_only_resource_is_the_default() -> None:
    assert ResourceRegistry([Resource("https://rs.example", "RS", (READ,))]).resolve([]).name == "RS"


def test_of_several_without_a_default_one_has_to_be_named() -> None:
    registry = ResourceRegistry([Resource(f"https://{n}.example", n, (READ,)) for n in "ab"])
    with pytest.raises(InvalidTarget):
        registry.resolve([])
    assert registry.resolve(["https://b.example"]).name == "b"


def test_scopes_bring_what_they_imply_and_keep_their_order() -> None:
    scopes = (
        Scope("admin", "All", implies=("write",), default=False),
        Scope("write", "Write", implies=("read",), default=False),
        READ,
        Scope("other", "Other", default=False),
    )
    registry = ResourceRegistry([Resource("https://rs.example", "RS", scopes)])
    (resource,) = registry.resources
    assert registry.scopes_for(resource, "admin") == ("admin", "write", "read")
    assert registry.scopes_for(resource, "other  write ") == ("write", "read", "other")
    assert registry.scopes_for(resource, None) == registry.scopes_for(resource, " ") == ("read",)


@pytest.mark.parametrize(
    ("resources", "default", "mend"),
    [
        ([], None, "at least one"),
        ([Resource("https://a.example", "A", (READ,))] * 2, None, "declare each once"),
        ([Resource("https://a.example", "A", (READ, READ))], None, "declare each once"),
        ([Resource("https://a.example", "A", (READ,))], "https://b.example", "not declared"),
        ([Resource("https://a.example", "A", (Scope("x y", ""),))], None, "visible ASCII"),
        ([Resource("https://a.example", "A", (Scope("x", "", implies=("y",)),))], None, "not declared"),
        ([Resource("https://a.example", "A", (Scope("x", "", implies=("x",)),))], None, "x -> x"),
        (
            [Resource("https://a.example", "A", (Scope("x", "", ("y",)), Scope("y", "", ("x",))))],
            None,
            "x -> y -> x",
        ),
        ([Resource("a.example", "A", (READ,))], None, "a.example"),
        ([Resource("https://a.example#x", "A", (READ,))], None, "a.example"),
    ],
)
def test_a_registry_that_makes_no_sense_is_not_built(
    resources: list[Resource], default: str | None, mend: str
) -> None:
    with pytest.raises(ValueError, match=mend):
        ResourceRegistry(resources, default=default)
