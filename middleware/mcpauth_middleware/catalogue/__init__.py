"""What the middleware knows of the server's tools: their definitions, as `tools/list` gives them."""

from __future__ import annotations

from mcpauth_middleware.catalogue.catalogue import Catalogue as Catalogue
from mcpauth_middleware.catalogue.definition import ToolDefinition as ToolDefinition
