"""The WWW-Authenticate challenge, RFC 6750 §3 and RFC 9449 §7.1, with `resource_metadata` of RFC 9728 §5.1.

The order of the parameters is fixed and every value is quoted: clients exist that find a parameter
by searching the whole header for its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 §3.3
_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6750 §3: no quotation mark, no backslash
_LOOKS_LIKE_A_PARAMETER = re.compile(r"(error|scope|resource_metadata|realm)\s*=", re.IGNORECASE)


def challenge(
    scheme: Literal["Bearer", "DPoP"],
    *,
    resource_metadata: str | None,
    error: str | None = None,
    scope: Iterable[str] = (),
    error_description: str | None = None,
    algs: Iterable[str] = (),
) -> str:
    """One challenge. Without scopes there is no `scope`: an empty one would ask for nothing.

    Raises:
        ValueError: a value has characters the header cannot carry, or a description without an error.
    """
    if error_description is not None and error is None:
        raise ValueError("error_description: needs an error to describe (RFC 6750 §3)")
    scopes = list(scope)
    for name in scopes:
        if not is_scope(name):
            raise ValueError(f"scope: not a scope token (RFC 6749 §3.3): {name!r}")
    parameters = {
        "error": error,
        "scope": " ".join(scopes) or None,
        "resource_metadata": resource_metadata,
        "error_description": error_description,
        "algs": " ".join(algs) or None,
    }
    if error_description is not None and _LOOKS_LIKE_A_PARAMETER.search(error_description):
        raise ValueError("error_description: must not contain what a client could take for a parameter")
    return f"{scheme} " + ", ".join(
        f'{name}="{_quotable(name, value)}"' for name, value in parameters.items() if value
    )


def is_scope(name: str) -> bool:
    """Whether a string is one scope token, RFC 6749 §3.3: printable ASCII without space, quote, backslash."""
    return _SCOPE_TOKEN.fullmatch(name) is not None


def _quotable(name: str, value: str) -> str:
    if not _QUOTABLE.fullmatch(value):
        raise ValueError(f"{name}: has a character that cannot stand in the header: {value!r}")
    return value
