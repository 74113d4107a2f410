"""`mcpauth doctor` on real servers on loopback: a good deployment, and each way of being a wrong one."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from examples.walkthrough.servers import free_ports
from mcpauth.doctor.asking import Asker, NoAnswer
from mcpauth.doctor.issuer import of_issuer
from tests.authorization_server.doctor_helpers import (
    PASSWORD,
    SETTINGS,
    Deployment,
    answering,
    listening,
    mcp_server,
    protected,
    rewriting,
)
from tests.authorization_server.https_helpers import answering as answering_tls
from tests.authorization_server.https_helpers import https_server, trusting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp

METADATA = "/.well-known/oauth-authorization-server/auth"
PRM = "/.well-known/oauth-protected-resource/mcp"
OPEN = Starlette(routes=[Route("/mcp", mcp_server, methods=["GET", "POST"])])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one user and keys: made once, since the password costs what it should."""
    made = Deployment(tmp_path_factory.mktemp("database"), 1)
    made.write()
    added = made.run("users", "add", "ada", "--password-stdin", stdin=PASSWORD + "\n")
    assert added.exit_code == 0, added.output
    assert made.run("keys", "rotate").exit_code == 0
    return made.folder / "mcpauth.db"


@pytest.fixture
def deployment(tmp_path: Path, database: Path) -> Deployment:
    """Settings, a database with one user, and nothing that runs yet."""
    made = Deployment(tmp_path, free_ports(1)[0])
    made.write()
    shutil.copy(database, made.folder)
    return made


def test_a_good_deployment_has_nothing_to_complain_of(deployment: Deployment) -> None:
    with deployment.serving():
        examined = deployment.examine()
        plain = deployment.run("doctor")
    assert examined.exit_code == 0
    assert examined.of("failed") == []
    assert examined.of("warning") == [
        "settings: the issuer is http on loopback, so only clients of this machine can use it"
    ]
    told = "\n".join(examined.of("ok"))
    assert "mcpauth.db is open to its owner alone" in told
    assert "keys: 2 can be read; ES256 signs" in told
    assert f"metadata: {deployment.origin}{METADATA} names the issuer byte for byte" in told
    assert f"jwks: {deployment.issuer}/jwks has the keys of this database" in told
    assert f"resource {deployment.resource}: its metadata names it and this issuer byte for byte" in told
    assert plain.exit_code == 0
    assert plain.stdout.splitlines()[-1].endswith("ok, 1 to look at, 0 failed.")
    # Each of the three well-known forms, a preflight, and the resource as a client without a token asks it.
    for request in (
        f"GET {METADATA}",
        "GET /.well-known/openid-configuration/auth",
        "GET /auth/.well-known/openid-configuration",
        f"OPTIONS {METADATA}",
        "POST /mcp",
        f"GET {PRM}",
    ):
        assert request in deployment.asked


def test_the_keys_of_every_algorithm_are_looked_at(deployment: Deployment) -> None:
    text = deployment.config.read_text()
    deployment.config.write_text(f'id_token_signing_algorithm = "RS256"\n{text}')
    assert deployment.run("keys", "rotate", "--algorithm", "RS256").exit_code == 0
    with deployment.serving():
        told = "\n".join(deployment.examine().of("ok"))
    assert "keys: 3 can be read; ES256 signs" in told, "the one that was added waits its time"
    assert f"jwks: {deployment.issuer}/jwks has the keys of this database" in told


def test_it_changes_nothing_and_shows_no_secret(deployment: Deployment) -> None:
    with deployment.serving():
        before = deployment.run("keys", "list", "--json").stdout
        registered = deployment.run("clients", "list", "--json").stdout
        result = deployment.run("doctor", "--json")
        assert deployment.run("keys", "list", "--json").stdout == before
        assert deployment.run("clients", "list", "--json").stdout == registered
    assert '"d"' not in result.stdout
    assert not [
        request for request in deployment.asked if request.startswith(("PUT", "DELETE", "POST /auth"))
    ]


def test_offline_asks_nobody(deployment: Deployment) -> None:
    with deployment.serving():
        examined = deployment.examine("--offline")
    assert deployment.asked == []
    assert examined.exit_code == 0
    assert not [check for check in examined.of("ok") if check.startswith(("metadata", "resource"))]


