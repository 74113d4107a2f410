"""`mcpauth registration-tokens`: initial access tokens (RFC 7591 §1.2), for `registration_token_required`."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mcpauth.commands.common import (
    config_option,
    json_option,
    lasting_store,
    moment,
    print_json,
    print_table,
    refuse,
    run,
    settings_from,
)
from mcpauth.oauth.registration_token import RegistrationToken, RegistrationTokens
from mcpauth.pages.text import shown

if TYPE_CHECKING:
    from pathlib import Path


@click.group("registration-tokens")
def registration_tokens() -> None:
    """Hand out tokens with which clients may register, list and remove them."""


@registration_tokens.command()
@click.option("--name", required=True, help="Whom it is for.")
@click.option("--days", type=click.IntRange(1, 3650), help="It ends after so many days.")
@config_option
def add(*, name: str, days: int | None, config: Path | None) -> None:
    """Make a token; prints it this once."""
    settings = settings_from(config)

    async def work() -> str:
        async with lasting_store(settings) as store:
            lifetime = timedelta(days=days) if days is not None else None
            return await RegistrationTokens(store, now=time.time).add(name, lifetime=lifetime)

    click.echo(run(work))
    click.echo("The token is shown this once and cannot be read again.", err=True)
    if not settings.registration_token_required:
        click.echo("warning: registration_token_required is off, so nobody needs it", err=True)


@registration_tokens.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List the tokens, without what they are."""
    settings = settings_from(config)

    async def work() -> tuple[RegistrationToken, ...]:
        async with lasting_store(settings) as store:
            return await RegistrationTokens(store, now=time.time).list()

    found = run(work)
    if as_json:
        names = ("token_id", "name", "created_at", "expires_at")
        print_json([{name: getattr(token, name) for name in names} for token in found])
    elif not found:
        click.echo("No registration tokens. To make one, see: mcpauth registration-tokens add --help")
    else:
        rows = [
            (
                token.token_id,
                shown(token.name, 40),
                moment(token.created_at),
                moment(token.expires_at) if token.expires_at is not None else "never",
            )
            for token in found
        ]
        print_table(("ID", "NAME", "CREATED", "ENDS"), rows)


@registration_tokens.command()
@click.argument("token_id")
@config_option
def remove(token_id: str, *, config: Path | None) -> None:
    """End a token: nobody can register with it any more."""
    settings = settings_from(config)

    async def work() -> bool:
        async with lasting_store(settings) as store:
            return await RegistrationTokens(store, now=time.time).remove(token_id)

    if not run(work):
        refuse(f"there is no registration token {token_id}")
    click.echo(f"Removed {token_id}.")
