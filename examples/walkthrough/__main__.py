"""`python -m examples.walkthrough`: what `scripts/demo` runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .browser import Browser
from .journal import print_journal
from .narrator import Narrator
from .servers import HOST, Servers, StartFailed, taken
from .steps import Plan, Unexpected, Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_PORT = 9400


def plans(servers: Servers) -> list[Plan]:
    """The two servers, and what the client does on each."""
    return [
        Plan(
            title="Notes: built with the mcp SDK, scopes declared beside the tools",
            url=servers.addresses.notes,
            mode="auto",
            listed_first={"list_notes", "search_notes"},
            reading=("search_notes", {"word": "bread"}),
            writing=("add_note", {"text": "Water the plants"}),
            writing_scope="notes:write",
            hidden="erase_everything",
        ),
        Plan(
            title="Tasks: built with FastMCP, scopes in a policy file, a client of an older revision",
            url=servers.addresses.tasks,
            mode="legacy",
            listed_first={"list_tasks"},
            reading=("list_tasks", {}),
            writing=("add_task", {"task": "Read RFC 9728"}),
            writing_scope="tasks:write",
            hidden="drop_all_tasks",
        ),
    ]


async def walk_all(servers: Servers, narrator: Narrator) -> None:
    """Walk both servers, one after the other."""
    for number, plan in enumerate(plans(servers), 1):
        narrator.heading(f"{number}  {plan.title}\n   {plan.url}")
        browser = Browser(servers.username, servers.password, on_page=narrator.page)
        try:
            await Walk(plan, browser, narrator).run()
        finally:
            await browser.aclose()


def stay(servers: Servers) -> None:
    """Leave the servers up for other clients until Ctrl-C."""
    where = servers.addresses
    print(
        f"""
The servers stay up; Ctrl-C ends them. Sign in as {servers.username} with the password {servers.password}

   MCP Inspector   npx @modelcontextprotocol/inspector   then connect to {where.notes} (Streamable HTTP)
   Claude Code     claude mcp add --transport http notes {where.notes}   then /mcp to sign in
   VS Code         code --add-mcp '{{"name":"notes","type":"http","url":"{where.notes}"}}'

   {where.tasks} is the FastMCP server; {where.issuer} the authorization server.
"""
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nStopping.")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="An authorization server, two protected MCP servers and a real client, on this machine.",
    )
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty() and sys.stdout.isatty(),
        help="leave the servers up for other clients (default: only at a terminal)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=FIRST_PORT,
        help=f"the first of three ports on {HOST} (default {FIRST_PORT}; 0 takes any that are free)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".demo"),
        help="where settings, journals and logs go (default .demo)",
    )
    return parser.parse_args(arguments)


def _end(_signal: int, _frame: object) -> None:
    sys.exit(143)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the walkthrough; 0 when every step went as it should."""
    given = read_arguments(arguments)
    signal.signal(signal.SIGTERM, _end)  # so that the servers end with us
    first_port = given.port
    if first_port and any(taken(first_port + n) for n in range(3)):
        print(f"Ports {first_port} to {first_port + 2} are not all free; taking others.", file=sys.stderr)
        first_port = 0
    # The SDK logs each refusal with a traceback; here refusals are the point.
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
    started = time.monotonic()
    narrator = Narrator()
    try:
        with Servers(given.folder, first_port) as servers:
            issuer = servers.addresses.issuer
            print(f"Three servers are up ({time.monotonic() - started:.1f} s); {issuer} issues the tokens.")
            asyncio.run(walk_all(servers, narrator))
            narrator.heading("3  What the audit journals say")
            print_journal(
                {name: servers.journal(name) for name in ("authorization-server", "notes", "tasks")}
            )
            print(f"\nEverything went as it should, in {time.monotonic() - started:.1f} s.")
            if given.keep:
                stay(servers)
    except (StartFailed, Unexpected) as problem:
        print(
            f"\nThe demo failed: expected {problem}" if isinstance(problem, Unexpected) else f"\n{problem}",
            file=sys.stderr,
        )
        print(f"The servers' logs are in {given.folder}/", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
