"""What a message reaches for: the object of a policy decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["tool", "prompt", "resource", "method"]
ListKind = Literal["tools", "prompts", "resources", "resourceTemplates"]


@dataclass(frozen=True, slots=True)
class Target:
    """One named thing on the server behind the middleware.

    Kind `method` stands for a JSON-RPC method that no rule about tools, prompts or resources can speak of.
    """

    kind: TargetKind
    name: str
