"""`mcpauth keys`: what an operator sees of the keys, and does with them."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.key_schedule import PUBLISHED_AHEAD
from tests.authorization_server.test_cli import Cli, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


def states(cli: Cli) -> list[str]:
    return [key["state"] for key in cli.json("keys", "list")]


def test_before_the_first_start_there_are_no_keys(cli: Cli) -> None:
    """Looking makes none."""
    assert "makes the first one" in cli("keys", "list").stdout
    assert cli.json("keys", "list") == []


def test_a_new_key_follows_and_can_be_taken_back(cli: Cli) -> None:
    added = cli.json("keys", "rotate")
    assert states(cli) == ["current", "next"]
    assert added["signs_from"] - added["created_at"] == PUBLISHED_AHEAD
    assert cli("keys", "rotate").stdout.startswith(added["kid"])
    assert cli.json("keys", "retire", added["kid"])["state"] == "retired"
    assert states(cli) == ["current"]


def test_a_key_in_use_is_retired_only_by_force(cli: Cli) -> None:
    cli("keys", "rotate")
    current = cli.json("keys", "list")[0]["kid"]
    assert "--force" in refused(cli("keys", "retire", current), 1)
    assert cli.json("keys", "list")[0]["kid"] == current
    assert cli("keys", "retire", current, "--force").exit_code == 0
    assert current not in [key["kid"] for key in cli.json("keys", "list")]
    assert "current" in states(cli)


def test_an_unknown_key_is_told(cli: Cli) -> None:
    assert refused(cli("keys", "retire", "nothing"), 1) == "error: there is no key nothing"


def test_the_algorithm_of_the_settings_makes_the_next_key(cli: Cli) -> None:
    cli("keys", "rotate")
    (_, first) = cli.json("keys", "list")
    cli("keys", "retire", first["kid"])
    cli.config.write_text('signing_algorithm = "EdDSA"\n' + cli.config.read_text())
    assert cli.json("keys", "rotate")["algorithm"] == "EdDSA"
    assert "EdDSA      next" in cli("keys", "list").stdout


def with_rs256(cli: Cli) -> None:
    """ID tokens are signed with an algorithm of their own."""
    cli.config.write_text('id_token_signing_algorithm = "RS256"\n' + cli.config.read_text())


def algorithms(cli: Cli) -> list[tuple[str, str]]:
    return [(key["algorithm"], key["state"]) for key in cli.json("keys", "list")]


def test_the_keys_of_every_algorithm_in_use_are_listed_and_changed(cli: Cli) -> None:
    with_rs256(cli)
    lines = cli("keys", "rotate", "--json").stdout.replace("}\n{", "}\n\n{").split("\n\n")
    added = [json.loads(line)["algorithm"] for line in lines]
    assert added == ["ES256", "RS256"], "one object for each"
    both = [("ES256", "current"), ("ES256", "next"), ("RS256", "current"), ("RS256", "next")]
    assert algorithms(cli) == both
    said = cli("keys", "rotate").stdout
    assert [line.split("(")[1][:5] for line in said.splitlines()] == ["ES256", "RS256"]
    assert algorithms(cli) == both


def test_the_keys_of_one_algorithm_are_changed_and_retired_alone(cli: Cli) -> None:
    with_rs256(cli)
    added = cli.json("keys", "rotate", "--algorithm", "RS256")
    assert algorithms(cli) == [("ES256", "current"), ("RS256", "current"), ("RS256", "next")]
    assert cli("keys", "retire", added["kid"]).exit_code == 0
    assert algorithms(cli) == [("ES256", "current"), ("RS256", "current")]
    usual, other = (key["kid"] for key in cli.json("keys", "list"))
    assert "--force" in refused(cli("keys", "retire", other), 1)
    assert cli("keys", "retire", other, "--force").exit_code == 0
    kids = [key["kid"] for key in cli.json("keys", "list")]
    assert usual in kids
    assert other not in kids
    assert algorithms(cli) == [("ES256", "current"), ("RS256", "current")]


def test_an_algorithm_without_use_is_not_rotated(cli: Cli) -> None:
    line = refused(cli("keys", "rotate", "--algorithm", "RS256"), 1)
    assert line == "error: the settings have nothing signed with RS256, only with ES256"
    assert cli.json("keys", "list") == [], "nothing was made"
    assert cli("keys", "rotate", "--algorithm", "HS256").exit_code == 2


def test_an_algorithm_that_the_settings_leave_is_listed_until_its_tokens_have_expired(cli: Cli) -> None:
    text = cli.config.read_text()
    with_rs256(cli)
    cli("keys", "rotate", "--algorithm", "RS256")
    cli.config.write_text(text)
    cli("keys", "rotate", "--algorithm", "ES256")  # a start, as far as keys go
    *_, left = cli.json("keys", "list")
    assert left["algorithm"] == "RS256"
    assert left["ends_at"] > left["signs_from"]


@pytest.mark.parametrize("line", ['signing_algorithm = "HS256"', 'signing_key_lifetime = "1h"'])
def test_wrong_settings_are_named(cli: Cli, line: str) -> None:
    cli.config.write_text(f"{line}\n" + cli.config.read_text())
    assert line.split()[0] in refused(cli("keys", "list"), 2)


def test_nothing_printed_holds_a_private_half(cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    printed = [cli("keys", "rotate").output, cli("keys", "list").output, cli("keys", "list", "--json").output]
    assert '"d"' not in "".join(printed) + caplog.text
    assert "private" not in "".join(printed) + caplog.text


def test_a_wrong_or_missing_encryption_key_stops_every_command_and_the_server(cli: Cli) -> None:
    """One line, and nothing is made anew."""
    right, wrong = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    before = cli("keys", "rotate", MCPAUTH_ENCRYPTION_KEY=right).stdout
    assert "MCPAUTH_ENCRYPTION_KEY" in refused(cli("keys", "list"), 1)
    for command in (("keys", "list"), ("users", "list"), ("clients", "list")):
        line = refused(cli(*command, MCPAUTH_ENCRYPTION_KEY=wrong), 1)
        assert "does not open its signing_key" in line
        assert right not in line
        assert wrong not in line
    started = subprocess.run(
        [sys.executable, "-m", "mcpauth", "serve", "--config", cli.config, "--port", "0"],
        env={**os.environ, "MCPAUTH_ENCRYPTION_KEY": wrong},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert started.returncode == 1
    assert started.stderr.splitlines()[-1].startswith("error: database: the encryption key does not open")
    assert "Traceback" not in started.stderr
    listed = cli("keys", "list", MCPAUTH_ENCRYPTION_KEY=right).stdout
    assert before.split()[0] in listed