# The issuer.


Case = tuple["Callable[[ASGIApp], ASGIApp]", str, str]

ISSUER_CASES: dict[str, Case] = {
    "nothing is passed": (
        answering("/.well-known/oauth-authorization-server", PlainTextResponse("", 404)),
        "failed",
        f"metadata: .*{METADATA} answers 404",
    ),
    "it redirects": (
        answering(METADATA, RedirectResponse("/elsewhere")),
        "failed",
        f"metadata: .*{METADATA} redirects, and clients do not follow",
    ),
    "a page is there": (
        answering(METADATA, PlainTextResponse("<html>")),
        "failed",
        f"metadata: .*{METADATA}: the answer is not JSON",
    ),
    "an array is there": (
        answering(METADATA, JSONResponse([])),
        "failed",
        f"metadata: .*{METADATA}: the answer is no JSON object",
    ),
    "another issuer": (
        answering(METADATA, JSONResponse({"issuer": "https://evil.example"})),
        "failed",
        f"metadata: .*{METADATA} names the issuer 'https://evil.example', not 'http://127.*/auth'$",
    ),
    "an alias is not passed": (
        answering("/.well-known/openid-configuration", PlainTextResponse("", 404)),
        "warning",
        "metadata: .*/.well-known/openid-configuration/auth answers 404",
    ),
    "the last alias is another server's": (
        answering("/auth/.well-known/", JSONResponse({"issuer": "https://old.example"})),
        "warning",
        "metadata: .*/auth/.well-known/openid-configuration names the issuer 'https://old.example'",
    ),
    "no CORS": (
        rewriting(METADATA, [(b"access-control-allow-origin", None)]),
        "warning",
        f"cors: .*{METADATA}: Access-Control-Allow-Origin is none; clients in browsers fail",
    ),
    "CORS twice": (
        rewriting(METADATA, [(b"access-control-allow-origin", b"*"), (b"access-control-allow-origin", b"*")]),
        "warning",
        r"cors: .*Access-Control-Allow-Origin is '\*, \*'",
    ),
    "no preflight": (
        answering(METADATA, Response(status_code=405), method="OPTIONS"),
        "warning",
        f"cors: .*{METADATA}: a preflight is refused",
    ),
    "an endpoint is not passed": (
        answering("/auth/token", PlainTextResponse("", 404)),
        "failed",
        "metadata: token_endpoint http://.*/auth/token answers 404",
    ),
    "an endpoint is broken": (
        answering("/auth/authorize", PlainTextResponse("", 502)),
        "failed",
        "metadata: authorization_endpoint http://.*/auth/authorize answers 502",
    ),
    "keys are not passed": (
        answering("/auth/jwks", PlainTextResponse("", 404)),
        "failed",
        "jwks: .*/auth/jwks answers 404, and no keys",
    ),
    "another server's keys": (
        answering("/auth/jwks", JSONResponse({"keys": [{"kid": "other"}]})),
        "failed",
        "jwks: .*/auth/jwks has other keys than the database of these settings",
    ),
    "no keys": (
        answering("/auth/jwks", JSONResponse({"keys": None})),
        "failed",
        "jwks: .*/auth/jwks answers 200, and no keys",
    ),
}


@pytest.mark.parametrize("case", ISSUER_CASES.values(), ids=list(ISSUER_CASES))
def test_what_a_proxy_does_to_the_issuer_is_found(deployment: Deployment, case: Case) -> None:
    """RFC 8414 §3; each with its one finding, and nothing else."""
    wrong, state, text = case
    with deployment.serving(wrong=wrong):
        examined = deployment.examine()
    assert examined.exit_code == (1 if state == "failed" else 0)
    found = [line for line in examined.of(state) if "http on loopback" not in line]
    assert len(found) == 1
    assert_matches(text, found[0])


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


@pytest.mark.parametrize(
    ("served", "told"),
    [("http://LOCALHOST/auth", ""), ("{issuer}/", ": only the slash at the end differs")],
)
def test_another_spelling_of_the_issuer_is_shown(deployment: Deployment, served: str, told: str) -> None:
    """RFC 8414 §3.3: the two MUST be identical."""
    named = served.format(issuer=deployment.issuer)
    with deployment.serving(wrong=answering(METADATA, JSONResponse({"issuer": named}))):
        (found,) = deployment.examine().of("failed")[:1]
    assert found.endswith(f"names the issuer {named!r}, not {deployment.issuer!r}{told}")


