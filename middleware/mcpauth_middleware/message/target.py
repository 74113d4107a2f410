"""What a message reaches for: the object of a policy decision."""

from __future__ import annotations

from typing import Literal, NamedTuple

TargetKind = Literal["tool", "prompt", "resource", "method"]
ListKind = Literal["tools", "prompts", "resources", "resourceTemplates"]


class Target(NamedTuple):
    """One named thing on the server behind the middleware.

    Kind `method` stands for a JSON-RPC method that no rule about tools, prompts or resources can speak of.
    """

    kind: TargetKind
    name: str
