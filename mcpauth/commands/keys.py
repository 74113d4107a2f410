"""`mcpauth keys`: the keys that sign tokens (RFC 7517). Running servers follow in half a minute."""

from __future__ import annotations

import time
from dataclasses import asdict
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
from mcpauth.oauth.key_pair import ALGORITHMS
from mcpauth.token_service import key_rings

if TYPE_CHECKING:
    from pathlib import Path

    from mcpauth.oauth.signing_keys import KeyStatus


@click.group()
def keys() -> None:
    """List, rotate and retire the keys that sign access tokens and ID tokens."""


@keys.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List the keys, without their private halves."""
    settings = settings_from(config)

    async def work() -> list[KeyStatus]:
        async with lasting_store(settings) as store:
            rings = key_rings(settings, store, now=time.time)
            await rings.read()
            return rings.statuses()

    found = run(work)
    if as_json:
        print_json([asdict(key) for key in found])
    elif not found:
        click.echo("No keys yet. The server makes the first one when it starts.")
    else:
        rows = [
            (
                key.kid,
                key.algorithm,
                key.state,
                moment(key.signs_from),
                moment(key.ends_at) if key.ends_at is not None else "",
            )
            for key in found
        ]
        print_table(("KEY ID", "ALGORITHM", "STATE", "SIGNS FROM", "GONE AT"), rows)


@keys.command()
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="Only there; otherwise for each in use.")
@config_option
@json_option
def rotate(*, algorithm: str | None, config: Path | None, as_json: bool) -> None:
    """Have a new key follow: published now, signing in a quarter of an hour. No token ends by it."""
    settings = settings_from(config)
    in_use = {settings.signing_algorithm, *settings.further_signing_algorithms}
    if algorithm is not None and algorithm not in in_use:
        refuse(f"the settings have nothing signed with {algorithm}, only with {', '.join(sorted(in_use))}")

    async def work() -> list[KeyStatus]:
        async with lasting_store(settings) as store:
            rings = key_rings(settings, store, now=time.time)
            await rings.start()
            return await rings.rotate(algorithm)

    for key in run(work):
        if as_json:
            print_json(asdict(key))
        else:
            click.echo(f"{key.kid} ({key.algorithm}) signs from {moment(key.signs_from)}.")


@keys.command()
@click.argument("kid")
@click.option("--force", is_flag=True, help="Also when tokens that it signed are still good: they end.")
@config_option
@json_option
def retire(kid: str, *, force: bool, config: Path | None, as_json: bool) -> None:
    """Forget a key at once. One that has leaked needs --force; a new key replaces the current one."""
    settings = settings_from(config)

    async def work() -> str | None:
        async with lasting_store(settings) as store:
            rings = key_rings(settings, store, now=time.time)
            await rings.read()
            states = {key.kid: key.state for key in rings.statuses()}
            if kid not in states:
                return f"there is no key {kid}"
            if states[kid] != "next" and not force:
                return (
                    f"the key is {states[kid]}, so tokens that it signed are in use: after"
                    " `mcpauth keys rotate` it goes when they have expired; --force ends them now"
                )
            await rings.retire(kid)
            return None

    if (problem := run(work)) is not None:
        refuse(problem)
    if as_json:
        print_json({"kid": kid, "state": "retired"})
    else:
        click.echo(f"Retired {kid}.")