def test_an_endpoint_of_another_host_is_found_and_not_asked(deployment: Deployment) -> None:
    published = {
        "issuer": deployment.issuer,
        "token_endpoint": "http://127.0.0.1:1/token",
        "jwks_uri": f"{deployment.issuer}/jwks",
        "protected_resources": [deployment.resource],
        "scopes_supported": ["notes:read"],
    }
    with deployment.serving(
        wrong=answering("/.well-known/oauth-authorization-server", JSONResponse(published))
    ):
        assert "metadata: token_endpoint is not below the issuer" in deployment.examine().of("failed")


def test_a_server_that_is_down_is_told_once(deployment: Deployment) -> None:
    failures = deployment.examine().of("failed")
    assert failures == [
        f"metadata: {deployment.origin}{METADATA}: connection refused",
        f"resource {deployment.resource}: connection refused",
    ]


def test_a_mount_that_nobody_runs_is_told(deployment: Deployment) -> None:
    with deployment.serving(running=False):
        assert deployment.examine().only("failed") == f"metadata: {deployment.origin}{METADATA} answers 503"


def test_a_server_with_other_settings_is_told(deployment: Deployment) -> None:
    with deployment.serving():
        deployment.config.write_text(
            deployment.config.read_text()
            + '[[resources.scopes]]\nname = "notes:write"\ndescription = "Write"\n'
        )
        examined = deployment.examine()
    assert examined.only("warning").startswith(
        "metadata: the scopes_supported that it publishes are not those"
    )


def test_a_server_on_another_database_is_told(deployment: Deployment, tmp_path: Path) -> None:
    other = deployment.settings(database=str(tmp_path / "other.db"))
    with deployment.serving(settings=other):
        (found,) = deployment.examine().of("failed")
    assert found == f"jwks: {deployment.issuer}/jwks has other keys than the database of these settings"


def test_clocks_that_differ_are_told(deployment: Deployment) -> None:
    late = rewriting(METADATA, [(b"date", b"Sat, 01 Jan 2022 00:00:00 GMT")])
    with deployment.serving(wrong=late, date_header=False):
        examined = deployment.examine()
    assert examined.only("warning").startswith("clock: it and this machine are ")
    nonsense = rewriting(METADATA, [(b"date", b"yesterday")])
    with deployment.serving(wrong=nonsense, date_header=False):
        assert not [line for line in deployment.examine().of("warning") if line.startswith("clock")]


# The resources.


def test_a_resource_that_is_open_is_told(deployment: Deployment) -> None:
    with deployment.serving(resource=OPEN):
        examined = deployment.examine()
    assert examined.exit_code == 1
    assert examined.of("failed") == [
        f"resource {deployment.resource}: it answers 200 without a token: it is open to everyone"
    ]


RESOURCE_CASES: dict[str, Case] = {
    "forbidden": (answering("/mcp", PlainTextResponse("", 403)), "failed", "answers 403 without a token"),
    "elsewhere": (answering("/mcp", PlainTextResponse("", 404)), "failed", "it answers 404"),
    "broken": (
        answering("/mcp", PlainTextResponse("", 500)),
        "failed",
        "answers 500 without a token, not 401",
    ),
    "no challenge": (
        answering("/mcp", PlainTextResponse("", 401)),
        "failed",
        "its 401 has no Bearer challenge",
    ),
    "another challenge": (
        answering("/mcp", PlainTextResponse("", 401, {"WWW-Authenticate": "Basic realm=x"})),
        "failed",
        "its 401 has no Bearer challenge",
    ),
    "no metadata in the challenge": (
        answering("/mcp", PlainTextResponse("", 401, {"WWW-Authenticate": "Bearer"})),
        "warning",
        "its challenge names no resource_metadata",
    ),
    "metadata of another host": (
        answering(
            "/mcp",
            PlainTextResponse(
                "", 401, {"WWW-Authenticate": 'Bearer resource_metadata="http://127.0.0.1:1/metadata"'}
            ),
        ),
        "failed",
        "its challenge names metadata on another host, http://127.0.0.1:1/metadata",
    ),
    "metadata is not passed": (
        answering("/.well-known/oauth-protected-resource", PlainTextResponse("", 404)),
        "failed",
        f"{PRM} answers 404",
    ),
    "metadata is a page": (
        answering("/.well-known/oauth-protected-resource", PlainTextResponse("<html>")),
        "failed",
        f"{PRM}: the answer is not JSON",
    ),
    "no CORS": (
        rewriting("/.well-known/oauth-protected-resource", [(b"access-control-allow-origin", None)]),
        "warning",
        f"{PRM} has no CORS header",
    ),
}


