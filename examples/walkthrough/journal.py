"""Shows audit journals as a table: who did what, through which client, and who decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Row = tuple[str, str, str, str, str]

MOST_ROWS = 80


def print_journal(journals: Mapping[str, Path]) -> None:
    """Print the events of several journals in the order in which they happened."""
    events = sorted(
        ((server, event) for server, path in journals.items() for event in read_journal(path)),
        key=lambda pair: str(pair[1]["ts"]),
    )
    rows = [row(server, event) for server, event in events if event.get("phase") != "intent"]
    for when, server, who, what, how in rows[:MOST_ROWS]:
        print(f"   {when}  {server:<20}  {who:<14.14}  {what:<34.34}  {how}")
    if len(rows) > MOST_ROWS:
        print(f"   … and {len(rows) - MOST_ROWS} more")
    print(f"\n   {len(events)} events; each call that ran has an intent before it and an outcome after it:")
    for path in journals.values():
        print(f"   {path}")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of one journal."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def row(server: str, event: Mapping[str, Any]) -> Row:
    """One event for a reader."""
    actor: Mapping[str, Any] = event.get("actor") or {}
    mcp: Mapping[str, Any] = event.get("mcp") or {}
    decision: Mapping[str, Any] = event.get("decision") or {}
    # What the authorization server says beyond the common form.
    details: Mapping[str, Any] = event.get("details") or {}
    what = f"{mcp.get('method') or event['type']} {mcp.get('name') or ''}".strip()
    how = " ".join(
        str(part)
        for part in (
            event.get("outcome"),
            event.get("reason") or details.get("reason") or details.get("error"),
            " ".join(details.get("scopes") or ()),
            decision.get("rule") and f"by rule {decision['rule']}",
        )
        if part
    )
    return str(event["ts"])[11:19], server, str(actor.get("sub") or "-"), what, how
