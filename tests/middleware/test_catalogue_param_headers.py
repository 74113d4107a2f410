"""`x-mcp-header` and `Mcp-Param-*` (MCP 2026-07-28): the rules of the annotation, and of its comparison."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map

from mcpauth_middleware.catalogue.param_agreement import require_param_agreement
from mcpauth_middleware.catalogue.param_headers import param_headers
from mcpauth_middleware.message import MessageRefused

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "limit": {"type": "integer", "x-mcp-header": "Limit"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "where": {
            "type": "object",
            "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}},
        },
        "other": {"type": "string"},
    },
}


def check(arguments: dict[str, Any], *, required: bool = True, **headers: str) -> MessageRefused | None:
    sent = [
        (f"mcp-param-{name.replace('_', '-')}".encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    try:
        require_param_agreement(sent, param_headers(SCHEMA), arguments, required=required)
    except MessageRefused as refused:
        return refused
    return None


def encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def test_the_annotations_of_a_schema_are_found_with_their_paths() -> None:
    """A chain of `properties`, nested ones included."""
    found = {(one.header, one.path, one.type) for one in param_headers(SCHEMA)}
    assert found == {
        ("mcp-param-region", ("region",), "string"),
        ("mcp-param-limit", ("limit",), "integer"),
        ("mcp-param-dry-run", ("dry",), "boolean"),
        ("mcp-param-zone", ("where", "zone"), "string"),
    }


MARKED: dict[str, Any] = {"type": "string", "x-mcp-header": "A"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a b"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a\r\nb"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "é"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 7}}},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "object", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string", "null"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"x-mcp-header": "A"}}},
        {"properties": {"a": MARKED, "b": {"type": "string", "x-mcp-header": "a"}}},
        {"x-mcp-header": "A", "type": "string"},
        {"properties": {"a": {"type": "array", "items": MARKED}}},
        {"properties": {"a": {"type": "array", "prefixItems": [MARKED]}}},
        {"anyOf": [{"properties": {"a": MARKED}}]},
        {"properties": {"a": {"allOf": [MARKED]}}},
        {"properties": {"a": {"not": MARKED}}},
        {"if": {"properties": {"a": MARKED}}},
        {"$defs": {"A": MARKED}, "properties": {"a": {"$ref": "#/$defs/A"}}},
        {"patternProperties": {"a": MARKED}},
        {"additionalProperties": MARKED},
        {"properties": {"a": MARKED, "b": {"oneOf": [MARKED]}}},
    ],
)
def test_a_schema_that_breaks_a_rule_of_the_annotation_has_none(schema: dict[str, Any]) -> None:
    """Clients must leave such a tool out; the SDK is of the same opinion on each of these."""
    assert find_invalid_x_mcp_header(schema) is not None
    assert param_headers(schema) == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "string", "default": MARKED, "enum": [MARKED]}}},
        {"properties": {"x-mcp-header": {"type": "string"}}},
        {},
        {"properties": 7},
    ],
)
def test_what_only_looks_like_an_annotation_is_none(schema: dict[str, Any]) -> None:
    """Data in a schema is not a schema."""
    assert find_invalid_x_mcp_header(schema) is None
    assert param_headers(schema) == ()


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "us-west1"}, {"region": "us-west1"}),
        ({"region": "us-west1"}, {"region": encoded("us-west1")}),
        ({"region": "Hello, 世界"}, {"region": encoded("Hello, 世界")}),
        ({"region": " padded "}, {"region": encoded(" padded ")}),
        ({"region": "=?base64?literal?="}, {"region": encoded("=?base64?literal?=")}),
        ({"region": ""}, {"region": ""}),
        ({"limit": 42}, {"limit": "42"}),
        ({"limit": 42.0}, {"limit": "42"}),
        ({"limit": 42}, {"limit": "42.0"}),
        ({"limit": -7}, {"limit": "-7"}),
        ({"limit": 2**53 + 1}, {"limit": str(2**53 + 1)}),
        ({"dry": True}, {"dry_run": "true"}),
        ({"dry": False}, {"dry_run": "false"}),
        ({"where": {"zone": "a"}}, {"zone": "a"}),
        ({"region": None}, {}),
        ({"where": {"zone": None}}, {}),
        ({"where": "text"}, {}),
        ({"other": "x"}, {}),
        ({}, {}),
        ({}, {"unknown": "anything"}),
        # No header can hold these, and the schema is what refuses them.
        ({"region": ["us-west1"]}, {}),
        ({"region": {"us": 1}}, {}),
    ],
)
def test_headers_that_say_what_the_arguments_say_pass(
    arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    """Decoded, and integers compared as numbers; what the tool does not declare is ignored."""
    assert check(arguments, required=True, **headers) is None


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"region": "us-west1"}, {"region": "eu"}),
    ({"region": "us-west1"}, {"region": "US-WEST1"}),
    ({"region": "us-west1"}, {"region": encoded("eu")}),
    ({"region": "us-west1"}, {"region": "=?base64?dXMtd2VzdDE?="}),
    ({"region": "us-west1"}, {"region": "=?base64?dXMtd2VzdDF=?="}),
    ({"region": "\xff"}, {"region": "=?base64?/w==?="}),
    ({"region": "us-west1"}, {"region": "us-west1\xe9"}),
    ({"region": "é"}, {"region": "é"}),
    ({"limit": 42}, {"limit": "43"}),
    ({"limit": 42}, {"limit": "42.5"}),
    ({"limit": 42}, {"limit": "042"}),
    ({"limit": 42}, {"limit": "+42"}),
    ({"limit": 42}, {"limit": "4_2"}),
    ({"limit": 42}, {"limit": " 42"}),
    ({"limit": 42}, {"limit": "4.2e1"}),
    ({"limit": 1}, {"limit": "true"}),
    ({"limit": True}, {"limit": "1"}),
    ({"limit": 2**53 + 1}, {"limit": str(2**53)}),
    ({"dry": True}, {"dry_run": "True"}),
    ({"dry": True}, {"dry_run": "1"}),
    ({"dry": 1}, {"dry_run": "true"}),
    ({"where": {"zone": "a"}}, {"zone": "b"}),
    ({"region": None}, {"region": "null"}),
    ({"region": None}, {"region": ""}),
    ({}, {"region": "us-west1"}),
    ({"zone": "a"}, {"zone": "a"}),
    ({"where": "a"}, {"zone": "a"}),
    ({"region": ["a"]}, {"region": "a"}),
    ({"region": ["a"]}, {"region": "['a']"}),
]


@pytest.mark.parametrize(("arguments", "headers"), WRONG)
@pytest.mark.parametrize("required", [True, False])
def test_a_header_that_says_something_else_is_refused(
    arguments: dict[str, Any], headers: dict[str, str], required: bool
) -> None:
    """400, -32020; in the older revisions, which do not know the headers, as well."""
    refused = check(arguments, required=required, **headers)
    assert refused is not None
    assert (refused.status, refused.code) == (400, -32020)


@pytest.mark.parametrize(
    "arguments", [{"region": "a"}, {"limit": 0}, {"dry": False}, {"where": {"zone": ""}}]
)
def test_a_value_without_its_header_is_refused_where_headers_are_required(arguments: dict[str, Any]) -> None:
    """The table of the specification: value in the body, no header, the server MUST reject."""
    refused = check(arguments)
    assert refused is not None
    assert refused.code == -32020
    assert check(arguments, required=False) is None


def test_headers_of_a_tool_that_nobody_knows_are_refused() -> None:
    """They may lie; without any there is nothing to tell."""
    with pytest.raises(MessageRefused) as refused:
        require_param_agreement([(b"mcp-param-region", b"eu")], None, {"region": "eu"}, required=True)
    assert (refused.value.status, refused.value.code) == (400, -32020)
    require_param_agreement([], None, {"region": "eu"}, required=True)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(), max_size=1)


@given(region=VALUES, limit=VALUES, dry=VALUES, zone=VALUES)
def test_what_the_sdks_client_sends_always_passes(
    region: object, limit: object, dry: object, zone: object
) -> None:
    """For any arguments whatever."""
    arguments: dict[str, Any] = {"region": region, "limit": limit, "dry": dry, "where": {"zone": zone}}
    sent = mcp_param_headers(x_mcp_header_map(SCHEMA), arguments)
    raw = [(name.lower().encode(), value.encode("ascii")) for name, value in sent.items()]
    require_param_agreement(raw, param_headers(SCHEMA), arguments, required=True)
