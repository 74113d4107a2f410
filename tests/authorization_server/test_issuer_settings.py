"""`[[trusted_issuers]]` in the settings file: nobody is trusted by accident, each mistake has its line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mcpauth.commands import mcpauth
from mcpauth.oauth.trusted_issuer import TrustedIssuer, Workload
from mcpauth.settings import ConfigurationError, Settings
from mcpauth.settings_file import load_settings
from tests.authorization_server.assertion_helpers import key

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
issuer = "https://auth.example"
database = "mcpauth.db"
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
default = true
[[resources.scopes]]
name = "notes:read"
description = "Read your notes"
[[resources]]
identifier = "https://tasks.example/mcp"
name = "Tasks"
[[resources.scopes]]
name = "tasks:read"
description = "Read your tasks"
"""
IDP = {
    "issuer": '"https://idp.example"',
    "kind": '"id-jag"',
    "jwks_uri": '"https://idp.example/jwks"',
    "client_ids": '["client"]',
    "resources": '["https://NOTES.example/mcp"]',
    "scopes": '["notes:read"]',
}
PLATFORM = {
    "issuer": '"https://platform.example"',
    "kind": '"workload"',
    "jwks_uri": '"https://platform.example/jwks"',
}
JOB = {
    "subject": '"repo:acme/app:ref:refs/heads/main"',
    "client_id": '"deployer"',
    "resources": '["https://notes.example/mcp"]',
    "scopes": '["notes:read"]',
}


def table(name: str, values: dict[str, str | None]) -> str:
    lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
    return "\n".join([f"[[{name}]]", *lines, ""])


def idp(**changed: str | None) -> str:
    return table("trusted_issuers", {**IDP, **changed})


def platform(*jobs: str, **changed: str | None) -> str:
    return "\n".join([table("trusted_issuers", {**PLATFORM, **changed}), *(jobs or (job(),))])


def job(**changed: str | None) -> str:
    return table("trusted_issuers.workloads", {**JOB, **changed})


def loaded(folder: Path, text: str) -> Settings:
    path = folder / "mcpauth.toml"
    path.write_text(f"{SERVER}\n{text}")
    return load_settings(path, {})


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, text)
    return str(caught.value)


def test_without_one_nobody_is_trusted(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    assert settings.trusted_issuers == ()
    assert not settings.trusted()


def test_they_are_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key().with_kid("one")]}))
    settings = loaded(
        tmp_path,
        idp(algorithms='["EdDSA"]', max_assertion_lifetime='"2m"', tenant='"acme"', provision="true")
        + platform(
            job(),
            job(subject='"repo:acme/infra:*"', client_id='"infra"'),
            jwks_uri=None,
            jwks_file='"keys.json"',
            audience='"mcpauth"',
            single_use="false",
        ),
    )
    provider, runner = settings.trusted_issuers
    assert provider == TrustedIssuer(
        "https://idp.example",
        "id-jag",
        jwks_uri="https://idp.example/jwks",
        algorithms=("EdDSA",),
        max_assertion_lifetime=timedelta(minutes=2),
        client_ids=("client",),
        resources=("https://NOTES.example/mcp",),
        scopes=("notes:read",),
        tenant="acme",
        provision=True,
    )
    assert (runner.audience, runner.single_use) == ("mcpauth", False)
    assert runner.jwks == {"keys": [key().with_kid("one")]}
    assert [each.client_id for each in runner.workloads] == ["deployer", "infra"]
    checked = settings.trusted().find("id-jag", "https://idp.example")
    assert checked is not None
    assert checked.resources == ("https://notes.example/mcp",)
    assert checked.lifetime == 120


