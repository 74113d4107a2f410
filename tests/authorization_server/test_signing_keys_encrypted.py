"""The server's own secrets at rest: whoever reads the database cannot sign a token."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mcpauth.oauth.encryption_keys import EncryptionKeys
from mcpauth.oauth.server_secret import server_secret
from mcpauth.oauth.signing_keys import KIND, SigningKeys
from mcpauth.oauth.store import StoreUnavailable, to_json
from mcpauth.settings import ConfigurationError
from mcpauth.settings_file import load_settings
from mcpauth.stores.encrypted import EncryptedStore, unlocked
from mcpauth.stores.memory import MemoryStore
from tests.authorization_server.front_helpers import SETTINGS, Clock, running
from tests.authorization_server.store_contract import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from tests.authorization_server.core_helpers import Clock as CoreClock

pytestmark = pytest.mark.anyio

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
TEXT, OTHER_TEXT = (urlsafe_b64encode(key).decode().rstrip("=") for key in (KEY, OTHER))
CONFIG = """
issuer = "https://auth.example"
{line}
[[resources]]
identifier = "https://notes.example/mcp"
name = "Notes"
"""


class TestEncryptedStore(StoreContract):
    @pytest.fixture
    def store(self, clock: CoreClock) -> EncryptedStore:
        kinds = frozenset({"k", "a", "b"})
        return EncryptedStore(MemoryStore(clock), EncryptionKeys([KEY]), secret_kinds=kinds)


async def raw(store: MemoryStore) -> str:
    records = [*await store.list(KIND), *await store.list("secret")]
    return "".join(to_json(record) for _, record in records)


async def test_keys_and_secrets_are_not_in_the_store_in_clear() -> None:
    below = MemoryStore()
    store = await unlocked(below, EncryptionKeys([KEY]))
    kid = (await SigningKeys.load(store)).current.kid
    secret = await server_secret(store, "csrf")
    for clear in ("private_jwk", '"d"', secret.hex(), kid):
        assert clear not in await raw(below)
    again = await unlocked(below, EncryptionKeys([KEY]))
    assert (await SigningKeys.load(again)).current.kid == kid
    assert await server_secret(again, "csrf") == secret


async def test_what_was_in_clear_is_encrypted_at_the_next_start() -> None:
    below = MemoryStore()
    kid = (await SigningKeys.load(below)).current.kid
    assert "private_jwk" in await raw(below)
    store = await unlocked(below, EncryptionKeys([KEY]))
    assert "private_jwk" not in await raw(below)
    assert (await SigningKeys.load(store)).current.kid == kid


@pytest.mark.parametrize("keys", [[], [OTHER]])
async def test_without_the_right_key_the_store_does_not_open(keys: list[bytes]) -> None:
    below = MemoryStore()
    await SigningKeys.load(await unlocked(below, EncryptionKeys([KEY])))
    before = await raw(below)
    with pytest.raises(StoreUnavailable, match="encrypt"):
        await unlocked(below, EncryptionKeys(keys))
    assert await raw(below) == before  # nothing was made anew under the wrong key


async def test_the_encryption_key_changes_without_losing_anything() -> None:
    """The first key encrypts, all decrypt; afterwards the old one is not needed."""
    below = MemoryStore()
    kid = (await SigningKeys.load(await unlocked(below, EncryptionKeys([KEY])))).current.kid
    await unlocked(below, EncryptionKeys([OTHER, KEY]))
    store = await unlocked(below, EncryptionKeys([OTHER]))
    assert (await SigningKeys.load(store)).current.kid == kid
    with pytest.raises(StoreUnavailable):
        await unlocked(below, EncryptionKeys([KEY]))


async def test_a_record_opens_only_in_its_place() -> None:
    """The record's key is associated data: somebody who can write to the database cannot swap secrets."""
    below = MemoryStore()
    store = await unlocked(below, EncryptionKeys([KEY]))
    await server_secret(store, "csrf")
    record = await below.take("secret", "csrf")
    assert record is not None
    await below.add("secret", "sessions", record)
    with pytest.raises(StoreUnavailable, match="does not open"):
        await store.get("secret", "sessions")
    changed = {"sealed": record["sealed"][:-8] + "AAAAAAA="}
    await below.add("secret", "csrf", changed)
    with pytest.raises(StoreUnavailable, match="does not open"):
        await store.get("secret", "csrf")


async def test_the_server_works_on_an_encrypted_store() -> None:
    below = MemoryStore(Clock())
    settings = replace(SETTINGS, encryption_keys=(KEY,))
    async with running(below, settings) as server, server.browser() as browser:
        assert len((await browser.http.get("/jwks")).json()["keys"]) == 1
        assert await browser.to_code()
    assert "private_jwk" not in await raw(below)
    with pytest.raises(StoreUnavailable, match="encrypted"):
        async with running(below):
            raise AssertionError("it started without the key")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcpauth.toml"
    path.write_text(CONFIG.format(line=""))
    return path


def test_the_key_comes_from_the_environment_or_from_a_file(config: Path) -> None:
    assert load_settings(config, {}).encryption_keys == ()
    settings = load_settings(config, {"MCPAUTH_ENCRYPTION_KEY": f"{TEXT},{OTHER_TEXT}="})
    assert settings.encryption_keys == (KEY, OTHER)
    assert str(KEY) not in repr(settings)
    (config.parent / "key").write_text(f"{OTHER_TEXT}\n{TEXT}\n")
    config.write_text(CONFIG.format(line='encryption_key_file = "key"'))
    assert load_settings(config, {}).encryption_keys == (OTHER, KEY)
    assert load_settings(config, {"MCPAUTH_ENCRYPTION_KEY": TEXT}).encryption_keys == (KEY,)


@pytest.mark.parametrize("text", ["", "short", TEXT[:-1], f"{TEXT};{TEXT}", f"{TEXT}\n{TEXT[:-2]}", "ü" * 43])
def test_a_key_of_another_form_is_refused_and_not_repeated(config: Path, text: str) -> None:
    with pytest.raises(
        ConfigurationError, match="MCPAUTH_ENCRYPTION_KEY: must be 32 random bytes"
    ) as refusal:
        load_settings(config, {"MCPAUTH_ENCRYPTION_KEY": text})
    assert not text or text not in str(refusal.value)


def test_the_key_cannot_stand_in_the_settings_file(config: Path) -> None:
    config.write_text(CONFIG.format(line=f'encryption_key = "{TEXT}"'))
    with pytest.raises(ConfigurationError, match="encryption_key: is no setting") as refusal:
        load_settings(config, {})
    assert TEXT not in str(refusal.value)
    config.write_text(CONFIG.format(line='encryption_key_file = "absent"'))
    with pytest.raises(ConfigurationError, match=r"mcpauth\.toml: encryption_key_file: cannot be read"):
        load_settings(config, {})
