"""Microseconds of processor time that a request costs, by calling each application directly.

Processor time of all threads, not time on the clock: what else the machine does counts for less.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from benchmarks.applications import CASES, call, private_key, public_key, token

if TYPE_CHECKING:
    from mcpauth_middleware.asgi import ASGIApp, Event, Scope


async def measure(algorithm: str, *, requests: int, rounds: int) -> dict[str, float]:
    """Microseconds a request for each case: the median of the rounds, in which the cases take turns.

    Raises:
        RuntimeError: one of them answers a good token with something else than 200, or a bad one than 401.
    """
    apps = {name: make(algorithm) for name, make in CASES.items()}
    good = token(algorithm)
    for name, app in apps.items():
        await _check(name, app, good)
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(rounds):
        for name, app in apps.items():
            times[name].append(await _round(app, good, requests))
    return {name: statistics.median(each) for name, each in times.items()}


def raw_verification(algorithm: str, *, times: int) -> float:
    """Microseconds that this machine takes to verify one signature and do nothing else."""
    private, public, data = private_key(algorithm), public_key(algorithm), b"x" * 300
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
        ecdsa = ec.ECDSA(hashes.SHA256())
        signature = private.sign(data, ecdsa)
        started = time.process_time()
        for _ in range(times):
            public.verify(signature, data, ecdsa)
    else:
        assert isinstance(private, rsa.RSAPrivateKey)
        assert isinstance(public, rsa.RSAPublicKey)
        signature = private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        started = time.process_time()
        for _ in range(times):
            public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    return (time.process_time() - started) / times * 1e6


def tampered(good: str) -> str:
    """The token with another signature."""
    head, _, signature = good.rpartition(".")
    return f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


async def _check(name: str, app: ASGIApp, good: str) -> None:
    wanted = {good: 200, tampered(good): 200 if name == "nothing" else 401}
    for presented, status in wanted.items():
        answered = await _status(app, presented)
        if answered != status:
            raise RuntimeError(f"{name}: answered {answered} where {status} is right; nothing is measured")


async def _round(app: ASGIApp, presented: str, requests: int) -> float:
    scope, body = _request(presented)

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        pass

    started = time.process_time()
    for _ in range(requests):
        # Of its own: an application may write into its scope.
        await app({**scope, "headers": list(scope["headers"])}, receive, send)
    return (time.process_time() - started) / requests * 1e6


async def _status(app: ASGIApp, presented: str) -> int:
    scope, body = _request(presented)
    statuses: list[int] = []

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    await app(scope, receive, send)
    return statuses[0]


def _request(presented: str) -> tuple[Scope, bytes]:
    headers, body = call()
    headers.append((b"authorization", f"Bearer {presented}".encode()))
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
    }
    return scope, body


def run(algorithm: str, *, requests: int, rounds: int) -> dict[str, float]:
    """Measure in an event loop of its own."""
    return asyncio.run(measure(algorithm, requests=requests, rounds=rounds))
