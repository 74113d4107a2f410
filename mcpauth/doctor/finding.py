"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `failed` is what keeps clients or users out, or lets others in."""

    check: str
    state: State
    text: str
    mend: str | None = None


def ok(check: str, text: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, mend: str) -> Finding:
    """It works, and may not be what was meant."""
    return Finding(check, "warning", text, mend)


def failed(check: str, text: str, mend: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(check, "failed", text, mend)
