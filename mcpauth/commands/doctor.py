"""`mcpauth doctor`: what is wrong with this deployment, and what to do about it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import anyio
import click

from mcpauth.commands.common import config_option, find_config, json_option, print_json
from mcpauth.doctor.asking import Asker
from mcpauth.doctor.database import Published, of_database
from mcpauth.doctor.files import of_audit_journal, of_private_file, of_settings
from mcpauth.doctor.finding import Finding, failed
from mcpauth.doctor.issuer import of_issuer
from mcpauth.doctor.resource import of_resource
from mcpauth.pages.text import shown
from mcpauth.settings import ConfigurationError
from mcpauth.settings_file import encryption_key_file, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

_LONGEST = 400
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@click.option("--offline", is_flag=True, help="Look at this machine's files only; ask no server.")
@config_option
@json_option
def doctor(*, offline: bool, config: Path | None, as_json: bool) -> None:
    """Check a deployment: settings, files, database, and the servers as clients reach them.

    Nothing is changed. The exit status is 1 when a check has failed.
    """
    found: list[Finding] = []

    async def work() -> None:
        async for finding in _examine(config, offline=offline):
            found.append(finding)
            if not as_json:
                _print(finding)

    anyio.run(work)
    count = {state: sum(finding.state == state for finding in found) for state in _COLOURS}
    if as_json:
        print_json({"ok": not count["failed"], "findings": [asdict(finding) for finding in found]})
    else:
        click.echo(f"{count['ok']} ok, {count['warning']} to look at, {count['failed']} failed.")
    if count["failed"]:
        sys.exit(1)


async def _examine(
    config: Path | None, *, offline: bool, now: Callable[[], float] = time.time
) -> AsyncGenerator[Finding]:
    path = find_config(config)
    if path is None and "MCPAUTH_ISSUER" not in os.environ:
        yield failed("settings", "there are none", "`mcpauth init` writes mcpauth.toml; --config names it")
        return
    try:
        settings = load_settings(path, os.environ)
        key_file = encryption_key_file(path, os.environ)
    except ConfigurationError as error:
        yield failed("settings", str(error), "correct it; docs/authorization-server.md has every setting")
        return
    for finding in (*of_settings(settings, path), *of_audit_journal(settings)):
        yield finding
    if key_file is not None:
        for finding in of_private_file("encryption key", key_file):
            yield finding
    published = Published()
    async for finding in of_database(settings, published):
        yield finding
    if offline:
        return
    async with Asker() as asker:
        async for finding in of_issuer(settings, asker, published.jwks, now):
            yield finding
        for resource in settings.resources:
            async for finding in of_resource(settings.issuer, resource, asker):
                yield finding


def _print(finding: Finding) -> None:
    state = click.style(finding.state.ljust(8), fg=_COLOURS[finding.state])
    # Some of it was said by other servers: what could move the cursor or reverse the line is taken out.
    click.echo(f"{state} {finding.check}: {shown(finding.text, _LONGEST)}")
    if finding.mend is not None:
        click.echo(f"         -> {shown(finding.mend, _LONGEST)}")
