"""What the middleware costs, beside what a user would take instead.

python -m benchmarks.middleware [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform

from benchmarks import in_process, over_uvicorn

PEERS = ("mcp SDK, PyJWT", "FastMCP JWTVerifier")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the cost of checking one tool call.")
    parser.add_argument("--quick", action="store_true", help="a rough answer in less than 20 seconds")
    quick: bool = parser.parse_args().quick
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for algorithm in ("ES256", "RS256"):
        raw = in_process.raw_verification(algorithm, times=500 if quick else 2000)
        print(f"\n{algorithm}: verifying a signature and nothing else takes {raw:.0f} us here")
        _print_added(
            in_process.run(algorithm, requests=100 if quick else 400, rounds=5 if quick else 15), raw
        )
    how, measured = over_uvicorn.run(seconds=0.5 if quick else 2, rounds=1 if quick else 3)
    _print_served(how, measured)


def _print_added(times: dict[str, float], raw: float) -> None:
    nothing = times["nothing"]
    added = {name: taken - nothing for name, taken in times.items() if name != "nothing"}
    print(
        f"  {'added to a request, in process':<42}{'us':>8}{'of raw':>9}"
        + "".join(f"{'of ' + p:>24}" for p in PEERS)
    )
    for name, extra in added.items():
        ratios = "".join(f"{extra / added[peer]:>24.2f}" for peer in PEERS)
        print(f"  {name:<42}{extra:>8.0f}{extra / raw:>9.2f}{ratios}")
    one, thousand = "ours, minimal, token seen before", "ours, 1,000 rules, token seen before"
    print(f"  from 1 to 1,000 rules: {added[thousand] - added[one]:+.1f} us")


def _print_served(how: str, measured: dict[str, over_uvicorn.Measured]) -> None:
    nothing = measured["nothing"].rate
    print(f"\nover uvicorn, ES256 ({how})")
    print(f"  {'':<42}{'requests/s':>12}{'us added':>10}{'p99 ms':>9}")
    for name, (rate, p99) in measured.items():
        print(f"  {name:<42}{rate:>12.0f}{(1 / rate - 1 / nothing) * 1e6:>10.0f}{p99:>9.1f}")


if __name__ == "__main__":
    main()