def test_defaults_allow_nothing_that_is_not_said(tmp_path: Path) -> None:
    provider, runner = loaded(tmp_path, idp() + platform()).trusted_issuers
    assert provider.algorithms == ("ES256", "RS256", "EdDSA", "Ed25519")
    assert (provider.lifetime, runner.lifetime) == (600, 3600)
    assert not provider.provision
    assert not provider.public_clients
    assert not provider.private_network
    assert runner.single_use


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            table("trusted_issuers", {**PLATFORM, "workloads": '["x"]'}),
            "trusted_issuers[1].workloads: must be written as [[trusted_issuers.workloads]] tables",
        ),
        (idp(client_id='"x"'), "trusted_issuers[1].client_id: is no setting; did you mean client_ids?"),
        (idp(issuer=None), "trusted_issuers[1].issuer: is missing"),
        (idp(kind=None), "trusted_issuers[1].kind: is missing"),
        (idp(kind='"saml"'), "trusted_issuers[1].kind: must be one of id-jag, workload (got 'saml')"),
        (idp(issuer='"idp"'), "trusted_issuers[1].issuer: must be the iss of its assertions, such as"),
        (idp(issuer='"http://idp.example"'), "issuer: must be https (got http://idp.example)"),
        (idp(issuer='"spiffe://idp.example"'), "issuer: must be the iss of its assertions"),
        (
            idp(issuer='"https://auth.example"'),
            "issuer: is this server itself, whose tokens are no assertions",
        ),
        (idp(issuer='"https://auth.example/"'), "issuer: is this server itself"),
        (idp() + idp(), "trusted_issuers: two have the same issuer and kind; write one"),
        (idp(jwks_uri=None), "trusted_issuers[1].jwks_uri: name where its keys are, or give a jwks_file"),
        (idp(jwks_uri='"http://idp.example/jwks"'), "jwks_uri: must be an https URL"),
        (idp(jwks_uri='"https://10.0.0.1/jwks"'), "jwks_uri: must be an https URL"),
        (
            idp(jwks_uri='"https://idp.corp.internal/jwks"'),
            "jwks_uri: must be an https URL (the host is a local name); private_network = true",
        ),
        (idp(private_network="1"), "trusted_issuers[1].private_network: must be true or false (got 1)"),
        (
            idp(algorithms='["HS256"]'),
            "trusted_issuers[1].algorithms: must be some of ES256, ES384, Ed25519, EdDSA,",
        ),
        (idp(algorithms='["none"]'), "algorithms: must be some of"),
        (idp(algorithms="[]"), "algorithms: must be some of"),
        (idp(algorithms='"ES256"'), "algorithms: must be a list of texts"),
        (idp(max_assertion_lifetime="60"), "max_assertion_lifetime: must be a duration such as"),
        (idp(max_assertion_lifetime='"0s"'), "max_assertion_lifetime: must be between 1s and 24h"),
        (idp(max_assertion_lifetime='"2d"'), "max_assertion_lifetime: must be between 1s and 24h"),
        (idp(client_ids=None), "client_ids: name the clients that may hand in its assertions"),
        (idp(client_ids='[""]'), "client_ids: name the clients that may hand in its assertions"),
        (idp(resources=None), "resources: name where its tokens are good; without it nowhere"),
        (idp(scopes=None), "scopes: name the most that its tokens can have; without it nothing"),
        (
            idp(resources='["https://x.example"]'),
            "trusted_issuers[1].resources: https://x.example is not declared; known are https://notes",
        ),
        (idp(scopes='["notes:write"]'), "scopes: notes:write is not one of https://notes.example/mcp"),
        (
            idp(resources='["https://notes.example/mcp", "https://tasks.example/mcp"]'),
            "resources: https://tasks.example/mcp has none of the scopes",
        ),
        (idp(tenant='""'), "tenant: must not be empty"),
        (idp(provision='"yes"'), "provision: must be true or false"),
        (idp(audience='"x"'), "audience: is not for kind = 'id-jag'; leave it out"),
        (idp(single_use="false"), "single_use: is not for kind = 'id-jag'; leave it out"),
        (idp() + job(), "workloads: is not for kind = 'id-jag'; leave it out"),
        (platform(client_ids='["x"]'), "client_ids: is not for kind = 'workload'; leave it out"),
        (platform(provision="true"), "provision: is not for kind = 'workload'; leave it out"),
        (platform(scopes='["notes:read"]'), "scopes: is not for kind = 'workload'; leave it out"),
        (platform(audience='""'), "trusted_issuers[1].audience: must not be empty"),
        (table("trusted_issuers", {**PLATFORM}), "trusted_issuers[1].workloads: name at least one"),
        (idp() + platform(job(subject=None)), "trusted_issuers[2].workloads[1].subject: is missing"),
        (
            platform(job(sub='"x"')),
            "trusted_issuers[1].workloads[1].sub: is no setting; did you mean subject?",
        ),
        (platform(job(subject='"*"')), "workloads[1].subject: must be a whole sub, or its beginning"),
        (platform(job(subject='"a:*:b"')), "workloads[1].subject: must be a whole sub, or its beginning"),
        (platform(job(subject='"a:**"')), "workloads[1].subject: must be a whole sub, or its beginning"),
        (platform(job(subject='"repo:acme/app*"')), "workloads[1].subject: must have a : or / before the *"),
        (platform(job(), job()), "workloads[2].subject: repo:acme/app:ref:refs/heads/main is there already"),
        (platform(job(client_id='"a b"')), "workloads[1].client_id: must be a name of your own"),
        (platform(job(client_id=f'"{"a" * 32}"')), "workloads[1].client_id: must be a name of your own"),
        (
            platform(job(client_id='"https://x.example/"')),
            "workloads[1].client_id: must be a name of your own",
        ),
        (platform(job(scopes="[]")), "workloads[1].scopes: is missing"),
        (
            platform(job(scopes='["x"]')),
            "trusted_issuers[1].workloads[1].scopes: x is not one of https://notes",
        ),
        (
            idp(client_ids='["deployer"]') + platform(),
            "trusted_issuers[1].client_ids: deployer is the name of a workload",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field_and_the_mend(
    tmp_path: Path, text: str, message: str
) -> None:
    line = refusal(tmp_path, text)
    assert message in line
    assert line.startswith("mcpauth.toml: trusted_issuers")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON"),
        ("[]", "is no JWK Set: no keys member"),
        ('{"keys": {}}', "is no JWK Set: no keys member"),
        ('{"keys": []}', "has no public key for ES256, RS256, EdDSA, Ed25519"),
        ('{"keys": [{"kty": "oct", "k": "AAAA"}]}', "has a private or shared key; give the public ones"),
        (json.dumps({"keys": [key().jwk | {"d": "AAAA"}]}), "has a private or shared key"),
        (json.dumps({"keys": [key().jwk | {"use": "enc"}]}), "has no public key for"),
    ],
)
def test_a_file_of_keys_has_public_keys(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    line = refusal(tmp_path, idp(jwks_uri=None, jwks_file='"keys.json"'))
    assert "trusted_issuers[1].jwks_file: " in line
    assert message in line
    assert "AAAA" not in line


def test_keys_are_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key().jwk]}))
    line = refusal(tmp_path, idp(jwks_file='"keys.json"'))
    assert "jwks_uri: name where its keys are, or give a jwks_file with them; one of the two" in line
    line = refusal(tmp_path, idp(jwks_uri=None, jwks_file='"keys.json"', private_network="true"))
    assert "private_network: is for jwks_uri" in line


