"""Settings: read from a file and the environment, wrong ones refused with the field and the mend."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOTES = Resource("https://notes.example/mcp", "Notes", (Scope("notes:read", "Read notes"),))
RESOURCE = """
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
[[resources.scopes]]
name = "notes:read"
description = "Read notes"
"""
MINIMAL = 'issuer = "https://auth.example"\n'


def loaded(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = tmp_path / "mcpauth.toml"
    path.write_text(text)
    return load_settings(path, environ or {})


def refusal(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text, environ)
    return str(caught.value)


def test_a_file_gives_every_setting(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
issuer = "https://auth.example/tenant"
database = "memory:"
host = "::1"
port = 9100
access_token_lifetime = "90s"
refresh_token_idle_lifetime = "7d"
refresh_token_absolute_lifetime = "30d"
session_lifetime = "8h"
registration = false
private_use_schemes = ["cursor"]
audit_journal = "-"

[[resources]]
identifier = "HTTPS://Notes.example:443/mcp"
name = "Notes"
[[resources.scopes]]
name = "notes:read"
description = "Read notes"
[[resources.scopes]]
name = "notes:write"
description = "Write notes"
implies = ["notes:read"]
default = false

[[resources]]
identifier = "https://tasks.example/"
name = "Tasks"
default = true
[[resources.scopes]]
name = "tasks"
description = "Tasks"
""",
    )
    assert settings == Settings(
        issuer="https://auth.example/tenant",
        resources=(
            Resource(
                "https://notes.example/mcp",
                "Notes",
                (
                    Scope("notes:read", "Read notes"),
                    Scope("notes:write", "Write notes", implies=("notes:read",), default=False),
                ),
            ),
            Resource("https://tasks.example", "Tasks", (Scope("tasks", "Tasks"),)),
        ),
        default_resource="https://tasks.example",
        database="memory:",
        host="::1",
        port=9100,
        access_token_lifetime=timedelta(seconds=90),
        refresh_token_idle_lifetime=timedelta(days=7),
        refresh_token_absolute_lifetime=timedelta(days=30),
        session_lifetime=timedelta(hours=8),
        registration=False,
        private_use_schemes=("cursor",),
        audit_journal="-",
    )
    assert settings.path == "/tenant"
    assert settings.secure
    assert settings.in_memory


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    settings = loaded(tmp_path, MINIMAL + RESOURCE)
    assert settings.access_token_lifetime == timedelta(minutes=10)
    assert settings.registration is True
    assert settings.device_authorization is False
    assert settings.host == "127.0.0.1"
    assert settings.path == ""