@pytest.mark.parametrize("case", RESOURCE_CASES.values(), ids=list(RESOURCE_CASES))
def test_what_is_wrong_with_a_resource_is_found(deployment: Deployment, case: Case) -> None:
    """RFC 9728 §3.3 and §5.1, RFC 6750 §3; each with its one finding."""
    wrong, state, text = case
    with deployment.serving(wrong=wrong):
        examined = deployment.examine()
    assert examined.exit_code == (1 if state == "failed" else 0)
    found = [line for line in examined.of(state) if "http on loopback" not in line]
    assert len(found) == 1
    assert_matches(f"^resource {deployment.resource}: .*{text}", found[0])


def test_another_spelling_of_resource_or_issuer_is_shown(deployment: Deployment) -> None:
    """RFC 9728 §3.3: identical, or clients give up."""
    elsewhere = protected(f"{deployment.origin}/mcp/", f"{deployment.issuer}/x", "https://Other.example")
    with deployment.serving(resource=elsewhere):
        named, servers = deployment.examine().of("failed")
    prefix = f"resource {deployment.resource}: its metadata"
    assert named == (
        f"{prefix} says resource '{deployment.resource}/', the settings '{deployment.resource}'"
        ": only the slash at the end differs"
    )
    assert servers == (
        f"{prefix} names the authorization servers ['{deployment.issuer}/x', 'https://Other.example'],"
        f" not '{deployment.issuer}'"
    )


def test_scopes_that_the_issuer_does_not_know_are_told(deployment: Deployment) -> None:
    ours = protected(deployment.resource, deployment.issuer, scopes=("notes:read", "notes:burn"))
    with deployment.serving(resource=ours):
        examined = deployment.examine()
    assert examined.only("warning").endswith("this server does not know for it: ['notes:burn']")


def test_what_servers_say_cannot_move_the_cursor(deployment: Deployment) -> None:
    evil = {"issuer": "https://a.example\x1b[2J\u202egnp"}
    with deployment.serving(wrong=answering(METADATA, JSONResponse(evil))):
        result = deployment.run("doctor")
    assert result.exit_code == 1
    assert "https://a.example" in result.stdout
    assert "\x1b[2J" not in result.stdout
    assert "\u202e" not in result.stdout


