"""Reads `Settings` from a TOML file and from `MCPAUTH_*` environment variables; the environment wins.

Unknown keys are refused with a guess at what was meant: a misspelt setting that is silently ignored would
leave its default in force.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcpauth.oauth.domain_policy import DomainPolicy
from mcpauth.oauth.encryption_keys import read_keys
from mcpauth.oauth.resource_registry import Resource, Scope
from mcpauth.oauth.token_exchange import ExchangeRule
from mcpauth.settings import DEFAULT_DATABASE, ConfigurationError, Settings
from mcpauth.settings_issuers import trusted_issuers
from mcpauth.settings_values import Wrong as _Wrong
from mcpauth.settings_values import duration as _duration
from mcpauth.settings_values import integer as _integer
from mcpauth.settings_values import row as _row
from mcpauth.settings_values import switch as _switch
from mcpauth.settings_values import tables as _tables
from mcpauth.settings_values import text as _text
from mcpauth.settings_values import texts as _texts
from mcpauth_middleware.resource import canonical_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIX = "MCPAUTH_"
_ENCRYPTION_KEY = "encryption_key"


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file, or of the environment alone when there is none.

    A relative `database` (the default one too), `audit_journal` or `encryption_key_file` in it is relative
    to the file's folder, so that every command finds the same database wherever it is started.

    Raises:
        ConfigurationError: the file cannot be read, a key is unknown, or a value is wrong.

    """
    source = "environment" if path is None else path.name
    table = {} if path is None else _read(path)
    values: dict[str, Any] = {"issuer": ""} | _from_file(table, source, path)
    sources = dict.fromkeys(table, source)
    for field, value in _from_environment(environ).items():
        values[field], sources[field] = value, "environment"
    values |= _encryption_keys(values.pop("encryption_key_file", None), sources, environ)
    try:
        return Settings(**values)
    except ConfigurationError as error:
        origin = sources.get(error.field, source)
        from_variable = origin == "environment" and error.field in _FIELDS
        name = _variable(error.field) if from_variable else error.field
        raise ConfigurationError(name, error.problem, source=origin) from None


