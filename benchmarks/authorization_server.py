"""What a token costs: this authorization server beside npm `oidc-provider`, over HTTP, on this machine.

python -m benchmarks.authorization_server [--quick]
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

from benchmarks import load, processor_time
from benchmarks.token_requests import OPERATIONS, Subject
from benchmarks.token_servers import oidc_provider, ours

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One loop, or the median of several. Milliseconds; `cpu` is processor time a request, `client` ours."""

    cpu: float
    rate: float
    p50: float
    p99: float
    client: float


def main() -> None:
    """Measure, and print."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            sys.exit(f"{name} is not on the PATH: apt-get install nodejs npm")
    quick = "--quick" in sys.argv[1:]
    print(f"Python {platform.python_version()}, {load.CONNECTIONS} connections, one process each")
    measured = asyncio.run(_measure(seconds=1 if quick else 4, rounds=3 if quick else 5))
    for operation in OPERATIONS:
        _print(operation, {name: measured[name, operation] for name in ("ours", "oidc-provider")})


async def _measure(*, seconds: float, rounds: int) -> dict[tuple[str, str], Measured]:
    loops: dict[tuple[str, str], list[Measured]] = {}
    with ExitStack() as running:
        servers = [running.enter_context(server()) for server in (ours, oidc_provider)]
        async with httpx2.AsyncClient() as client:
            subjects = [await Subject.prepared(server, client) for server in servers]
            for subject in subjects:
                for operation in OPERATIONS:
                    await _loop(subject, operation, client, WARM_UP_SECONDS)
            for number in range(rounds):
                for operation in OPERATIONS:
                    # They take turns in going first, too.
                    for subject in subjects if number % 2 == 0 else reversed(subjects):
                        loop = await _loop(subject, operation, client, seconds)
                        loops.setdefault((subject.server.name, operation), []).append(loop)
    return {key: _median(each) for key, each in loops.items()}


async def _loop(subject: Subject, operation: str, client: httpx2.AsyncClient, seconds: float) -> Measured:
    requests = await subject.requests(operation, client)
    pid = subject.server.pid
    before, own_before = processor_time.spent_ms(pid), time.process_time()
    done = await load.run(subject.server.port, requests, seconds=seconds)
    return Measured(
        cpu=(processor_time.spent_ms(pid) - before) / done.requests,
        rate=done.rate,
        p50=done.quantile(0.5),
        p99=done.quantile(0.99),
        client=(time.process_time() - own_before) * 1000 / done.requests,
    )


def _median(loops: Sequence[Measured]) -> Measured:
    def of(name: str) -> float:
        return float(statistics.median(getattr(each, name) for each in loops))

    return Measured(cpu=of("cpu"), rate=of("rate"), p50=of("p50"), p99=of("p99"), client=of("client"))


def _print(operation: str, servers: dict[str, Measured]) -> None:
    print(f"\n{operation:<24}{'CPU-ms':>9}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'client CPU-ms':>15}")
    for name, each in servers.items():
        latencies = f"{each.p50:>9.2f}{each.p99:>9.2f}"
        print(f"  {name:<22}{each.cpu:>9.3f}{each.rate:>12.0f}{latencies}{each.client:>15.3f}")
    own, peer = servers.values()
    print(
        f"  {'ratio':<22}{own.cpu / peer.cpu:>9.2f}{own.rate / peer.rate:>12.2f}"
        f"{own.p50 / peer.p50:>9.2f}{own.p99 / peer.p99:>9.2f}"
    )


if __name__ == "__main__":
    main()
