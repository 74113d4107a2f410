"""The command line: what an operator types, and what is said when it cannot work."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from mcpauth import __version__
from mcpauth.commands import mcpauth
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.settings_file import load_settings

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "correct horse battery"


class Cli:
    """Runs commands with one settings file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "mcpauth.toml"
        self.run_without_config("init", str(self.config))

    def run_without_config(self, *arguments: str, stdin: str | None = None, **environ: str) -> Result:
        environ = {"MCPAUTH_CONFIG": "", **environ}
        return CliRunner().invoke(mcpauth, arguments, input=stdin, env=environ)

    def __call__(self, *arguments: str, stdin: str | None = None, **environ: str) -> Result:
        return self.run_without_config(*arguments, "--config", str(self.config), stdin=stdin, **environ)

    def json(self, *arguments: str, stdin: str | None = None) -> Any:  # noqa: ANN401 - JSON
        result = self(*arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def add_user(self, username: str = "ada") -> None:
        result = self("users", "add", username, "--password-stdin", stdin=PASSWORD + "\n")
        assert result.exit_code == 0, result.output


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


def refused(result: Result, code: int) -> str:
    """The one line of a refusal."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr.strip()


def test_init_writes_a_file_that_loads_as_it_is(cli: Cli) -> None:
    settings = load_settings(cli.config, {})
    assert settings.issuer == "http://127.0.0.1:9000"
    assert settings.default_resource == "http://127.0.0.1:8000/mcp"
    assert [scope.default for scope in settings.resources[0].scopes] == [True, False]


def test_the_commented_lines_of_the_file_load_too(cli: Cli) -> None:
    """What somebody may uncomment is right."""
    text = cli.config.read_text().replace("# private_use_schemes", "private_use_schemes")
    cli.config.write_text(text.replace("# audit_journal", "audit_journal"))
    settings = load_settings(cli.config, {})
    assert "cursor" in settings.private_use_schemes
    assert settings.audit_journal == str(cli.folder / "mcpauth.audit.jsonl")


def test_the_commented_issuers_of_the_file_load_once_a_client_is_named(cli: Cli) -> None:
    text = cli.config.read_text()
    begin, end = text.index("# [[trusted_issuers]]"), text.index("# What one protected server may do")
    lines = [
        line.removeprefix("# ") if re.match(r"# (\[\[|[a-z_]+ = )", line) else line
        for line in text[begin:end].splitlines()
    ]
    cli.config.write_text(text[:begin] + "\n".join(lines) + "\n" + text[end:])
    idp, ci = load_settings(cli.config, {}).trusted_issuers
    assert (idp.kind, idp.client_ids, idp.provision) == ("id-jag", ("CLIENT_ID",), False)
    assert (ci.kind, ci.workloads[0].client_id) == ("workload", "notes-ci")


def test_init_overwrites_only_when_forced(cli: Cli) -> None:
    cli.config.write_text("# mine\n")
    line = refused(cli.run_without_config("init", str(cli.config)), 1)
    assert line.endswith("mcpauth.toml exists already; --force overwrites it")
    assert cli.config.read_text() == "# mine\n"
    assert cli.run_without_config("init", str(cli.config), "--force").exit_code == 0
    assert cli.config.read_text() != "# mine\n"


def test_the_settings_file_is_found(cli: Cli) -> None:
    """--config, then MCPAUTH_CONFIG, then mcpauth.toml in the current folder."""
    assert cli.run_without_config("users", "list").exit_code == 0
    elsewhere = cli.folder / "elsewhere.toml"
    cli.config.rename(elsewhere)
    line = refused(cli.run_without_config("users", "list"), 2)
    assert line.startswith("error: no settings: run `mcpauth init`")
    assert cli.run_without_config("users", "list", MCPAUTH_CONFIG=str(elsewhere)).exit_code == 0


@pytest.mark.parametrize("command", [("serve",), ("users", "list"), ("clients", "list")])
def test_a_wrong_setting_is_one_line_and_exit_code_2(cli: Cli, command: tuple[str, ...]) -> None:
    cli.config.write_text('issuer = "http://a.example"\n')
    line = refused(cli(*command), 2)
    assert line == (
        "error: mcpauth.toml: issuer: must be https (got http://a.example); http is allowed only on loopback"
    )


def test_users_are_added_listed_disabled_and_enabled(cli: Cli) -> None:
    cli.add_user("Ada")
    [user] = cli.json("users", "list")
    assert user["username"] == "Ada"
    assert user["disabled"] is False
    assert set(user) == {"username", "user_id", "disabled", "created_at", "identities"}
    assert cli("users", "disable", "ada").exit_code == 0
    assert cli.json("users", "list")[0]["disabled"] is True
    assert "disabled" in cli("users", "list").stdout
    assert cli("users", "enable", "ada").exit_code == 0
    assert cli.json("users", "list")[0] == user


def test_a_user_name_is_taken_once(cli: Cli) -> None:
    cli.add_user("ada")
    result = cli("users", "add", "ADA", "--password-stdin", stdin=PASSWORD)
    assert refused(result, 1) == "error: there is a user ADA already"
    assert len(cli.json("users", "list")) == 1


@pytest.mark.parametrize("command", ["disable", "enable", "passwd"])
def test_an_unknown_user_is_named(cli: Cli, command: str) -> None:
    options = ["--password-stdin"] if command == "passwd" else []
    assert refused(cli("users", command, "eve", *options, stdin=PASSWORD), 1) == "error: there is no user eve"


def test_a_new_password_replaces_the_old_one(cli: Cli) -> None:
    cli.add_user()
    before = (cli.folder / "mcpauth.db").read_bytes()
    assert cli("users", "passwd", "ada", "--password-stdin", stdin="another password").exit_code == 0
    assert (cli.folder / "mcpauth.db").read_bytes() != before


def test_without_a_terminal_the_password_comes_on_standard_input_only_when_told(cli: Cli) -> None:
    result = cli("users", "add", "ada", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert refused(result, 2).endswith("give it on standard input with --password-stdin")
    assert cli.json("users", "list") == []


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(cli: Cli) -> None:
    """An argument, or an echo, could be read by somebody else."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mcpauth", "users", "add", "ada", "--config", str(cli.config)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        for prompt in (b"Password:", b"Repeat it:"):
            while prompt not in shown:
                shown += os.read(ours, 1024)
            os.write(ours, PASSWORD.encode() + b"\n")
        while b"Added ada" not in shown:
            shown += os.read(ours, 1024)
        assert process.wait(10) == 0
    os.close(ours)
    assert PASSWORD.encode() not in shown
    assert [user["username"] for user in cli.json("users", "list")] == ["ada"]


@pytest.mark.parametrize("password", ["", "short", "x" * 2000])
def test_a_password_that_is_too_short_or_long_is_refused(cli: Cli, password: str) -> None:
    line = refused(cli("users", "add", "ada", "--password-stdin", stdin=password + "\n"), 2)
    assert line.startswith("error: a password has at ")
    assert cli.json("users", "list") == []


def test_a_client_is_added_and_its_secret_is_shown_once(cli: Cli) -> None:
    client = cli.json(
        "clients", "add", "--name", "Robo", "--redirect-uri", "https://robo.example/cb", "--confidential"
    )
    assert client["token_endpoint_auth_method"] == "client_secret_basic"
    assert client["client_secret"]
    listed = cli.json("clients", "list")
    assert [each["client_id"] for each in listed] == [client["client_id"]]
    assert listed[0]["source"] == "pre-registered"
    assert "client_secret" not in listed[0]
    assert client["client_secret"].encode() not in (cli.folder / "mcpauth.db").read_bytes()


def test_a_public_client_has_no_secret_and_may_have_several_redirect_uris(cli: Cli) -> None:
    result = cli(
        "clients", "add", "--name", "Robo",
        "--redirect-uri", "http://127.0.0.1/cb", "--redirect-uri", "cursor://x/cb",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "client_id" in result.stdout
    assert "secret" not in result.output
    assert cli.json("clients", "list")[0]["redirect_uris"] == ["http://127.0.0.1/cb", "cursor://x/cb"]


def test_a_client_for_devices_needs_no_redirect_uri(cli: Cli) -> None:
    """RFC 8628 has no redirect; with redirect URIs the client has both ways."""
    cli.config.write_text(f"device_authorization = true\n{cli.config.read_text()}")
    options = ("clients", "add", "--name", "Robo TV", "--grant-type", "device_code")
    client = cli.json(*options)
    assert client["redirect_uris"] == []
    assert client["grant_types"] == ["refresh_token", DEVICE_CODE]
    assert client["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in client
    both = cli.json(*options, "--redirect-uri", "https://robo.example/cb", "--confidential")
    assert both["grant_types"] == ["authorization_code", "refresh_token", DEVICE_CODE]
    assert both["client_secret"]


def test_a_client_for_devices_is_refused_where_they_may_not_ask(cli: Cli) -> None:
    line = refused(cli("clients", "add", "--name", "Robo TV", "--grant-type", "device_code"), 2)
    assert line == ("error: --grant-type: device_code needs device_authorization = true in the settings")
    assert cli.json("clients", "list") == []


@pytest.mark.parametrize("uri", ["http://evil.example/cb", "javascript:alert(1)", "https://a.example/cb#x"])
def test_a_redirect_uri_that_is_not_safe_is_refused(cli: Cli, uri: str) -> None:
    line = refused(cli("clients", "add", "--name", "Robo", "--redirect-uri", uri), 2)
    assert line.startswith("error: invalid_redirect_uri: ")
    assert cli.json("clients", "list") == []


def test_a_client_is_removed(cli: Cli) -> None:
    client = cli.json("clients", "add", "--name", "Robo", "--redirect-uri", "https://robo.example/cb")
    assert cli("clients", "remove", client["client_id"]).exit_code == 0
    assert cli.json("clients", "list") == []
    assert refused(cli("clients", "remove", client["client_id"]), 1).startswith("error: there is no client")


def test_a_name_cannot_move_the_cursor_in_a_list(cli: Cli) -> None:
    cli("clients", "add", "--name", "\x1b[2J\u202eevil", "--redirect-uri", "https://robo.example/cb")
    listed = cli("clients", "list").stdout
    assert "\x1b" not in listed
    assert "\u202e" not in listed


def test_a_database_in_memory_has_nothing_to_manage(cli: Cli) -> None:
    result = cli("users", "list", MCPAUTH_DATABASE="memory:")
    assert refused(result, 2).startswith("error: database: memory: ends with each process")


def test_a_database_that_cannot_be_opened_is_one_line(cli: Cli) -> None:
    result = cli("users", "list", MCPAUTH_DATABASE=str(cli.folder / "no such folder" / "a.db"))
    assert refused(result, 1).startswith("error: database: ")


def test_empty_lists_say_what_to_do(cli: Cli) -> None:
    assert "mcpauth users add NAME" in cli("users", "list").stdout
    assert "mcpauth clients add --help" in cli("clients", "list").stdout


@pytest.mark.parametrize(
    "command",
    [
        (), ("serve",), ("init",),
        ("users",), ("users", "add"), ("users", "list"), ("users", "passwd"), ("users", "disable"),
        ("users", "enable"),
        ("clients",), ("clients", "add"), ("clients", "list"), ("clients", "remove"),
        ("grants",), ("grants", "list"), ("grants", "revoke"),
    ],
)  # fmt: skip
def test_every_command_explains_itself(cli: Cli, command: tuple[str, ...]) -> None:
    result = cli.run_without_config(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert "password PASSWORD" not in result.stdout.lower()


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "mcpauth"], [sys.executable.replace("python", "mcpauth")]]
)
def test_the_version_is_told(command: list[str]) -> None:
    ran = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == f"mcpauth, version {__version__}\n"


def test_without_the_extra_one_line_says_what_to_install() -> None:
    """The middleware's own dependencies do not run a server."""
    hide = "import sys; sys.modules['click'] = None; from mcpauth.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == (
        "mcpauth: the command line and the authorization server need an extra;"
        " run: pip install 'mcpauth-kit[server]'\n"
    )
