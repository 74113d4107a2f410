"""`mcpauth serve`, as a real process on loopback."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from mcpauth.commands.serve import listen
from tests.authorization_server.front_helpers import CHALLENGE, LOOPBACK, VERIFIER, answer_of, form_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SETTINGS = """
issuer = "http://127.0.0.1:{port}"
port = {port}
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
[[resources.scopes]]
name = "notes:read"
description = "Read notes"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mcpauth", "serve", *arguments]


@contextmanager
def serving(folder: Path, *arguments: str) -> Generator[tuple[subprocess.Popen[str], Path]]:
    """The running process, and the file with what it printed."""
    output = folder / "output.log"
    with (
        output.open("w") as file,
        subprocess.Popen(command(*arguments), cwd=folder, stderr=file, stdout=file, text=True) as process,
    ):
        try:
            yield process, output
        finally:
            process.kill()


def until(process: subprocess.Popen[str], output: Path, pattern: str) -> re.Match[str]:
    """What the process printed, as soon as it did."""
    for _ in range(200):
        if found := re.search(pattern, output.read_text()):
            return found
        assert process.poll() is None, output.read_text()
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(output.read_text())


def refused(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


def test_dev_needs_no_settings_and_serves_the_whole_flow(tmp_path: Path) -> None:
    with serving(tmp_path, "--dev", "--port", "0") as (process, output):
        issuer = until(process, output, r"issuer +(http://127\.0\.0\.1:\d+)\n")[1]
        password = until(process, output, r"as dev with the password (\S+)")[1]
        with httpx2.Client(base_url=issuer) as http:
            metadata = http.get("/.well-known/oauth-authorization-server").json()
            assert metadata["issuer"] == issuer
            assert metadata["protected_resources"] == ["http://127.0.0.1:8000/mcp"]
            client = http.post("/register", json={"redirect_uris": [LOOPBACK], "client_name": "Robo"}).json()
            request = {
                "response_type": "code",
                "client_id": client["client_id"],
                "redirect_uri": LOOPBACK,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
                "state": "a-secret-state",
            }
            page = http.get("/authorize", params=request, follow_redirects=True)
            fields = {**form_of(page).fields, "username": "dev", "password": password}
            consent = http.post("/sign-in", data=fields, follow_redirects=True)
            decided = http.post(
                "/consent", data={**form_of(consent).fields, "scope 1 mcp:read": "allow", "decision": "allow"}
            )
            answer = answer_of(http.get(decided.headers["location"]))
            assert answer["iss"] == issuer
            form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": LOOPBACK}
            form |= {"client_id": client["client_id"], "code_verifier": VERIFIER}
            tokens = http.post("/token", data=form).json()
            assert tokens["scope"] == "mcp:read"
        log = output.read_text()
        assert re.search(r'"GET /authorize HTTP/1.1" 303', log)
        secrets = ("a-secret-state", CHALLENGE, answer["code"], tokens["access_token"], client["client_id"])
        assert not [secret for secret in secrets if secret in log]
        assert "?" not in log
        assert [path.name for path in tmp_path.iterdir()] == ["output.log"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_told_without_a_traceback(tmp_path: Path, stop: signal.Signals) -> None:
    with serving(tmp_path, "--dev", "--port", "0") as (process, output):
        issuer = until(process, output, r"issuer +(\S+)\n")[1]
        httpx2.get(f"{issuer}/jwks")
        process.send_signal(stop)
        process.wait(10)
        assert "Traceback" not in output.read_text()


def test_the_keys_survive_a_restart(tmp_path: Path) -> None:
    """The server made them at its first start and keeps them in its database."""
    port = free_port()
    (tmp_path / "mcpauth.toml").write_text(SETTINGS.format(port=port))
    served: list[str] = []
    for _ in range(2):
        with serving(tmp_path) as (process, output):
            until(process, output, "there are no users, so nobody can sign in")
            transport = httpx2.HTTPTransport(retries=5)
            with httpx2.Client(transport=transport) as http:
                served.append(http.get(f"http://127.0.0.1:{port}/jwks").text)
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    assert served[0] == served[1]
    assert (tmp_path / "mcpauth.db").stat().st_mode & 0o777 == 0o600


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = refused(tmp_path, "--dev", "--port", port)
    assert ran.returncode == 1
    assert ran.stderr == f"error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_dev_listens_on_loopback_only(tmp_path: Path) -> None:
    ran = refused(tmp_path, "--dev", "--host", "0.0.0.0")  # noqa: S104 - what is refused
    assert ran.returncode == 2
    assert ran.stderr == "error: --host: --dev listens on loopback only (got 0.0.0.0)\n"


def test_http_on_a_public_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(SETTINGS.format(port=free_port()))
    ran = refused(tmp_path, "--host", "0.0.0.0")  # noqa: S104 - what is refused
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --host: must be a loopback address")


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text('issuer = "http://a.example"\n')
    ran = refused(tmp_path)
    assert ran.returncode == 2
    assert ran.stderr == (
        "error: mcpauth.toml: issuer: must be https (got http://a.example);"
        " http is allowed only on loopback\n"
    )
    assert not (tmp_path / "mcpauth.db").exists()


def test_an_audit_journal_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(
        'audit_journal = "none/a.jsonl"\n' + SETTINGS.format(port=free_port())
    )
    ran = refused(tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("error: audit_journal: ")
    assert "Traceback" not in ran.stderr


def test_another_port_than_the_issuers_is_warned_of(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "mcpauth.toml").write_text(SETTINGS.format(port=port))
    with serving(tmp_path, "--port", "0") as (process, output):
        until(
            process,
            output,
            rf"warning: listening on .* clients will go to the issuer, http://127.0.0.1:{port}",
        )


@pytest.mark.parametrize("setting", ["", 'trusted_proxies = ["127.0.0.1"]'], ids=["unnamed", "named"])
def test_a_proxy_that_is_not_named_is_warned_of(tmp_path: Path, setting: str) -> None:
    """20 wrong passwords of a stranger would otherwise be everybody's, without a word to the operator."""
    settings = SETTINGS.format(port=free_port()).replace("http://127.0.0.1", "https://auth.example")
    (tmp_path / "mcpauth.toml").write_text(f"{setting}\n{settings}")
    with serving(tmp_path) as (process, output):
        until(process, output, "there are no users")
        if setting:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert "trusted_proxies" not in output.read_text()
        else:
            until(process, output, "warning: behind a proxy .* trusted_proxies does not name")


def test_dev_with_settings_takes_their_resources_and_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mcpauth.toml").write_text(
        SETTINGS.format(port=9000).replace("http://127.0.0.1:9000", "https://auth.example")
    )
    with serving(tmp_path, "--dev", "--port", "0") as (process, output):
        issuer = until(process, output, r"issuer +(http://127\.0\.0\.1:\d+)\n")[1]
        until(process, output, "as dev with the password")
        metadata = httpx2.get(f"{issuer}/.well-known/oauth-authorization-server").json()
        assert metadata["scopes_supported"] == ["notes:read"]
        assert metadata["device_authorization_endpoint"] == f"{issuer}/device_authorization"
        assert not (tmp_path / "mcpauth.db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the option is inherited on other systems")
def test_an_answer_does_not_wait_for_the_clients_acknowledgement() -> None:
    """RFC 9293 §3.7.4 (Nagle): the second part of an answer would wait until the first is acknowledged."""
    with closing(listen("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with closing(socket.create_connection(address)), closing(listening.accept()[0]) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("setting", "logged"),
    [("", "127.0.0.1"), ('trusted_proxies = ["127.0.0.1"]', "198.51.100.1")],
    ids=["nobody is believed", "the proxy is believed"],
)
def test_the_access_log_has_the_address_that_a_trusted_proxy_names(
    tmp_path: Path, setting: str, logged: str
) -> None:
    port = free_port()
    (tmp_path / "mcpauth.toml").write_text(f"{setting}\n{SETTINGS.format(port=port)}")
    with serving(tmp_path) as (process, output):
        until(process, output, "there are no users")
        forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}
        assert httpx2.get(f"http://127.0.0.1:{port}/jwks", headers=forwarded).status_code == 200
        line = until(process, output, r"(\S+):\d+ \"GET /jwks HTTP/1.1\" 200 OK")
    assert line[1] == logged


def test_headers_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    """RFC 6585 §5; more about it in test_bounded_http.py."""
    port = free_port()
    (tmp_path / "mcpauth.toml").write_text(SETTINGS.format(port=port))
    with serving(tmp_path) as (process, output):
        until(process, output, "there are no users")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /jwks HTTP/1.1\r\nX: " + b"a" * 64 * 1024)
            assert connection.recv(1000).startswith(b"HTTP/1.1 431 ")
        assert httpx2.get(f"http://127.0.0.1:{port}/jwks").status_code == 200
