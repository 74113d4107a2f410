"""`mcpauth grants`: what users have allowed to clients, for an operator to see and to end."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mcpauth.commands.common import (
    Misuse,
    config_option,
    confirm,
    existing_user,
    grants_of,
    json_option,
    lasting_store,
    moment,
    print_json,
    print_table,
    refuse,
    run,
    settings_from,
)
from mcpauth.oauth.client import Client, Clients
from mcpauth.oauth.user import User, Users
from mcpauth.pages.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from mcpauth.oauth.grant import Grant, Grants
    from mcpauth.oauth.store import Store

_user_option = click.option("--user", "username", metavar="NAME", help="Only what this user has allowed.")
_client_option = click.option("--client", "client_id", metavar="ID", help="Only what this client may do.")


@click.group()
def grants() -> None:
    """List and revoke what users have allowed to clients."""


@grants.command("list")
@_user_option
@_client_option
@config_option
@json_option
def list_(*, username: str | None, client_id: str | None, config: Path | None, as_json: bool) -> None:
    """List the grants in force. Those of a disabled user wait until the user is enabled."""
    settings = settings_from(config)

    async def work() -> tuple[tuple[Grant, ...], dict[str, User], dict[str, Client]]:
        async with lasting_store(settings) as store:
            kept = await _chosen(store, grants_of(settings, store), username, client_id)
            users = {user.user_id: user for user in await Users(store, now=time.time).list()}
            return kept, users, {client.client_id: client for client in await Clients(store).list()}

    found, users, clients = run(work)
    if as_json:
        print_json([_as_json(grant, users, clients) for grant in found])
    elif not found:
        click.echo("No grants: nobody has allowed anything here that is still in force.")
    else:
        rows = [
            (
                grant.grant_id,
                _shown_user(grant, users),
                grant.client_id,
                shown(_client_name(grant, clients), 40),
                moment(grant.created_at),
                "; ".join(f"{each.resource} {each.scope}" for each in grant.permissions),
            )
            for grant in found
        ]
        print_table(("GRANT ID", "USER", "CLIENT ID", "CLIENT", "SINCE", "ALLOWED"), rows)


@grants.command()
@click.argument("grant_id", required=False)
@_user_option
@_client_option
@click.option("--yes", is_flag=True, help="Do not ask whether to end several.")
@config_option
def revoke(
    *,
    grant_id: str | None,
    username: str | None,
    client_id: str | None,
    yes: bool,
    config: Path | None,
) -> None:
    """End a grant, or all of a user or a client, with every token that came of them.

    It cannot be taken back: the client has to ask the user again, and may.
    """
    if (grant_id is not None) == (username is not None or client_id is not None):
        raise Misuse("name one grant, or all of them with --user or --client")
    settings = settings_from(config)

    async def work() -> int:
        async with lasting_store(settings) as store:
            kept = grants_of(settings, store)
            if grant_id is not None:
                if await kept.stored(grant_id) is None:
                    refuse(f"there is no grant {grant_id}")
                return int(await kept.revoke(grant_id, reason="operator"))
            if found := await _chosen(store, kept, username, client_id):
                confirm(f"End {_counted(len(found))}?", yes=yes)
            # Read again: what came while the question stood there is meant, too.
            chosen = await _chosen(store, kept, username, client_id)
            return sum([await kept.revoke(grant.grant_id, reason="operator") for grant in chosen])

    click.echo(f"Ended {_counted(run(work))}.")


async def _chosen(
    store: Store, kept: Grants, username: str | None, client_id: str | None
) -> tuple[Grant, ...]:
    """The grants of this user to this client, as far as they are named; the oldest first."""
    user = None if username is None else await existing_user(Users(store, now=time.time), username)
    found = await kept.list(None if user is None else user.user_id)
    chosen = (grant for grant in found if client_id in (None, grant.client_id))
    return tuple(sorted(chosen, key=lambda grant: (grant.created_at, grant.grant_id)))


def _counted(number: int) -> str:
    return f"{number} grant{'' if number == 1 else 's'}"


def _shown_user(grant: Grant, users: dict[str, User]) -> str:
    user = users.get(grant.user_id)
    if user is None:
        return grant.user_id
    return f"{user.username} (disabled)" if user.disabled else user.username


def _client_name(grant: Grant, clients: dict[str, Client]) -> str:
    # One that describes itself is not in the store: its client_id says where.
    client = clients.get(grant.client_id)
    return client.client_name if client is not None else ""


def _as_json(grant: Grant, users: dict[str, User], clients: dict[str, Client]) -> dict[str, Any]:
    user = users.get(grant.user_id)
    return {
        "grant_id": grant.grant_id,
        "user_id": grant.user_id,
        "username": user.username if user is not None else None,
        "client_id": grant.client_id,
        "client_name": _client_name(grant, clients),
        "permissions": [asdict(each) for each in grant.permissions],
        "created_at": grant.created_at,
    }
