"""The main job, run exactly as `scripts/demo` runs it: three processes and the real `mcp` SDK client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^   (\d{3})  (GET|POST) +(\S+(?: \S+)?) {2,}(.*?) {2,}(.*)$")

Exchange = tuple[str, str, int]
"""Method, target, status."""

JOIN = [
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("GET", "/.well-known/oauth-authorization-server", 200),
    ("POST", "/register", 201),
    ("GET", "/authorize", 303),
    ("GET", "/sign-in", 200),
    ("POST", "/sign-in", 303),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walkthrough") / "demo"


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    command = [
        sys.executable,
        "-m",
        "examples.walkthrough",
        "--no-keep",
        "--port",
        "0",
        "--folder",
        str(folder),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def parts(output: str) -> list[list[Exchange]]:
    """The steps of each of the two servers."""
    found: list[list[Exchange]] = []
    for line in output.splitlines():
        if re.match(r"^\d  ", line):
            found.append([])
        elif step := STEP.match(line):
            found[-1].append((step[2], step[3], int(step[1])))
    return found[:2]


def in_order(expected: list[Exchange], steps: list[Exchange]) -> bool:
    remaining = iter(steps)
    return all(
        any(step[0] == e[0] and step[1].startswith(e[1]) and step[2] == e[2] for step in remaining)
        for e in expected
    )


@pytest.mark.parametrize(
    ("part", "first", "reading", "writing", "refusal"),
    [
        (0, "server/discover", "tools/call search_notes", "tools/call add_note", 429),
        (1, "initialize", "tools/call list_tasks", "tools/call add_task", 200),
    ],
    ids=["mcp SDK, 2026-07-28", "FastMCP, handshake"],
)
def test_the_whole_dance_happens_in_order(
    parts: list[list[Exchange]], part: int, first: str, reading: str, writing: str, refusal: int
) -> None:
    """From the challenge to the last refusal, with step-up, rate limit, refresh and revocation between."""
    expected = [
        ("POST", first, 401),
        *JOIN,
        ("POST", "/token authorization_code", 200),
        ("POST", first, 200),
        ("POST", "tools/list", 200),
        ("POST", reading, 200),
        ("POST", writing, 403),
        ("GET", "/authorize", 303),
        ("POST", "/token authorization_code", 200),
        ("POST", writing, 200),
        ("POST", reading, refusal),
        ("POST", "/token refresh_token", 200),
        ("POST", "tools/list", 200),
        ("POST", "/revoke", 200),
        ("POST", "ping", 401),
        ("POST", "/token refresh_token", 400),
        ("POST", "ping", 401),
    ]
    assert in_order(expected, parts[part]), parts[part]


def test_the_client_registers_once_and_steps_up_in_one_round_trip(
    parts: list[list[Exchange]],
) -> None:
    for steps in parts:
        assert [step[1] for step in steps].count("/register") == 1
        assert [step[2] for step in steps].count(403) == 1


def test_no_password_token_or_code_is_in_a_log_or_journal(folder: Path, output: str) -> None:
    """Secrets stay out of everything that is kept."""
    kept = [path for path in folder.iterdir() if path.suffix in {".log", ".jsonl"}]
    assert len(kept) >= 6
    for path in kept:
        text = path.read_text()
        assert "eyJ" not in text, f"a JWT in {path.name}"
        assert not re.search(r"[?&](code|state|code_challenge)=", text), f"a query string in {path.name}"
    assert "eyJ" not in output


def test_each_call_has_one_intent_and_one_outcome(folder: Path) -> None:
    """An intent without an outcome would mean a crash; a call without an intent, that nobody decided."""
    for name in ("notes", "tasks"):
        events: list[dict[str, Any]] = [
            json.loads(line) for line in (folder / f"{name}.audit.jsonl").read_text().splitlines()
        ]
        intents = [event["call"] for event in events if event["phase"] == "intent"]
        outcomes = [event["call"] for event in events if event["phase"] == "outcome"]
        assert len(intents) == len(set(intents)) > 5
        assert len(outcomes) == len(set(outcomes))
        assert set(intents) <= set(outcomes)
        assert [event["seq"] for event in events] == list(
            range(events[0]["seq"], events[0]["seq"] + len(events))
        )