def test_a_whole_subject_counts_before_a_beginning_and_the_longer_beginning_before_the_shorter() -> None:
    def workload(subject: str, name: str) -> Workload:
        return Workload(subject, name, ("https://notes.example/mcp",), ("notes:read",))

    issuer = TrustedIssuer(
        "https://platform.example",
        "workload",
        workloads=(
            workload("repo:acme/*", "any"),
            workload("repo:acme/app:*", "app"),
            workload("repo:acme/app:ref", "exact"),
        ),
    )
    found = {
        subject: each.client_id if (each := issuer.workload(subject)) else None
        for subject in ("repo:acme/x", "repo:acme/app:y", "repo:acme/app:ref", "repo:acme/", "repo:acme")
    }
    assert found == {
        "repo:acme/x": "any",
        "repo:acme/app:y": "app",
        "repo:acme/app:ref": "exact",
        "repo:acme/": None,
        "repo:acme": None,
    }


# The commands.


def run(folder: Path, *arguments: str, stdin: str | None = None) -> tuple[int, str]:
    loaded(folder, idp())
    config = str(folder / "mcpauth.toml")
    result = CliRunner().invoke(mcpauth, [*arguments, "--config", config], input=stdin)
    return result.exit_code, result.output


LINK = ("--issuer", "https://idp.example", "--subject", "U1")


def test_a_user_is_linked_listed_and_unlinked(tmp_path: Path) -> None:
    assert run(tmp_path, "users", "add", "ada", "--no-password")[0] == 0
    assert run(tmp_path, "users", "link", "ada", *LINK) == (0, "U1 of https://idp.example is ada.\n")
    listed = json.loads(run(tmp_path, "users", "list", "--json")[1])
    assert listed[0]["identities"] == [{"issuer": "https://idp.example", "subject": "U1"}]
    assert "U1 of https://idp.example" in run(tmp_path, "users", "list")[1]
    unlinked = run(tmp_path, "users", "unlink", "ada", *LINK)
    assert unlinked == (0, "U1 of https://idp.example is ada no more.\n")
    assert json.loads(run(tmp_path, "users", "list", "--json")[1])[0]["identities"] == []


def test_what_cannot_be_linked_is_one_line(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        assert run(tmp_path, "users", "add", name, "--no-password")[0] == 0
    assert run(tmp_path, "users", "link", "ada", *LINK)[0] == 0
    code, output = run(tmp_path, "users", "link", "bob", *LINK)
    assert (code, output) == (1, "error: U1 of https://idp.example is linked already; unlink it first\n")
    assert (
        run(tmp_path, "users", "unlink", "bob", *LINK)[1] == "error: U1 of https://idp.example is not bob\n"
    )
    assert run(tmp_path, "users", "link", "eve", *LINK)[1] == "error: there is no user eve\n"
    unknown = ("--issuer", "https://idp.example/", "--subject", "U1")
    code, output = run(tmp_path, "users", "link", "bob", *unknown)
    assert (code, output.count("\n")) == (1, 1)
    assert "https://idp.example/ is no issuer of users in the settings" in output


def test_somebody_without_a_password_is_not_given_one(tmp_path: Path) -> None:
    assert run(tmp_path, "users", "add", "ada", "--no-password")[0] == 0
    code, output = run(
        tmp_path, "users", "passwd", "ada", "--password-stdin", stdin="correct horse battery\n"
    )
    assert (code, output) == (1, "error: ada has no password: another server vouches for them\n")
    both = run(tmp_path, "users", "add", "bob", "--no-password", "--password-stdin", stdin="correct horse\n")
    assert both == (2, "error: --no-password and --password-stdin exclude each other\n")


def test_a_client_is_registered_that_only_hands_in_assertions(tmp_path: Path) -> None:
    grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    code, output = run(tmp_path, "clients", "add", "--name", "Agent", "--grant-type", grant_type, "--json")
    assert code == 0, output
    added = json.loads(output)
    assert added["grant_types"] == [grant_type]
    assert added["token_endpoint_auth_method"] == "client_secret_basic"
    assert added["client_secret"]
