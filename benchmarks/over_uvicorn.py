"""Requests a second over uvicorn, each case in a process of its own; with wrk where it is installed."""

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
_START_SECONDS = 20.0
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")


def run(*, seconds: float, rounds: int, algorithm: str = "ES256") -> tuple[str, dict[str, float]]:
    """How it was measured, and requests a second for each case: the median of the rounds.

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
        rates: dict[str, list[float]] = {name: [] for name in COMPARED}
        for _ in range(rounds):
            for name, port in ports.items():
                rate = _wrk(wrk, port, script, seconds) if wrk else asyncio.run(_asyncio(port, good, seconds))
                rates[name].append(rate)
    how = "wrk" if wrk else "an asyncio client; apt-get install wrk for a faster one"
    return f"{how}, {CONNECTIONS} connections", {
        name: statistics.median(each) for name, each in rates.items()
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


def _wrk(wrk: str, port: int, script: Path, seconds: float) -> float:
    # Whole seconds are all it takes.
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    said = subprocess.run(
        [wrk, *options, f"http://127.0.0.1:{port}/mcp"], capture_output=True, text=True, check=True
    ).stdout
    found = _RATE.search(said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(f"wrk: {said}")
    return float(found[1])


def _script(folder: Path, good: str) -> Path:
    headers, body = call()
    lines = [f'wrk.headers["{name.decode()}"] = "{value.decode()}"' for name, value in headers]
    lines += [
        f'wrk.headers["authorization"] = "Bearer {good}"',
        'wrk.method = "POST"',
        f"wrk.body = [[{body.decode()}]]",
    ]
    path = folder / "post.lua"
    path.write_text("\n".join(lines))
    return path


async def _asyncio(port: int, good: str, seconds: float) -> float:
    request, deadline = _request(good), time.perf_counter() + seconds

    async def connection() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.perf_counter() < deadline:
            writer.write(request)
            # Every case answers with the same small body.
            answer = await reader.readuntil(b"\r\n\r\n{}")
            if answer[9:12] != b"200":
                raise RuntimeError(f"answered {answer[:50]!r}")
            done += 1
        writer.close()
        return done

    started = time.perf_counter()
    done = await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return sum(done) / (time.perf_counter() - started)


def _request(presented: str) -> bytes:
    headers, body = call()
    headers.append((b"authorization", f"Bearer {presented}".encode()))
    return b"POST /mcp HTTP/1.1\r\n" + b"".join(b"%s: %s\r\n" % each for each in headers) + b"\r\n" + body
