"""Issuers whose JWTs are taken as authorization grants, RFC 7523 §3, and what each is trusted with.

An `id-jag` issuer is an enterprise's identity provider, which speaks for its users; a `workload` issuer is a
platform, which speaks for the programs that it runs. Neither can do more than the operator says here, and
without a word nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Kind: TypeAlias = Literal["id-jag", "workload"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ALGORITHMS = ("ES256", "RS256", "EdDSA", "Ed25519")
"""Those of an issuer for which the operator names none."""
LIFETIMES: Mapping[str, timedelta] = {"id-jag": timedelta(minutes=10), "workload": timedelta(hours=1)}
"""How long an assertion may be good, by kind: a platform's tokens commonly last an hour."""

_SEPARATORS = ":/"
# Never what this server gives a registered client (32 hexadecimal digits), a user, or a URL.
_NAME = re.compile(r"(?![0-9a-f]{32}$)[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")


@dataclass(frozen=True, slots=True)
class Workload:
    """Programs of a platform, the client that they are here, and the most that they can get.

    `subject` is a whole `sub`, or its beginning with `*` after a separator: `system:serviceaccount:ci:*`.
    """

    subject: str
    client_id: str
    resources: tuple[str, ...]
    scopes: tuple[str, ...]

    def __post_init__(self) -> None:
        beginning = self.subject.removesuffix("*")
        if not beginning or "*" in beginning:
            raise ValueError(
                "subject: must be a whole sub, or its beginning with one * at the end"
                f" (got {self.subject!r}); name the workloads"
            )
        if beginning != self.subject and beginning[-1] not in _SEPARATORS:
            # `repo:acme/app*` would let in whoever can call something `acme/app-of-mine`.
            raise ValueError(
                f"subject: must have a {' or '.join(_SEPARATORS)} before the * (got {self.subject!r}),"
                " or others could take a name that begins alike"
            )
        if not _NAME.fullmatch(self.client_id):
            raise ValueError(
                "client_id: must be a name of your own, of at most 64 letters, digits, dots, - and _,"
                f" and not 32 hexadecimal digits (got {self.client_id!r})"
            )

    def matches(self, subject: str) -> bool:
        """Whether it is one of these programs."""
        beginning = self.subject.removesuffix("*")
        if beginning == self.subject:
            return subject == self.subject
        return subject.startswith(beginning) and len(subject) > len(beginning)


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One issuer, for one kind of assertion. `issuer` is its `iss`, byte for byte.

    Its keys are at `jwks_uri`, or are `jwks`. None for `max_assertion_lifetime` is the default of the kind.
    """

    issuer: str
    kind: str
    jwks_uri: str | None = None
    jwks: Mapping[str, Any] | None = None
    private_network: bool = False
    """Whether `jwks_uri` may lead to an address that is not public."""
    algorithms: tuple[str, ...] = ALGORITHMS
    max_assertion_lifetime: timedelta | None = None

    # For `id-jag` alone: who may hand its assertions in, and what they are good for at most.
    client_ids: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    tenant: str | None = None
    """The tenant whose users these are, where one issuer has several."""
    public_clients: bool = False
    provision: bool = False
    """Whether somebody who is not known becomes a user."""

    # For `workload` alone.
    audience: str | None = None
    """None: this server's issuer or token endpoint."""
    single_use: bool = True
    workloads: tuple[Workload, ...] = ()

    @property
    def lifetime(self) -> int:
        """The most seconds from `iat` to `exp` of an assertion."""
        chosen = self.max_assertion_lifetime or LIFETIMES[self.kind]
        return int(chosen.total_seconds())

    def workload(self, subject: str) -> Workload | None:
        """Who the subject is here: by its whole name, else by the longest beginning."""
        found = [each for each in self.workloads if each.matches(subject)]
        return max(found, key=lambda each: (not each.subject.endswith("*"), len(each.subject)), default=None)
