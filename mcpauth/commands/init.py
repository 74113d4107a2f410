"""`mcpauth init`: writes a commented settings file that loads as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from mcpauth.commands.common import Failure


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("mcpauth.toml"))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(file: Path, *, force: bool) -> None:
    """Write a commented settings file to FILE (mcpauth.toml)."""
    text = files("mcpauth.commands").joinpath("mcpauth.toml").read_text(encoding="utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise Failure(f"{file} exists already; --force overwrites it") from None
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {file}. Next: mcpauth users add NAME, then mcpauth serve.")
