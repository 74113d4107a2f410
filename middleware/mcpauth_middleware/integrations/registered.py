"""What a server of the MCP Python SDK (1.x, 2.x) or of FastMCP (3, 4) has registered, and under which names.

Read from the server object itself, since the frameworks' own lists are asynchronous and leave the
functions out. What another server contributes (mounts, proxies) is not among it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGISTRIES = (
    ("tools", "_tool_manager", "_tools"),
    ("prompts", "_prompt_manager", "_prompts"),
    ("resources", "_resource_manager", "_resources"),
    ("resources", "_resource_manager", "_templates"),
)


def registered(server: object) -> list[tuple[str, str, object]] | None:
    """The key of a rule ("tools", "prompts", "resources"), the name or URI, or the template of URIs, and the
    function of each component; None: it is no server of these frameworks.
    """
    provider = getattr(server, "_local_provider", None)
    components = _mapping(getattr(provider, "_components", None))
    if components is not None:
        return [_component(component) for component in components.values()]
    return list(_managed(server)) if hasattr(server, "_tool_manager") else None


def _managed(server: object) -> Iterator[tuple[str, str, object]]:
    for key, manager, attribute in _REGISTRIES:
        found = _mapping(getattr(getattr(server, manager, None), attribute, None)) or {}
        for name, component in found.items():
            yield key, name, getattr(component, "fn", None)


def _component(component: object) -> tuple[str, str, object]:
    function = getattr(component, "fn", None)
    for attribute in ("uri_template", "uri"):
        uri = getattr(component, attribute, None)
        if uri is not None:
            return "resources", str(uri), function
    is_prompt = str(getattr(component, "key", "")).startswith("prompt:")
    return ("prompts" if is_prompt else "tools"), str(getattr(component, "name", "")), function


def _mapping(value: object) -> Mapping[str, object] | None:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None
