"""What the commands share: finding the settings, opening the store, one clear line instead of a traceback."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import anyio
import click

from mcpauth.events import Events
from mcpauth.oauth.grant import Grants
from mcpauth.oauth.revocation_list import RevocationList
from mcpauth.oauth.store import Store, StoreUnavailable
from mcpauth.oauth.user import User, Users
from mcpauth.server import open_store
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

T = TypeVar("T")

_DEFAULT_FILE = Path("mcpauth.toml")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file. Default: $MCPAUTH_CONFIG, then mcpauth.toml in the current folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Failure(click.ClickException):
    """Ends the command with one line on standard error: it could not be done."""

    def show(self, file: IO[str] | None = None) -> None:
        """Print the line."""
        click.echo(f"error: {self.message}", file=file, err=True)


class Misuse(Failure):
    """It was asked for in a way that cannot work."""

    exit_code = 2


def find_config(config: Path | None) -> Path | None:
    """The settings file: the option's, the environment's, or the one in the current folder if it is there."""
    if config is not None:
        return config
    if named := os.environ.get("MCPAUTH_CONFIG"):
        return Path(named)
    return _DEFAULT_FILE if _DEFAULT_FILE.exists() else None


def settings_from(config: Path | None) -> Settings:
    """The settings, or exit code 2 and the line that says what is wrong with them."""
    path = find_config(config)
    if path is None and "MCPAUTH_ISSUER" not in os.environ:
        raise Misuse("no settings: run `mcpauth init` to write mcpauth.toml, or name a file with --config")
    try:
        return load_settings(path, os.environ)
    except ConfigurationError as error:
        raise Misuse(str(error)) from None


@asynccontextmanager
async def lasting_store(settings: Settings) -> AsyncGenerator[Store]:
    """The database of the settings, which must outlive this command."""
    if settings.in_memory:
        raise Misuse("database: memory: ends with each process; name a file to keep users and clients in")
    store = await open_store(settings, now=time.time)
    try:
        yield store
    finally:
        await store.aclose()


def grants_of(settings: Settings, store: Store) -> Grants:
    """The grants in the database. What happens to them here is not in the server's journal."""
    return Grants(
        store,
        is_active_user=Users(store, now=time.time).is_active,
        revocations=RevocationList(store, access_token_lifetime=settings.access_token_lifetime),
        events=Events(),
        lifetime=settings.refresh_token_absolute_lifetime,
    )


async def existing_user(kept: Users, username: str) -> User:
    """The user of this name, or the end of the command."""
    return await kept.by_name(username) or refuse(f"there is no user {username}")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the async part of a command."""
    try:
        return anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except StoreUnavailable as error:
        raise Failure(f"database: {error}") from None


def print_json(value: object) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows for people, in columns as wide as needed."""
    table = [headings, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(epoch_seconds: int) -> str:
    """A moment for people and programs, RFC 3339."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refuse(message: str) -> NoReturn:
    """End the command: it could not be done."""
    raise Failure(message)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes: given on the command line, or by whoever sits at the terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misuse("no terminal to ask; say --yes")
    if not click.confirm(question, err=True):
        refuse("nothing was changed")


def read_password(*, from_stdin: bool) -> str:
    """A password: from standard input, or asked for twice without showing it. Never an argument, which
    others could list.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Misuse("no terminal to ask for the password; give it on standard input with --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt="Repeat it")
    return password