ODD: list[object] = [
    None,
    True,
    1,
    1e999,
    "",
    "x",
    [],
    [[]],
    [{}],
    {},
    {"a": []},
    ["http://127.0.0.1:1/"],
    "http://[::1",
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_documents_that_make_no_sense_are_findings(deployment: Deployment, odd: object) -> None:
    """Whatever a member is; nothing is asked beyond the two servers."""
    issuer = dict.fromkeys(("token_endpoint", "jwks_uri", "protected_resources", "scopes_supported"), odd)
    resource = dict.fromkeys(("resource", "authorization_servers", "scopes_supported"), odd)

    def wrong(app: ASGIApp) -> ASGIApp:
        metadata = answering(METADATA, text({**issuer, "issuer": deployment.issuer}))(app)
        return answering("/.well-known/oauth-protected-resource", text(resource))(metadata)

    with deployment.serving(wrong=wrong):
        examined = deployment.examine()
    failures = examined.of("failed")
    assert "metadata: token_endpoint is not below the issuer" in failures
    assert "jwks: jwks_uri is not below the issuer" in failures
    assert len([line for line in failures if line.startswith(f"resource {deployment.resource}: its")]) == 2


def text(document: object) -> Response:
    """JSON as no serializer of a server would write it."""
    return Response(json.dumps(document), media_type="application/json")


# The files.


def test_without_settings_it_says_how_to_get_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = Deployment(tmp_path, 1)
    (tmp_path / "none.toml").write_text("")
    monkeypatch.delenv("MCPAUTH_CONFIG", raising=False)
    monkeypatch.delenv("MCPAUTH_ISSUER", raising=False)
    examined = result.run("doctor", "--json")
    # Named and not there: told like any wrong setting.
    assert examined.exit_code == 1
    (found,) = json.loads(examined.stdout)["findings"]
    assert found["state"] == "failed"
    assert "cannot be read: No such file or directory" in found["text"]


def test_a_wrong_setting_is_a_finding(deployment: Deployment) -> None:
    deployment.write("registrations_per_hour = 0\n")
    examined = deployment.examine()
    assert examined.exit_code == 1
    assert deployment.asked == []
    assert examined.only("failed") == (
        "settings: mcpauth.toml: registrations_per_hour: must be at least 1 (got 0);"
        " to let nobody register, use registration = false"
    )


def test_settings_that_others_may_change_are_told(deployment: Deployment) -> None:
    deployment.config.chmod(0o622)
    assert deployment.examine("--offline").only("warning").endswith("mcpauth.toml can be changed by others")


def test_a_proxy_that_nobody_believes_is_told(deployment: Deployment) -> None:
    secure = {"MCPAUTH_ISSUER": "https://auth.example"}
    assert "behind a proxy, and believes no proxy" in deployment.examine("--offline", **secure).only(
        "warning"
    )
    believed = deployment.examine("--offline", **secure, MCPAUTH_TRUSTED_PROXIES="127.0.0.1")
    assert believed.of("warning") == believed.of("failed") == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_database_that_others_may_read_is_told(deployment: Deployment, suffix: str) -> None:
    """It holds the signing keys."""
    with deployment.serving():
        path = deployment.folder / f"mcpauth.db{suffix}"
        path.chmod(0o640)
        examined = deployment.examine("--offline")
        path.chmod(0o600)
    assert examined.exit_code == 1
    assert examined.only("failed") == f"database: {path} is open to others (mode 0640)"


def test_a_database_that_is_not_there_is_not_made(deployment: Deployment) -> None:
    (deployment.folder / "mcpauth.db").unlink()
    examined = deployment.examine("--offline")
    assert examined.only("warning").endswith("mcpauth.db is not there yet")
    assert not (deployment.folder / "mcpauth.db").exists()


@pytest.mark.parametrize(
    ("named", "text"),
    [("none/mcpauth.db", "none is no folder"), ("mcpauth.toml", "cannot be opened as a SQLite database")],
)
def test_a_database_that_cannot_be_opened_is_told(deployment: Deployment, named: str, text: str) -> None:
    path = str(deployment.folder / named)
    assert text in deployment.examine("--offline", MCPAUTH_DATABASE=path).only("failed")


def test_a_database_in_memory_is_told(deployment: Deployment) -> None:
    found = deployment.examine("--offline", MCPAUTH_DATABASE="memory:").only("warning")
    assert found.startswith("database: in memory")


def test_a_database_without_users_or_keys_is_told(deployment: Deployment) -> None:
    other = deployment.folder / "other.db"
    made = deployment.run(
        "clients", "add", "--name", "A", "--redirect-uri", "https://a.example/cb", MCPAUTH_DATABASE=str(other)
    )
    assert made.exit_code == 0
    warnings = deployment.examine("--offline", MCPAUTH_DATABASE=str(other)).of("warning")
    assert "database: it has no users, so nobody can sign in" in warnings
    assert "keys: there are none yet" in warnings


def test_keys_that_do_not_open_are_told(deployment: Deployment) -> None:
    key, other = "A" * 43, "B" * 42 + "A"
    deployment.run("keys", "rotate", MCPAUTH_ENCRYPTION_KEY=key)
    assert deployment.examine("--offline", MCPAUTH_ENCRYPTION_KEY=key).of("failed") == []
    for environ in ({"MCPAUTH_ENCRYPTION_KEY": other}, {}):
        found = deployment.examine("--offline", **environ).only("failed")
        assert found.startswith("keys: ")
        assert key not in found


def test_a_key_that_should_have_changed_is_told(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"MCPAUTH_DATABASE": str(deployment.folder / "old.db")}
    deployment.run("users", "add", "ada", "--password-stdin", stdin=PASSWORD + "\n", **old)
    with monkeypatch.context() as past:
        long_ago = time.time() - 200 * 86_400
        past.setattr(time, "time", lambda: long_ago)
        deployment.run("keys", "rotate", **old)
    found = deployment.examine("--offline", **old).only("warning")
    assert found == "keys: the key that signs should have changed by now"


def test_an_encryption_key_that_others_may_read_is_told(deployment: Deployment) -> None:
    path = deployment.folder / "key"
    path.write_text("A" * 43)
    path.chmod(0o644)
    deployment.write('encryption_key_file = "key"\n')
    found = deployment.examine("--offline").only("failed")
    assert found == f"encryption key: {path} is open to others (mode 0644)"


def test_a_resource_of_opaque_tokens_needs_a_client(deployment: Deployment) -> None:
    deployment.config.write_text(
        SETTINGS.format(port=deployment.port).replace(
            'name = "Notes"', 'name = "Notes"\naccess_token_format = "opaque"'
        )
    )
    found = deployment.examine("--offline").only("warning")
    assert found.endswith("has opaque tokens, and no client may ask what they are worth")
    deployment.run("clients", "add", "--name", "Notes", "--resource-server", deployment.resource)
    assert "opaque" not in "".join(deployment.examine("--offline").of("warning"))


@pytest.mark.parametrize(
    ("journal", "mode", "text"),
    [
        ("a.jsonl", None, ""),
        ("a.jsonl", 0o600, ""),
        ("a.jsonl", 0o644, "is open to others (mode 0644)"),
        ("none/a.jsonl", None, "cannot be made"),
        (".", None, "is no file"),
    ],
)
def test_the_audit_journal_is_looked_at_and_not_opened(
    deployment: Deployment, journal: str, mode: int | None, text: str
) -> None:
    path = deployment.folder / journal
    if mode is not None:
        path.write_text("")
        path.chmod(mode)
    deployment.write(f'audit_journal = "{journal}"\n')
    failures = deployment.examine("--offline").of("failed")
    assert len(failures) == (1 if text else 0)
    assert text in "".join(failures)
    assert mode is not None or journal == "." or not path.exists()


# What is on the way to a server.


@pytest.mark.anyio
async def test_a_certificate_is_looked_at(deployment: Deployment) -> None:
    """RFC 8414 §3: over TLS; a client refuses what it cannot trust."""
    async with https_server(answering_tls(b"{}"), name="localhost") as server:
        settings = replace(deployment.settings(), issuer=f"https://localhost:{server.port}")
        for trusted, text in (
            (ssl.create_default_context(), "its certificate is not good: "),
            (trusting(), f"names the issuer None, not '{settings.issuer}'"),
        ):
            async with Asker(verify=trusted) as asker:
                found = [each async for each in of_issuer(settings, asker, None, time.time)]
            assert len(found) == 1
            assert text in found[0].text


@pytest.mark.anyio
async def test_what_cannot_be_asked_is_told_in_words() -> None:
    async def silent() -> None:
        await anyio.sleep_forever()

    (port,) = free_ports(1)

    async def slow(_request: object) -> Response:
        await silent()
        return Response()

    async def long(_request: object) -> Response:
        return PlainTextResponse("x" * (1024 * 1024 + 1))

    reasons: dict[str, str] = {}
    app = Starlette(routes=[Route("/slow", slow), Route("/long", long)])

    def serve_and_ask() -> None:
        with listening(port, app, timeout_graceful_shutdown=1):
            anyio.run(ask)

    async def ask() -> None:
        async with Asker(seconds=1) as asker:
            for url in (
                f"http://127.0.0.1:{port}/slow",
                f"http://127.0.0.1:{port}/long",
                f"https://127.0.0.1:{port}/",
                "http://127.0.0.1:1/",
                "http://[::1",
                "ftp://127.0.0.1/",
            ):
                try:
                    await asker.ask(url)
                except NoAnswer as error:
                    reasons[url.rpartition("/")[2] or url.partition(":")[0]] = str(error)

    await anyio.to_thread.run_sync(serve_and_ask)
    assert reasons["slow"] == "no answer within 1 seconds"
    assert reasons["long"] == "the answer is longer than 1048576 bytes"
    assert reasons["https"] == "it does not speak TLS"
    assert reasons["http"] == "connection refused"
    assert len(reasons) == 6
