"""The authorization server under its public URL: what clients find there (RFC 8414), and if it is ours."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpauth.doctor.asking import FROM_A_PAGE, Answer, Asker, NoAnswer, as_list
from mcpauth.doctor.finding import Finding, failed, ok, warning
from mcpauth.endpoints.metadata import well_known_paths
from mcpauth_middleware.resource import origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

    from mcpauth.settings import Settings

CHECK = "metadata"
JWKS = "jwks"
CORS = "access-control-allow-origin"
HEADER = "mcp-protocol-version"
SKEW_SECONDS = 30


async def of_issuer(
    settings: Settings, asker: Asker, jwks: list[dict[str, Any]] | None, now: Callable[[], float]
) -> AsyncGenerator[Finding]:
    """The issuer, as clients reach it. `jwks` are the keys of the database, if they are known."""
    first, *aliases = (
        origin_of(urlsplit(settings.issuer)) + path for path in well_known_paths(settings.issuer)
    )
    try:
        answer = await asker.ask(first, headers=FROM_A_PAGE)
    except NoAnswer as error:
        mend = "start the server, and let the proxy pass the issuer's host to it"
        yield failed(CHECK, f"{first}: {error}", mend)
        return
    wrong = _wrong_document(settings.issuer, first, answer)
    if wrong is not None:
        yield wrong
        return
    document = answer.document()
    yield ok(CHECK, f"{first} names the issuer byte for byte")
    for alias in aliases:
        yield await _alias(settings.issuer, alias, document, asker)
    async for finding in _readable_in_browsers(first, answer, asker):
        yield finding
    for finding in (*_of_clock(answer, now), *_of_other_settings(settings, document)):
        yield finding
    async for finding in _of_endpoints(settings, document, asker):
        yield finding
    yield await _of_keys(settings, document, jwks, asker)


def near(found: object, wanted: str) -> str:
    """What another spelling of an identifier is, for people who see no difference."""
    if not isinstance(found, str):
        return ""
    if found.rstrip("/") == wanted.rstrip("/"):
        return ": only the slash at the end differs"
    return ": only upper and lower case differ" if found.lower() == wanted.lower() else ""


def _wrong_document(issuer: str, url: str, answer: Answer) -> Finding | None:
    path = urlsplit(url).path
    mend = f"let the proxy pass {path} as it is to the server"
    if answer.status == 503:
        return failed(CHECK, f"{url} answers 503", "start the server behind it; its log says more")
    if answer.status in range(300, 400):
        return failed(CHECK, f"{url} redirects, and clients do not follow", mend)
    if answer.status != 200:
        return failed(CHECK, f"{url} answers {answer.status}", mend)
    try:
        named = answer.document().get("issuer")
    except NoAnswer as error:
        return failed(CHECK, f"{url}: {error}", mend)
    if named != issuer:
        # RFC 8414 §3.3: MUST be identical.
        text = f"{url} names the issuer {named!r}, not {issuer!r}{near(named, issuer)}"
        return failed(CHECK, text, "give every server and every resource server the same spelling")
    return None


async def _alias(issuer: str, url: str, document: Mapping[str, Any], asker: Asker) -> Finding:
    try:
        answer = await asker.ask(url)
    except NoAnswer as error:
        return warning(CHECK, f"{url}: {error}", "some clients look only there; let the proxy pass it")
    wrong = _wrong_document(issuer, url, answer)
    if wrong is not None:
        return warning(CHECK, wrong.text, f"some clients look only there; {wrong.mend}")
    if answer.document() != document:
        return warning(CHECK, f"{url} has another document", "let the proxy pass all of them to one server")
    return ok(CHECK, f"{url} says the same")


async def _readable_in_browsers(url: str, answer: Answer, asker: Asker) -> AsyncGenerator[Finding]:
    mend = "let the proxy leave the CORS headers and OPTIONS to the server"
    allowed = answer.headers.get(CORS)
    if allowed != "*":
        told = "none" if allowed is None else repr(allowed)
        yield warning("cors", f"{url}: Access-Control-Allow-Origin is {told}; clients in browsers fail", mend)
        return
    asked = {
        **FROM_A_PAGE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": HEADER,
    }
    try:
        preflight = await asker.ask(url, "OPTIONS", headers=asked)
    except NoAnswer as error:
        yield warning("cors", f"OPTIONS {url}: {error}", mend)
        return
    headers = preflight.headers.get("access-control-allow-headers", "").lower()
    named = HEADER in headers or "*" in headers
    if preflight.status not in range(200, 300) or preflight.headers.get(CORS) != "*" or not named:
        yield warning("cors", f"{url}: a preflight is refused; clients in browsers fail", mend)
    else:
        yield ok("cors", "clients in browsers can read the metadata")


def _of_clock(answer: Answer, now: Callable[[], float]) -> Iterator[Finding]:
    try:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return  # RFC 9110 §6.6.1: a server without a clock sends none
    if (skew := abs(told - now())) > SKEW_SECONDS:
        text = f"it and this machine are {skew:.0f} seconds apart; tokens seem expired or not valid yet"
        yield warning("clock", text, "let both follow a time server (NTP)")


def _of_other_settings(settings: Settings, document: Mapping[str, Any]) -> Iterator[Finding]:
    resources = [resource.identifier for resource in settings.resources]
    scopes = list(settings.registry().scopes_supported)
    for member, ours in (("protected_resources", resources), ("scopes_supported", scopes)):
        theirs = as_list(document.get(member))
        if theirs is None or not {*ours} <= {*map(str, theirs)}:
            yield warning(
                CHECK,
                f"the {member} that it publishes are not those of these settings",
                "restart the server, or look whether it reads another file",
            )


async def _of_endpoints(
    settings: Settings, document: Mapping[str, Any], asker: Asker
) -> AsyncGenerator[Finding]:
    reached = 0
    for member, url in document.items():
        if not member.endswith("_endpoint"):
            continue
        if not isinstance(url, str) or not url.startswith(f"{settings.issuer}/"):
            yield failed(CHECK, f"{member} is not below the issuer", "look whether another server answers")
            continue
        mend = "let the proxy pass everything below the issuer to the server"
        try:
            # Without parameters nothing can happen: it is refused, or the method is.
            answer = await asker.ask(url)
        except NoAnswer as error:
            yield failed(CHECK, f"{member} {url}: {error}", mend)
            continue
        if answer.status == 404 or answer.status >= 500:
            yield failed(CHECK, f"{member} {url} answers {answer.status}", mend)
        else:
            reached += 1
    if reached:
        yield ok(CHECK, f"{reached} endpoints answer")


async def _of_keys(
    settings: Settings, document: Mapping[str, Any], ours: list[dict[str, Any]] | None, asker: Asker
) -> Finding:
    url = str(document.get("jwks_uri"))
    if not url.startswith(f"{settings.issuer}/"):
        return failed(JWKS, "jwks_uri is not below the issuer", "look whether another server answers")
    mend = "let the proxy pass everything below the issuer to the server"
    try:
        answer = await asker.ask(url)
        theirs = as_list(answer.document().get("keys")) if answer.status == 200 else None
    except NoAnswer as error:
        return failed(JWKS, f"{url}: {error}", mend)
    if theirs is None:
        return failed(JWKS, f"{url} answers {answer.status}, and no keys", mend)
    if ours is None:
        return ok(JWKS, f"{url} has keys; there are none here to compare them with")
    if _sorted(theirs) != _sorted(ours):
        return failed(
            JWKS,
            f"{url} has other keys than the database of these settings",
            "another server answers there, or it uses another database; a cache in between may be old",
        )
    return ok(JWKS, f"{url} has the keys of this database")


def _sorted(keys: Sequence[object]) -> list[str]:
    """The keys in one order, each with its members in one order."""
    return sorted(json.dumps(key, sort_keys=True) for key in keys)
