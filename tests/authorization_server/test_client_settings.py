"""The settings about clients, in the file, and the command that hands out registration tokens."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mcpauth.commands import mcpauth
from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings
from tests.authorization_server.assertion_helpers import key

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = 'issuer = "https://auth.example"\ndatabase = "mcpauth.db"\n'
RESOURCE = """
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
[[resources.scopes]]
name = "notes:read"
description = "Read your notes"
"""


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "mcpauth.toml"
    path.write_text(f"{ISSUER}{text}\n{RESOURCE}")
    return load_settings(path, {})


def test_they_are_read_from_the_file(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
        registration_token_required = true
        registrations_per_hour = 5
        authorization_requests_per_hour = 7
        unconfirmed_client_lifetime = "2h"
        trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
        require_pushed_authorization_requests = true
        [client_id_metadata_documents]
        allow = ["claude.ai", "*.example.com"]
        deny = ["evil.example.com"]
        """,
    )
    assert settings.registration_token_required
    assert settings.registrations_per_hour == 5
    assert settings.authorization_requests_per_hour == 7
    assert settings.unconfirmed_client_lifetime == timedelta(hours=2)
    assert settings.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
    assert settings.require_pushed_authorization_requests
    assert not loaded(tmp_path, "").require_pushed_authorization_requests
    policy = DomainPolicy(allow=("claude.ai", "*.example.com"), deny=("evil.example.com",))
    assert settings.client_id_metadata_documents == policy


def test_documents_are_on_and_open_unless_they_are_set(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").client_id_metadata_documents == DomainPolicy()
    off = loaded(tmp_path, "[client_id_metadata_documents]\nenabled = false\n")
    assert not off.client_id_metadata_documents.enabled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("client_id_metadata_documents = true", r"must be written as a \[client_id_metadata_documents\]"),
        ("[[client_id_metadata_documents]]", "must be written as"),
        (
            "[client_id_metadata_documents]\nallowed = []",
            "documents.allowed: is no setting; did you mean allow",
        ),
        ("[client_id_metadata_documents]\nallow = 'x'", "documents.allow: must be a list of texts"),
        (
            "[client_id_metadata_documents]\ndeny = ['https://x.example']",
            "documents.deny: must be hosts such as",
        ),
        ("[client_id_metadata_documents]\nenabled = 1", "documents.enabled: must be true or false"),
        ("registrations_per_hour = 0", "registrations_per_hour: must be at least 1"),
        ("trusted_proxies = ['proxy.example']", "trusted_proxies: must be addresses or networks"),
    ],
)
def test_a_wrong_one_names_itself_and_the_mend(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        loaded(tmp_path, text)


def test_registration_tokens_are_made_listed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(f"{ISSUER}registration_token_required = true\n{RESOURCE}")

    def run(*arguments: str) -> str:
        config = str(tmp_path / "mcpauth.toml")
        result = CliRunner().invoke(mcpauth, ["registration-tokens", *arguments, "--config", config])
        assert result.exit_code == 0, result.output
        return result.stdout

    token = run("add", "--name", "the office", "--days", "30").strip()
    assert len(token) == 43
    (listed,) = json.loads(run("list", "--json"))
    assert listed["name"] == "the office"
    assert listed["expires_at"] - listed["created_at"] == 30 * 24 * 60 * 60
    assert token not in run("list")
    assert "Removed" in run("remove", listed["token_id"])
    assert "No registration tokens" in run("list")


def test_removing_a_token_that_is_not_there_fails_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(ISSUER + RESOURCE)
    arguments = ["registration-tokens", "remove", "nothing", "--config", str(tmp_path / "mcpauth.toml")]
    result = CliRunner().invoke(mcpauth, arguments)
    assert result.exit_code == 1
    assert result.stderr == "error: there is no registration token nothing\n"


def test_a_token_that_nobody_needs_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(ISSUER + RESOURCE)
    arguments = ["registration-tokens", "add", "--name", "x", "--config", str(tmp_path / "mcpauth.toml")]
    result = CliRunner().invoke(mcpauth, arguments)
    assert result.exit_code == 0
    assert "registration_token_required is off" in result.stderr


@pytest.mark.parametrize("option", ["--jwks", "--jwks-uri"])
def test_an_operator_registers_a_client_that_signs(tmp_path: Path, option: str) -> None:
    """It gets no secret: it has its keys."""
    (tmp_path / "mcpauth.toml").write_text(ISSUER + RESOURCE)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key().jwk]}))
    values = {"--jwks": str(tmp_path / "keys.json"), "--jwks-uri": "https://machine.example/jwks"}
    machine = ["--grant-type", "client_credentials", "--scope", "notes:read", option, values[option]]
    config = ["--json", "--config", str(tmp_path / "mcpauth.toml")]
    result = CliRunner().invoke(mcpauth, ["clients", "add", "--name", "Machine", *machine, *config])
    assert result.exit_code == 0, result.output
    client = json.loads(result.stdout)
    assert client["token_endpoint_auth_method"] == "private_key_jwt"
    assert {"jwks", "jwks_uri"} & client.keys() == {option.removeprefix("--").replace("-", "_")}
    assert "client_secret" not in client


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"keys": []}', json.dumps({"keys": [{"kty": "oct", "k": "AA"}]})]
)
def test_keys_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "mcpauth.toml").write_text(ISSUER + RESOURCE)
    (tmp_path / "keys.json").write_text(text)
    arguments = ["--redirect-uri", "https://a.example/cb", "--jwks", str(tmp_path / "keys.json")]
    config = ["--config", str(tmp_path / "mcpauth.toml")]
    result = CliRunner().invoke(mcpauth, ["clients", "add", "--name", "Signer", *arguments, *config])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
