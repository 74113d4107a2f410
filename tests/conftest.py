"""What every test shares."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A slow moment of a shared machine says nothing about the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"
