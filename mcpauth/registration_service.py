"""Builds what lets clients register themselves, and manage what they registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.endpoints.registration import RegistrationEndpoint
from mcpauth.endpoints.registration_client import RegistrationClientEndpoint
from mcpauth.events import Event, Events, Listener, TokenIssued, TokenRefreshed
from mcpauth.oauth.client import Clients
from mcpauth.oauth.registration import Registrations
from mcpauth.oauth.registration_management import RegistrationManagement
from mcpauth.oauth.registration_token import RegistrationTokens
from mcpauth.web.ceiling import Ceiling
from mcpauth.web.cors import any_origin_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute

    from mcpauth.oauth.grant import Grants
    from mcpauth.oauth.store import Store
    from mcpauth.settings import Settings


@dataclass(frozen=True, slots=True)
class RegistrationService:
    """The two endpoints."""

    registration: RegistrationEndpoint
    registration_client: RegistrationClientEndpoint

    def routes(self, at: str) -> list[BaseRoute]:
        """Where they are; clients in browsers register too."""
        return [
            any_origin_route(f"{at}/register", self.registration.post, methods=["POST"]),
            any_origin_route(
                f"{at}/register/{{client_id}}",
                self.registration_client.answer,
                methods=["GET", "PUT", "DELETE"],
            ),
        ]


def registration_service(
    settings: Settings,
    store: Store,
    *,
    clients: Clients,
    grants: Grants,
    events: Events,
    now: Callable[[], float],
) -> RegistrationService:
    """The registration service of these settings, over this store."""
    url = f"{settings.issuer}/register"
    lifetime = settings.unconfirmed_client_lifetime
    return RegistrationService(
        registration=RegistrationEndpoint(
            Registrations(store, clients, unconfirmed_lifetime=lifetime, now=now),
            events,
            url=url,
            ceiling=Ceiling(settings.registrations_per_hour, now=now),
            tokens=RegistrationTokens(store, now=now) if settings.registration_token_required else None,
        ),
        registration_client=RegistrationClientEndpoint(
            RegistrationManagement(clients, grants, events=events), url=url
        ),
    )


def confirming(store: Store, *, now: Callable[[], float]) -> Listener:
    """A listener that keeps the registration of a client as soon as a user's grant has led to a token.

    Or to the next one: a process that ended right after the first has not come to it.
    """
    registrations = Registrations(store, Clients(store, now=now), now=now)

    async def confirm(event: Event) -> None:
        if isinstance(event, TokenIssued | TokenRefreshed):
            await registrations.confirm(event.client_id)

    return confirm
