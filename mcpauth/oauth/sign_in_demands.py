"""What a client demands of its user's sign-in, OpenID Connect Core 1.0 §3.1.2.1 and RFC 9470 §4."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidRequest, UnmetAuthenticationRequirements

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcpauth.oauth.form import Form
    from mcpauth.oauth.store import Record

_SECONDS = re.compile(r"[0-9]{1,9}")
_ANEW = frozenset({"login", "select_account"})


@dataclass(frozen=True, slots=True)
class SignInDemands:
    """The demands of one request.

    `max_age` is how many seconds ago the sign-in may have been; one of `acr_values` has to be reached.
    """

    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: Form, *, acr_values_supported: Collection[str]) -> SignInDemands:
        """The demands that the parameters of a request make.

        Raises:
            InvalidRequest: `prompt=none` with another one, or a `max_age` that is no number of seconds.
            UnmetAuthenticationRequirements: none of the `acr_values` can be reached here.
        """
        prompt = _words(form, "prompt")
        if "none" in prompt and len(prompt) > 1:
            raise InvalidRequest("prompt=none excludes every other prompt")
        max_age = form.optional("max_age")
        if max_age is not None and not _SECONDS.fullmatch(max_age):
            raise InvalidRequest("max_age is not a number of seconds")
        acr_values = _words(form, "acr_values")
        # OpenID Connect has them as a wish; but whoever sends them to step up would only come again.
        if acr_values and not set(acr_values) & set(acr_values_supported):
            raise UnmetAuthenticationRequirements("none of the acr_values is supported")
        return cls(prompt, None if max_age is None else int(max_age), acr_values)

    @classmethod
    def from_record(cls, record: Record) -> SignInDemands:
        """The demands of a stored record."""
        return cls(tuple(record["prompt"]), record["max_age"], tuple(record["acr_values"]))

    @property
    def in_silence(self) -> bool:
        """Whether nothing may be shown to the user (`prompt=none`)."""
        return "none" in self.prompt

    def met_by(self, *, auth_time: int, acr: str, for_this_request: bool, now: float) -> bool:
        """Whether a sign-in is enough. One that was made for the very request is as new as it can be."""
        if self.acr_values and acr not in self.acr_values:
            return False
        if for_this_request:
            return True
        too_old = self.max_age is not None and now - auth_time > self.max_age
        return not too_old and not _ANEW & set(self.prompt)


NO_DEMANDS = SignInDemands()


def _words(form: Form, name: str) -> tuple[str, ...]:
    return tuple((form.optional(name) or "").split())