def test_settings_have_no_secret() -> None:
    """What has no setting cannot have a default: the server makes its secrets itself."""
    names = {field.name for field in dataclasses.fields(Settings)}
    names -= {"signing_key_lifetime", "encryption_keys"}
    assert not [name for name in names if "secret" in name or "key" in name]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Every command finds the same database wherever it is started."""
    settings = loaded(
        tmp_path, MINIMAL + 'database = "data/auth.db"\naudit_journal = "/var/log/a"\n' + RESOURCE
    )
    assert settings.database == str(tmp_path / "data/auth.db")
    assert settings.audit_journal == "/var/log/a"
    assert loaded(tmp_path, MINIMAL + RESOURCE).database == str(tmp_path / "mcpauth.db")


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {
        "MCPAUTH_ISSUER": "https://other.example",
        "MCPAUTH_PORT": "9001",
        "MCPAUTH_DATABASE": "memory:",
        "MCPAUTH_REGISTRATION": "false",
        "MCPAUTH_DEVICE_AUTHORIZATION": "true",
        "MCPAUTH_ACCESS_TOKEN_LIFETIME": "5m",
        "MCPAUTH_PRIVATE_USE_SCHEMES": "cursor, vscode",
        "MCPAUTH_CONFIG": "elsewhere.toml",
        "MCPAUTH_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
    }
    settings = loaded(tmp_path, MINIMAL + RESOURCE, environ)
    assert settings.issuer == "https://other.example"
    assert settings.device_authorization is True
    assert settings.port == 9001
    assert settings.in_memory
    assert settings.registration is False
    assert settings.access_token_lifetime == timedelta(minutes=5)
    assert settings.private_use_schemes == ("cursor", "vscode")


@pytest.mark.parametrize(
    ("issuer", "mend"),
    [
        ("", "is missing: the https URL"),
        ("http://a.example", "must be https (got http://a.example); http is allowed only on loopback"),
        ("http://127.0.0.1.evil.example", "must be https"),
        ("https://auth.example/", "use https://auth.example"),
        ("https://auth.example/tenant/", "use https://auth.example/tenant"),
        (
            "https://auth.example?x=1",
            "must have no query and no fragment (RFC 8414 §2): use https://auth.example",
        ),
        ("https://auth.example#x", "must have no query and no fragment"),
        ("https://Auth.example", "its host in lower case"),
        ("https://user:password@auth.example", "must be a URL such as"),
        ("https://auth.example/a/../b", "must be a URL such as"),
        ("https://auth.example/{path}", "must be a URL such as"),
        ("https://auth.example/a%2Fb", "must be a URL such as"),
        ("https://auth.example//a", "must be a URL such as"),
        ("https://auth example", "must be a URL such as"),
        ("https://", "must be a URL such as"),
        ("https://user:password@auth.example/", "must be a URL such as"),
        ("ftp://auth.example", "must be https"),
        ("auth.example", "must be a URL such as"),
    ],
)
def test_an_issuer_that_cannot_work_is_refused(tmp_path: Path, issuer: str, mend: str) -> None:
    """RFC 8414 §2: an https URL without query or fragment; clients compare it byte for byte."""
    message = refusal(tmp_path, f'issuer = "{issuer}"\n' + RESOURCE)
    assert message.startswith("mcpauth.toml: issuer: ")
    assert mend in message


@pytest.mark.parametrize(
    "issuer",
    [
        "https://auth.example",
        "https://auth.example:8443/a/b",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://localhost",
    ],
)
def test_an_issuer_that_works_is_kept_byte_for_byte(issuer: str) -> None:
    assert Settings(issuer, (NOTES,)).issuer == issuer


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('isuer = "x"', "isuer: is no setting; did you mean issuer?"),
        ("zzz = 1", "zzz: is no setting; known are access_token_lifetime, "),
        ('port = "9000"', "port: must be a whole number (got '9000')"),
        ("port = true", "port: must be a whole number (got True)"),
        ("port = 70000", "port: must be between 0 and 65535 (got 70000)"),
        ('registration = "yes"', "registration: must be true or false (got 'yes')"),
        ("session_lifetime = 3600", 'session_lifetime: must be a duration such as "90s"'),
        ('session_lifetime = "1w"', "session_lifetime: must be a duration"),
        ('session_lifetime = "0s"', "session_lifetime: must be between 1s and"),
        ('session_lifetime = "999999999d"', "session_lifetime: must be between 1s and"),
        ('access_token_lifetime = "2d"', "access_token_lifetime: must be between 1s and 24h"),
        (
            'refresh_token_absolute_lifetime = "1d"',
            "refresh_token_absolute_lifetime: must not be shorter than",
        ),
        ("database = 1", "database: must be text in quotes (got 1)"),
        ('database = ""', "database: must not be empty"),
        ('host = "a\\u0000"', "host: must not contain control characters"),
        ('private_use_schemes = "cursor"', "private_use_schemes: must be a list of texts"),
        ('private_use_schemes = ["Cursor:"]', "private_use_schemes: must be schemes without a colon"),
        (
            'private_use_schemes = ["javascript"]',
            "private_use_schemes: must be schemes that belong to one application",
        ),
        ("resources = 1", "resources: must be written as [[resources]] tables"),
        ("resources = [1]", "resources: must be written as [[resources]] tables"),
    ],
)
def test_a_wrong_value_names_the_field_and_the_mend(tmp_path: Path, line: str, message: str) -> None:
    text = MINIMAL + line + "\n" + ("" if line.startswith("resources") else RESOURCE)
    assert refusal(tmp_path, text).startswith(f"mcpauth.toml: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "resources: declare at least one"),
        ('[[resources]]\nname = "Notes"\n', "resources[1].identifier: is missing"),
        ('[[resources]]\nidentifier = "https://a.example"\n', "resources[1].name: is missing"),
        (
            '[[resources]]\nidentifier = "notes"\nname = "Notes"\n',
            "resources[1].identifier: must be an absolute URI",
        ),
        (
            RESOURCE.replace("description", "descripton"),
            "resources[1].scopes[1].descripton: is no setting; did you mean description?",
        ),
        (RESOURCE.replace('"notes:read"', "1"), "resources[1].scopes[1].name: must be text"),
        (
            RESOURCE.replace("[[resources.scopes]]", "[[resources.scope]]"),
            "resources[1].scope: is no setting; did you mean scopes?",
        ),
        (
            RESOURCE + 'implies = ["nothing"]\n',
            "resources: scope notes:read of https://notes.example/mcp implies nothing",
        ),
        (RESOURCE + RESOURCE, "resources: two have the same identifier"),
    ],
)
def test_a_wrong_resource_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, MINIMAL + text).startswith(f"mcpauth.toml: {message}")


def test_two_default_resources_are_refused(tmp_path: Path) -> None:
    first = RESOURCE.replace('name = "Notes"', 'name = "Notes"\ndefault = true')
    message = refusal(tmp_path, MINIMAL + first + first.replace("notes.example", "tasks.example"))
    assert "only one can be the default" in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "MCPAUTH_ISSUER",
            "http://a.example",
            "environment: MCPAUTH_ISSUER: must be https (got http://a.example)",
        ),
        (
            "MCPAUTH_PORT",
            "tcp://10.0.0.1:80",
            "environment: MCPAUTH_PORT: must be a whole number (got 'tcp://10.0.0.1:80')",
        ),
        (
            "MCPAUTH_REGISTRATION",
            "maybe",
            "environment: MCPAUTH_REGISTRATION: must be true or false (got 'maybe')",
        ),
        (
            "MCPAUTH_ISUER",
            "https://a.example",
            "environment: MCPAUTH_ISUER: is no setting; did you mean MCPAUTH_ISSUER?",
        ),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    assert refusal(tmp_path, MINIMAL + RESOURCE, {name: value}).startswith(message)


def test_settings_can_come_from_the_environment_alone_but_for_the_resources() -> None:
    with pytest.raises(ConfigurationError, match=r"^environment: resources: declare at least one"):
        load_settings(None, {"MCPAUTH_ISSUER": "https://auth.example"})


def test_http_listens_on_loopback_only(tmp_path: Path) -> None:
    """Passwords and tokens do not cross a network in clear."""
    text = 'issuer = "http://127.0.0.1:9000"\nhost = "0.0.0.0"\n' + RESOURCE
    assert "host: must be a loopback address" in refusal(tmp_path, text)
    behind_proxy = text.replace("http://127.0.0.1:9000", "https://auth.example")
    assert loaded(tmp_path, behind_proxy).host == "0.0.0.0"  # noqa: S104 - the very subject


@pytest.mark.parametrize("content", [b"issuer = ", b"\xff\xfe", b'a = "1"\na = "2"\n'])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mcpauth.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"^mcpauth.toml: is not TOML: "):
        load_settings(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.toml: cannot be read: No such file"):
        load_settings(tmp_path / "none.toml", {})
