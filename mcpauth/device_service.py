"""Builds what lets devices without a browser ask, and their users decide in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcpauth.endpoints.device_authorization import DeviceAuthorizationEndpoint
from mcpauth.endpoints.verification import VerificationEndpoint
from mcpauth.web.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpauth.endpoints.interaction import Interactions
    from mcpauth.events import Events
    from mcpauth.oauth.client_authentication import ClientAuthenticator
    from mcpauth.oauth.device_code import DeviceCodes
    from mcpauth.pages import Pages
    from mcpauth.settings import Settings
    from mcpauth.web.ceiling import Ceiling
    from mcpauth.web.cookies import Cookie
    from mcpauth.web.csrf import CsrfTokens


@dataclass(frozen=True, slots=True)
class DeviceService:
    """The endpoint of the devices, and the pages of their users."""

    device_authorization: DeviceAuthorizationEndpoint
    verification: VerificationEndpoint


def device_service(
    settings: Settings,
    *,
    clients: ClientAuthenticator,
    codes: DeviceCodes,
    interactions: Interactions,
    ceiling: Ceiling,
    csrf: CsrfTokens,
    browser_cookie: Cookie,
    pages: Pages,
    events: Events,
    now: Callable[[], float],
) -> DeviceService:
    """The device service of these settings."""
    return DeviceService(
        device_authorization=DeviceAuthorizationEndpoint(
            clients,
            codes,
            settings.registry(),
            events,
            ceiling=ceiling,
            verification_uri=f"{settings.issuer}/device",
        ),
        verification=VerificationEndpoint(
            interactions,
            codes,
            Throttle(now=now),
            csrf,
            pages,
            events,
            path=settings.path,
            browser_cookie=browser_cookie,
        ),
    )
