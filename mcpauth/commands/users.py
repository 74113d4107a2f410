"""`mcpauth users`: the people who can sign in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from mcpauth.commands.common import (
    Misuse,
    config_option,
    existing_user,
    grants_of,
    json_option,
    lasting_store,
    moment,
    print_json,
    print_table,
    read_password,
    refuse,
    run,
    settings_from,
)
from mcpauth.oauth.federated_identity import FederatedIdentities, FederatedIdentity
from mcpauth.oauth.user import User, Users, check_username
from mcpauth.pages.text import shown
from mcpauth.signin.password import Passwords, check_password

if TYPE_CHECKING:
    from pathlib import Path

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@click.group()
def users() -> None:
    """Add, list, disable and enable users, and set their passwords."""


@users.command()
@click.argument("username")
@_password_stdin
@click.option("--no-password", is_flag=True, help="Somebody for whom another server vouches; see link.")
@config_option
@json_option
def add(
    username: str, *, password_stdin: bool, no_password: bool, config: Path | None, as_json: bool
) -> None:
    """Add a user; asks for the password."""
    settings = settings_from(config)
    _checked_username(username)
    if no_password and password_stdin:
        raise Misuse("--no-password and --password-stdin exclude each other")
    password = None if no_password else _new_password(from_stdin=password_stdin)

    async def work() -> User:
        async with lasting_store(settings) as store:
            password_hash = await Passwords().hash(password) if password is not None else None
            user = await Users(store, now=time.time).add(username, password_hash)
        return user or refuse(f"there is a user {username} already")

    user = run(work)
    print_json(_as_json(user)) if as_json else click.echo(f"Added {user.username} ({user.user_id}).")


@users.command("list")
@config_option
@json_option
def list_(*, config: Path | None, as_json: bool) -> None:
    """List the users."""
    settings = settings_from(config)

    async def work() -> list[tuple[User, list[FederatedIdentity]]]:
        async with lasting_store(settings) as store:
            kept = Users(store, now=time.time)
            identities = FederatedIdentities(store, kept, now=time.time)
            return [(user, await identities.of(user.user_id)) for user in await kept.list()]

    found = run(work)
    if as_json:
        print_json([_as_json(user) | {"identities": _identities(linked)} for user, linked in found])
    elif not found:
        click.echo("No users. Add one with: mcpauth users add NAME")
    else:
        rows = [
            (
                user.username,
                user.user_id,
                moment(user.created_at),
                ", ".join(shown(f"{each.subject} of {each.issuer}", 80) for each in linked),
                "disabled" if user.disabled else "",
            )
            for user, linked in found
        ]
        print_table(("USER NAME", "ID (sub)", "CREATED", "VOUCHED FOR AS", ""), rows)


@users.command()
@click.argument("username")
@_password_stdin
@config_option
def passwd(username: str, *, password_stdin: bool, config: Path | None) -> None:
    """Set a new password, and sign the user out everywhere."""
    settings = settings_from(config)
    password = _new_password(from_stdin=password_stdin)

    async def work() -> None:
        password_hash = await Passwords().hash(password)
        async with lasting_store(settings) as store:
            kept = Users(store, now=time.time)
            user = await existing_user(kept, username)
            if user.password_hash is None:
                refuse(f"{username} has no password: another server vouches for them")
            _changed(await kept.set_password(user, password_hash), username)

    run(work)
    click.echo(f"{username} has a new password and is signed out everywhere.")


@users.command()
@click.argument("username")
@config_option
def disable(username: str, *, config: Path | None) -> None:
    """Keep a user from signing in, and sign them out everywhere."""
    _set_disabled(username, config, disabled=True)
    click.echo(f"{username} is disabled and signed out everywhere.")


@users.command()
@click.argument("username")
@config_option
def enable(username: str, *, config: Path | None) -> None:
    """Let a disabled user sign in again."""
    _set_disabled(username, config, disabled=False)
    click.echo(f"{username} is enabled.")


def _set_disabled(username: str, config: Path | None, *, disabled: bool) -> None:
    settings = settings_from(config)

    async def work() -> None:
        async with lasting_store(settings) as store:
            kept = Users(store, now=time.time)
            user = await existing_user(kept, username)
            _changed(await kept.set_disabled(user, disabled=disabled), username)
            # Resource servers that verify tokens on their own have to be told.
            grants = grants_of(settings, store)
            await (grants.suspend(user.user_id) if disabled else grants.resume(user.user_id))

    run(work)


def _changed(changed: bool, username: str) -> None:
    if not changed:
        refuse(f"{username} was changed by somebody else at the same moment; try again")


def _checked_username(username: str) -> None:
    try:
        check_username(username)
    except ValueError as error:
        raise Misuse(str(error)) from None


def _new_password(*, from_stdin: bool) -> str:
    try:
        return check_password(read_password(from_stdin=from_stdin))
    except ValueError as error:
        raise Misuse(str(error)) from None


def _as_json(user: User) -> dict[str, object]:
    return {
        "username": user.username,
        "user_id": user.user_id,
        "disabled": user.disabled,
        "created_at": user.created_at,
    }


def _identities(linked: list[FederatedIdentity]) -> list[dict[str, str]]:
    return [{"issuer": each.issuer, "subject": each.subject} for each in linked]
