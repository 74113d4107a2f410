"""Requests a second over uvicorn, and the time of the slowest of a hundred; with wrk where it is installed.

Each case has a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.applications import KEYS_FOLDER, call, private_key, token
from benchmarks.in_process import tampered

CONNECTIONS = 8
COMPARED = (
    "nothing",
    "mcp SDK, PyJWT",
    "FastMCP JWTVerifier",
    "ours, minimal",
    "ours, everything",
    "ours, everything, token seen before",
)
_START_SECONDS = 60.0
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99 = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Measured(NamedTuple):
    """What a client saw."""

    rate: float
    """Requests a second."""
    p99: float
    """In how many milliseconds 99 of 100 requests were answered."""


def run(*, seconds: float, rounds: int, algorithm: str = "ES256") -> tuple[str, dict[str, Measured]]:
    """How it was measured, and what was: the medians of the rounds, in which the cases take turns.

    Raises:
        RuntimeError: a server did not start, or one does not tell a good token from a bad one.
    """
    wrk = shutil.which("wrk")
    with tempfile.TemporaryDirectory(prefix="mcpauth-benchmark-") as folder, ExitStack() as running:
        # The processes draw no keys of their own.
        os.environ[KEYS_FOLDER] = folder
        private_key.cache_clear()
        good = token(algorithm)
        script = _script(Path(folder), good)
        ports = {name: _serve(name, algorithm, running) for name in COMPARED}
        for name, port in ports.items():
            _check(name, port, good)
        measured: dict[str, list[Measured]] = {name: [] for name in COMPARED}
        for _ in range(rounds):
            for name, port in ports.items():
                one = _wrk(wrk, port, script, seconds) if wrk else asyncio.run(_asyncio(port, good, seconds))
                measured[name].append(one)
    how = "wrk" if wrk else "an asyncio client; apt-get install wrk for a faster one"
    return f"{how}, {CONNECTIONS} connections", {
        name: Measured(*map(statistics.median, zip(*each, strict=True))) for name, each in measured.items()
    }


def _serve(name: str, algorithm: str, running: ExitStack) -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    environment = {**os.environ, "BENCHMARK_CASE": name, "BENCHMARK_ALGORITHM": algorithm}
    application = ["--factory", "benchmarks.applications:served", "--port", str(port)]
    quiet = ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", *application, *quiet], env=environment)
    running.callback(process.wait)
    running.callback(process.terminate)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port
        time.sleep(0.05)
    raise RuntimeError(f"{name}: the server did not start")


def _check(name: str, port: int, good: str) -> None:
    wanted = {good: b"200", tampered(good): b"200" if name == "nothing" else b"401"}
    for presented, status in wanted.items():
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(_request(presented))
            answered = connection.recv(65536)[9:12]
        if answered != status:
            raise RuntimeError(
                f"{name}: answered {answered!r} where {status!r} is right; nothing is measured"
            )


def _wrk(wrk: str, port: int, script: Path, seconds: float) -> Measured:
    # Whole seconds are all it takes.
    options = ["-t1", "--latency", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    ran = subprocess.run(
        [wrk, *options, f"http://127.0.0.1:{port}/mcp"], capture_output=True, text=True, check=False
    )
    said = ran.stdout
    rate, p99 = _RATE.search(said), _P99.search(said)
    if ran.returncode != 0 or rate is None or p99 is None or "Non-2xx" in said:
        raise RuntimeError(f"wrk: {said}{ran.stderr}")
    return Measured(float(rate[1]), float(p99[1]) * _MILLISECONDS[p99[2]])


def _script(folder: Path, good: str) -> Path:
    headers, body = call()
    # Spelt as wrk spells them: it adds Host and Content-Length where it does not find them.
    lines = [f'wrk.headers["{name.decode().title()}"] = "{value.decode()}"' for name, value in headers]
    lines += [
        f'wrk.headers["authorization"] = "Bearer {good}"',
        'wrk.method = "POST"',
        f"wrk.body = [[{body.decode()}]]",
    ]
    path = folder / "post.lua"
    path.write_text("\n".join(lines))
    return path


async def _asyncio(port: int, good: str, seconds: float) -> Measured:
    request, deadline = _request(good), time.perf_counter() + seconds
    took: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) < deadline:
            writer.write(request)
            # Every case answers with the same small body.
            answer = await reader.readuntil(b"\r\n\r\n{}")
            if answer[9:12] != b"200":
                raise RuntimeError(f"answered {answer[:50]!r}")
            took.append(time.perf_counter() - sent)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    rate = len(took) / (time.perf_counter() - started)
    return Measured(rate, statistics.quantiles(took, n=100)[98] * 1000)


def _request(presented: str) -> bytes:
    headers, body = call()
    headers.append((b"authorization", f"Bearer {presented}".encode()))
    return b"POST /mcp HTTP/1.1\r\n" + b"".join(b"%s: %s\r\n" % each for each in headers) + b"\r\n" + body
