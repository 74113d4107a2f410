"""The `[[trusted_issuers]]` of a settings file, and the files of keys that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.client_keys import PRIVATE_MEMBERS
from mcpauth.oauth.trusted_issuer import TrustedIssuer, Workload
from mcpauth.settings import ConfigurationError
from mcpauth.settings_values import duration, row, switch, tables, text, texts
from mcpauth_middleware.message.strict_json import StrictJsonError, parse
from mcpauth_middleware.tokens.jwks import KeySet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_ISSUER: Mapping[str, Callable[[object], Any]] = {
    "issuer": text,
    "kind": text,
    "jwks_uri": text,
    "jwks_file": text,
    "private_network": switch,
    "algorithms": texts,
    "max_assertion_lifetime": duration,
    "client_ids": texts,
    "resources": texts,
    "scopes": texts,
    "tenant": text,
    "public_clients": switch,
    "provision": switch,
    "audience": text,
    "single_use": switch,
}
_WORKLOAD: Mapping[str, Callable[[object], Any]] = {
    "subject": text,
    "client_id": text,
    "resources": texts,
    "scopes": texts,
}


def trusted_issuers(raw: object, source: str, folder: Path) -> tuple[TrustedIssuer, ...]:
    """The issuers; a relative `jwks_file` is relative to `folder`.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is no such value.
    """
    return tuple(
        _issuer(table, where, source, folder) for where, table in tables(raw, "trusted_issuers", source)
    )


def _issuer(table: Mapping[str, Any], where: str, source: str, folder: Path) -> TrustedIssuer:
    values = row(table, _ISSUER, where, source, also=("workloads",), required=("issuer", "kind"))
    if (name := values.pop("jwks_file", None)) is not None:
        values["jwks"] = _keys(folder / name, f"{where}jwks_file", source)
    values["workloads"] = tuple(
        _workload(each, inner, source)
        for inner, each in tables(table.get("workloads", []), f"{where}workloads", source)
    )
    return TrustedIssuer(**values)


def _workload(table: Mapping[str, Any], where: str, source: str) -> Workload:
    values = row(table, _WORKLOAD, where, source, required=tuple(_WORKLOAD))
    try:
        return Workload(**values)
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        raise ConfigurationError(f"{where}{field}", problem, source=source) from None


def _keys(path: Path, field: str, source: str) -> Mapping[str, Any]:
    try:
        document = parse(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(field, f"cannot be read: {error.strerror}", source=source) from None
    except StrictJsonError:
        raise ConfigurationError(field, "is not JSON", source=source) from None
    try:
        KeySet.from_document(cast("dict[str, Any]", document) if isinstance(document, dict) else {})
    except ValueError as error:
        raise ConfigurationError(field, f"is no JWK Set: {error}", source=source) from None
    found = cast("dict[str, Any]", document)
    if any(isinstance(key, dict) and PRIVATE_MEMBERS & key.keys() for key in found["keys"]):
        raise ConfigurationError(field, "has a private or shared key; give the public ones", source=source)
    return found
