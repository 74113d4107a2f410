"""Who is the user? Each way to sign in is one class that turns a submitted form into a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mcpauth.oauth.form import Form
    from mcpauth.oauth.user import User


class SignInRefused(Exception):
    """Nobody is signed in. `reason` is for the operator; the page says the same to everyone."""

    def __init__(self, reason: str, *, login: str | None = None) -> None:
        self.reason = reason
        self.login = login
        super().__init__(reason)


class SignInDelayed(SignInRefused):
    """Nothing was looked at: too many tries came before, or too many at this moment.

    `busy` tells that it is not this user's doing.
    """

    def __init__(self, reason: str, *, retry_after: int, busy: bool = False) -> None:
        self.retry_after = retry_after
        self.busy = busy
        super().__init__(reason)


class SignIn(Protocol):
    """A way to sign in. `acr` and `amr` say what a sign-in by it is worth (OpenID Connect Core §2, RFC 8176).

    Whatever was wrong, the same work is done and the same refusal raised, so that nobody can find out who
    has an account.

    Raises:
        SignInRefused: what was submitted proves nobody.
        SignInDelayed: try again after some seconds.

    """

    method: str
    acr: str
    amr: tuple[str, ...]

    async def authenticate(self, form: Form, *, address: str) -> User:
        """The user whom the form, sent from a network address, proves."""
        ...
