"""`mcpauth clients`: the applications that an operator registers (RFC 6749 §2.2), and those that registered
themselves.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

import click

from mcpauth.commands.common import (
    Misuse,
    config_option,
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
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.errors import OAuthError
from mcpauth.oauth.operator_keys import with_keys
from mcpauth.oauth.operator_registration import CLIENT_CREDENTIALS, operator_metadata, operator_terms
from mcpauth.oauth.trusted_issuer import GRANT_TYPE as JWT_BEARER
from mcpauth.pages.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings


# The last segment of the URN is what people write.
_DEVICE_CODE = DEVICE_CODE.rpartition(":")[2]


@click.group()
def clients() -> None:
    """Add, list and remove client applications."""


@clients.command()
@click.option("--name", required=True, help="What users see on the consent page.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="May be given several times.")
@click.option("--confidential", is_flag=True, help="The client can keep a secret: it runs on a server.")
@click.option(
    "--grant-type",
    "grant_types",
    multiple=True,
    type=click.Choice([CLIENT_CREDENTIALS, _DEVICE_CODE, JWT_BEARER]),
    help="client_credentials: a machine that gets tokens in its own name; needs --scope."
    " device_code: a program without a browser, whose user enters its code in one; needs no redirect URI."
    " ...jwt-bearer: a client that hands in assertions of an identity provider, which [[trusted_issuers]]"
    " has to name.",
)
@click.option("--scope", "scopes", multiple=True, help="The most that a machine may have.")
@click.option("--resource", "resources", multiple=True, help="Where a machine may have it.")
@click.option(
    "--resource-server",
    "serves",
    multiple=True,
    help="The client is the server of this resource: it may introspect its tokens, and exchange them as far"
    " as [[token_exchange]] allows.",
)
@click.option("--jwks-uri", help="The client signs: where its public keys are.")
@click.option("--jwks", type=click.File(), help="The client signs: a file with its public keys.")
@config_option
@json_option
def add(
    *,
    name: str,
    redirect_uris: tuple[str, ...],
    confidential: bool,
    grant_types: tuple[str, ...],
    scopes: tuple[str, ...],
    resources: tuple[str, ...],
    serves: tuple[str, ...],
    jwks_uri: str | None,
    jwks: TextIO | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Register a client; prints its client_id, and its secret this once."""
    settings = settings_from(config)
    if _DEVICE_CODE in grant_types and not settings.device_authorization:
        raise Misuse("--grant-type: device_code needs device_authorization = true in the settings")
    try:
        terms = operator_terms(
            settings.registry(),
            client_credentials=CLIENT_CREDENTIALS in grant_types,
            scopes=" ".join(scopes).split(),
            resources=resources,
            serves=serves,
        )
        metadata = operator_metadata(
            terms,
            client_name=name,
            redirect_uris=redirect_uris,
            confidential=confidential,
            private_use_schemes=settings.private_use_schemes,
            assertions=JWT_BEARER in grant_types,
            device_code=_DEVICE_CODE in grant_types,
        )
        metadata = with_keys(metadata, jwks=jwks.read() if jwks is not None else None, jwks_uri=jwks_uri)
    except OAuthError as error:
        raise Misuse(f"{error.code}: {error.description}") from None
    except ValueError as error:
        raise Misuse(f"--{error}") from None

    async def work() -> tuple[Client, str | None]:
        async with lasting_store(settings) as store:
            return await _clients(store, settings).admit(metadata, source="pre-registered", terms=terms)

    client, client_secret = run(work)
    if as_json:
        print_json(client.registration_response(client_secret))
        return
    click.echo(f"client_id      {client.client_id}")
    if client_secret is not None:
        click.echo(f"client_secret  {client_secret}")
        click.echo("The secret is shown this once and cannot be read again.", err=True)


@clients.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List the clients."""
    settings = settings_from(config)

    async def work() -> tuple[Client, ...]:
        async with lasting_store(settings) as store:
            return await _clients(store, settings).list()

    found = run(work)
    if as_json:
        print_json([_as_json(client) for client in found])
    elif not found:
        click.echo("No clients. Most register themselves; to add one, see: mcpauth clients add --help")
    else:
        # Names come from strangers: what could move the cursor or reverse the line is taken out.
        rows = [
            (client.client_id, shown(client.client_name, 40), client.source, moment(client.created_at))
            for client in found
        ]
        print_table(("CLIENT ID", "NAME", "SOURCE", "CREATED"), rows)


@clients.command()
@click.argument("client_id")
@config_option
def remove(client_id: str, *, config: Path | None) -> None:
    """Remove a client, and end what users allowed it."""
    settings = settings_from(config)

    async def work() -> bool:
        async with lasting_store(settings) as store:
            # Also when it is gone already: a first try may have broken off in between.
            removed = await _clients(store, settings).remove(client_id)
            ended = await grants_of(settings, store).revoke_all_of_client(client_id, reason="operator")
            return removed or ended > 0

    if not run(work):
        refuse(f"there is no client {client_id}")
    click.echo(f"Removed {client_id}, and ended what users allowed it.")


def _as_json(client: Client) -> dict[str, object]:
    terms = {name: values for name, values in client.terms.to_record().items() if values}
    return {**client.registration_response(None), "source": client.source, "terms": terms}


def _clients(store: Store, settings: Settings) -> Clients:
    return Clients(
        store,
        scopes=settings.registry().scopes_supported,
        private_use_schemes=settings.private_use_schemes,
        grant_types=settings.registrable_grant_types,
        now=time.time,
    )
