"""Signing keys, RFC 7517, that follow other processes and operators while the server runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from mcpauth.oauth.signing_keys import REFRESH_SECONDS
from mcpauth.oauth.store import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpauth.oauth.key_rings import KeyRings
    from mcpauth.oauth.signing_keys import SigningKeys

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def kept_fresh(keys: SigningKeys | KeyRings, *, every: float = REFRESH_SECONDS) -> AsyncGenerator[None]:
    """Refresh the keys as long as the server runs."""
    task = asyncio.create_task(_refresh_again_and_again(keys, every))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _refresh_again_and_again(keys: SigningKeys | KeyRings, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await keys.refresh()
        # ValueError: a record that only a newer version of this program understands.
        except (StoreUnavailable, ValueError) as error:
            _logger.warning("The signing keys could not be read again: %s", error)
