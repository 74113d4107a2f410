"""`mcpauth users link` and `unlink`: whom another server means with a subject (RFC 7523 §3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mcpauth.commands.common import config_option, existing_user, lasting_store, refuse, run, settings_from
from mcpauth.oauth.federated_identity import FederatedIdentities
from mcpauth.oauth.user import Users

if TYPE_CHECKING:
    from pathlib import Path

_issuer = click.option("--issuer", required=True, help="Who vouches for them: the iss of its assertions.")
_subject = click.option("--subject", required=True, help="The user's sub there.")


@click.command()
@click.argument("username")
@_issuer
@_subject
@config_option
def link(username: str, *, issuer: str, subject: str, config: Path | None) -> None:
    """Say that a subject of an identity provider is this user."""
    settings = settings_from(config)
    if settings.trusted().find("id-jag", issuer) is None:
        refuse(f"{issuer} is no issuer of users in the settings; add it to [[trusted_issuers]]")

    async def work() -> None:
        async with lasting_store(settings) as store:
            kept = Users(store, now=time.time)
            identities = FederatedIdentities(store, kept, now=time.time)
            user = await existing_user(kept, username)
            if not await identities.link(user, issuer, subject):
                refuse(f"{subject} of {issuer} is linked already; unlink it first")

    run(work)
    click.echo(f"{subject} of {issuer} is {username}.")


@click.command()
@click.argument("username")
@_issuer
@_subject
@config_option
def unlink(username: str, *, issuer: str, subject: str, config: Path | None) -> None:
    """Undo it. Tokens that were issued live on to their end; to stop them, disable the user."""
    settings = settings_from(config)

    async def work() -> None:
        async with lasting_store(settings) as store:
            kept = Users(store, now=time.time)
            identities = FederatedIdentities(store, kept, now=time.time)
            if not await identities.unlink(await existing_user(kept, username), issuer, subject):
                refuse(f"{subject} of {issuer} is not {username}")

    run(work)
    click.echo(f"{subject} of {issuer} is {username} no more.")