def encryption_key_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that holds the encryption key, if one is named. It does not become a setting.

    Raises:
        ConfigurationError: the settings file cannot be read.

    """
    named = environ.get(_variable("encryption_key_file"))
    if named is None and path is not None and "encryption_key_file" in (table := _read(path)):
        return path.parent / str(table["encryption_key_file"])
    return None if named is None else Path(named)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError("", f"cannot be read: {error.strerror}", source=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("", f"is not TOML: {error}", source=path.name) from None


def _from_file(table: Mapping[str, Any], source: str, path: Path | None) -> dict[str, Any]:
    values = _row(
        table,
        _FIELDS,
        "",
        source,
        also=("resources", "client_id_metadata_documents", "token_exchange", "trusted_issuers"),
    )
    if "resources" in table:
        values |= _resources(table["resources"], source)
    if "token_exchange" in table:
        values["token_exchange"] = _exchanges(table["token_exchange"], source)
    if "trusted_issuers" in table:
        folder = path.parent if path is not None else Path()
        values["trusted_issuers"] = trusted_issuers(table["trusted_issuers"], source, folder)
    if "client_id_metadata_documents" in table:
        values |= _documents(table["client_id_metadata_documents"], source)
    if path is not None:
        values.setdefault("database", DEFAULT_DATABASE)
        for field in ("database", "audit_journal", "encryption_key_file"):
            if values.get(field, "") not in {"", "-", "memory:"}:
                values[field] = str(path.parent / values[field])
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, parse in _FIELDS.items():
        text = environ.get(_variable(field))
        if text is None:
            continue
        try:
            values[field] = parse(_TYPED.get(parse, str)(text))
        except _Wrong as wrong:
            raise ConfigurationError(_variable(field), str(wrong), source="environment") from None
    # Other programs use the prefix too (Kubernetes sets MCPAUTH_SERVICE_HOST), so only what looks like a
    # slip is refused.
    for name in environ:
        if name.startswith(_PREFIX) and name not in map(_variable, (*_FIELDS, "config", _ENCRYPTION_KEY)):
            meant = difflib.get_close_matches(name.removeprefix(_PREFIX).lower(), _FIELDS, n=1, cutoff=0.8)
            if meant:
                raise ConfigurationError(
                    name, f"is no setting; did you mean {_variable(meant[0])}?", source="environment"
                )
    return values


def _encryption_keys(
    file: str | None, sources: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, tuple[bytes, ...]]:
    """The keys of the environment, or of the file that is named: the settings file itself holds no secret."""
    name, source, text = _variable(_ENCRYPTION_KEY), "environment", environ.get(_variable(_ENCRYPTION_KEY))
    if text is None and file is not None:
        name, source = "encryption_key_file", sources.get("encryption_key_file", "")
        try:
            text = Path(file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(name, f"cannot be read: {reason}", source=source) from None
    if text is None:
        return {}
    try:
        return {"encryption_keys": read_keys(text)}
    except ValueError as error:
        raise ConfigurationError(name, str(error), source=source) from None


def _variable(field: str) -> str:
    return _PREFIX + field.upper()


def _integer_text(text: str) -> object:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def _switch_text(text: str) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _texts_text(text: str) -> object:
    return [item.strip() for item in text.split(",") if item.strip()]


_FIELDS: dict[str, Callable[[object], Any]] = {
    "issuer": _text,
    "database": _text,
    "host": _text,
    "port": _integer,
    "access_token_lifetime": _duration,
    "refresh_token_idle_lifetime": _duration,
    "refresh_token_absolute_lifetime": _duration,
    "refresh_token_replay_window": _duration,
    "session_lifetime": _duration,
    "registration": _switch,
    "registration_token_required": _switch,
    "registrations_per_hour": _integer,
    "unconfirmed_client_lifetime": _duration,
    "authorization_requests_per_hour": _integer,
    "require_pushed_authorization_requests": _switch,
    "device_authorization": _switch,
    "trusted_proxies": _texts,
    "private_use_schemes": _texts,
    "audit_journal": _text,
    "dpop": _text,
    "openid": _switch,
    "dpop_nonce_required": _switch,
    "signing_algorithm": _text,
    "id_token_signing_algorithm": _text,
    "signing_key_lifetime": _duration,
    "encryption_key_file": _text,
}
# What an environment variable, always text, would have been in TOML.
_TYPED: dict[Callable[[object], Any], Callable[[str], object]] = {
    _integer: _integer_text,
    _switch: _switch_text,
    _texts: _texts_text,
}


# The tables of resources, and of the scopes in each.

_RESOURCE: dict[str, Callable[[object], Any]] = {
    "identifier": _text,
    "name": _text,
    "default": _switch,
    "access_token_format": _text,
    "signing_algorithm": _text,
}
_SCOPE: dict[str, Callable[[object], Any]] = {
    "name": _text,
    "description": _text,
    "implies": _texts,
    "default": _switch,
}


def _resources(raw: object, source: str) -> dict[str, Any]:
    resources: list[Resource] = []
    defaults: list[str] = []
    for where, table in _tables(raw, "resources", source):
        values = _row(table, _RESOURCE, where, source, also=("scopes",), required=("identifier", "name"))
        try:
            identifier = canonical_resource(values["identifier"])
        except ValueError as error:
            raise ConfigurationError(f"{where}identifier", str(error), source=source) from None
        scopes = tuple(
            Scope(**_row(scope, _SCOPE, inner, source, required=("name", "description")))
            for inner, scope in _tables(table.get("scopes", []), f"{where}scopes", source)
        )
        kept = {name: values[name] for name in ("access_token_format", "signing_algorithm") if name in values}
        resources.append(Resource(identifier, values["name"], scopes, **kept))
        if values.get("default"):
            defaults.append(identifier)
    if len(defaults) > 1:
        raise ConfigurationError(
            "resources", f"only one can be the default (got {', '.join(defaults)})", source=source
        )
    return {"resources": tuple(resources), "default_resource": defaults[0] if defaults else None}


# The table of client ID metadata documents.

_DOCUMENTS: dict[str, Callable[[object], Any]] = {"enabled": _switch, "allow": _texts, "deny": _texts}


def _documents(raw: object, source: str) -> dict[str, Any]:
    name = "client_id_metadata_documents"
    if not isinstance(raw, dict):
        raise ConfigurationError(name, f"must be written as a [{name}] table", source=source)
    values = _row(cast("dict[str, Any]", raw), _DOCUMENTS, f"{name}.", source)
    try:
        return {name: DomainPolicy(**values)}
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        raise ConfigurationError(f"{name}.{field}", problem, source=source) from None


# The tables of token exchange.

_EXCHANGE: dict[str, Callable[[object], Any]] = {"from": _text, "to": _text, "scopes": _texts}


def _exchanges(raw: object, source: str) -> tuple[ExchangeRule, ...]:
    rows = [
        _row(table, _EXCHANGE, where, source, required=tuple(_EXCHANGE))
        for where, table in _tables(raw, "token_exchange", source)
    ]
    return tuple(ExchangeRule(row["from"], row["to"], row["scopes"]) for row in rows)
