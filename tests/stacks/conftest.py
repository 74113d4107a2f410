"""Stacks that are started once for all tests of a process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.stacks.issuer import LocalIssuer, local_issuer
from tests.stacks.running import Running, running
from tests.stacks.stacks import STACKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def issuer() -> Iterator[LocalIssuer]:
    with local_issuer() as listening:
        yield listening


@pytest.fixture(scope="session")
def start(
    issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Running]]:
    """Gives the protected stack of this name, which runs until the end."""
    started: dict[str, Running] = {}
    with ExitStack() as ends:

        def started_once(name: str) -> Running:
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                started[name] = ends.enter_context(running(STACKS[name], issuer, folder))
            return started[name]

        yield started_once
