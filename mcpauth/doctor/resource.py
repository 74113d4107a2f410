"""A protected resource as clients reach it (RFC 9728): it asks for a token, and sends them to this issuer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpauth.doctor.asking import FROM_A_PAGE, Answer, Asker, NoAnswer, as_list
from mcpauth.doctor.finding import Finding, failed, ok, warning
from mcpauth.doctor.issuer import CORS, near
from mcpauth_middleware.protected_resource_metadata import ProtectedResourceMetadata
from mcpauth_middleware.resource import origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from mcpauth.oauth.resource_registry import Resource

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_CHALLENGE = re.compile(r"(?:^|[,\s])(Bearer|DPoP)(?:\s|$)", re.IGNORECASE)
_METADATA = re.compile(r'resource_metadata="([^"]*)"', re.IGNORECASE)


async def of_resource(issuer: str, resource: Resource, asker: Asker) -> AsyncGenerator[Finding]:
    """One resource of the settings."""
    check = f"resource {resource.identifier}"
    try:
        # Without a token: a server that answers it is open to everyone. A ping does nothing.
        answer = await asker.ask(resource.identifier, "POST", json=PING)
    except NoAnswer as error:
        yield failed(check, f"{error}", "start the MCP server, or correct `identifier`")
        return
    challenge = _challenge(check, answer)
    yield challenge
    if challenge.state == "failed":
        return
    url, finding = _metadata_url(check, resource, answer)
    if finding is not None:
        yield finding
    if url is None:
        return
    async for each in _of_metadata(check, issuer, resource, url, asker):
        yield each


def _challenge(check: str, answer: Answer) -> Finding:
    header = answer.headers.get("www-authenticate", "")
    protect = "put McpAuthMiddleware, or another resource server's checks, in front of it"
    if answer.status in range(200, 300):
        return failed(check, f"it answers {answer.status} without a token: it is open to everyone", protect)
    if answer.status == 403:
        return failed(check, "it answers 403 without a token", "allow this host name (`allowed_hosts`)")
    if answer.status == 404:
        return failed(check, "it answers 404", "`identifier` is the exact URL of the MCP endpoint")
    if answer.status != 401:
        return failed(check, f"it answers {answer.status} without a token, not 401", protect)
    if not _CHALLENGE.search(header):
        text = "its 401 has no Bearer challenge, so clients do not know how to go on"
        return failed(check, text, f"let the proxy leave WWW-Authenticate as it is, or {protect}")
    return ok(check, "it asks for a token (401 with a challenge)")


def _metadata_url(check: str, resource: Resource, answer: Answer) -> tuple[str | None, Finding | None]:
    expected = ProtectedResourceMetadata(
        resource=resource.identifier, authorization_servers=(), scopes_supported=tuple
    ).url
    named = _METADATA.search(answer.headers.get("www-authenticate", ""))
    if named is None:
        text = "its challenge names no resource_metadata; clients have to guess where it is"
        return expected, warning(check, text, "RFC 9728 §5.1 has it in the challenge")
    url = named[1]
    if not url.startswith(f"{origin_of(urlsplit(resource.identifier))}/"):
        # Not asked: whoever answers as the resource would choose where this command goes.
        text = f"its challenge names metadata on another host, {url}"
        return None, failed(check, text, "let it be on the host of the resource, as clients expect")
    return url, None


async def _of_metadata(
    check: str, issuer: str, resource: Resource, url: str, asker: Asker
) -> AsyncGenerator[Finding]:
    mend = f"let the proxy pass {urlsplit(url).path} to the MCP server"
    try:
        answer = await asker.ask(url, headers=FROM_A_PAGE)
        if answer.status != 200:
            yield failed(check, f"{url} answers {answer.status}", mend)
            return
        document = answer.document()
    except NoAnswer as error:
        yield failed(check, f"{url}: {error}", mend)
        return
    problems = [*_wrong_names(check, issuer, resource, document)]
    for finding in problems:
        yield finding
    if answer.headers.get(CORS) != "*":
        yield warning(check, f"{url} has no CORS header; clients in browsers fail", mend)
    if not problems:
        yield ok(check, "its metadata names it and this issuer byte for byte")


def _wrong_names(
    check: str, issuer: str, resource: Resource, document: Mapping[str, Any]
) -> Iterator[Finding]:
    named = document.get("resource")
    if named != resource.identifier:
        # RFC 9728 §3.3: MUST be identical, or clients give up.
        yield failed(
            check,
            f"its metadata says resource {named!r}, the settings {resource.identifier!r}"
            f"{near(named, resource.identifier)}",
            "give both the exact URL that clients use",
        )
    servers = as_list(document.get("authorization_servers")) or []
    if issuer not in servers:
        spelling = next(filter(None, (near(server, issuer) for server in servers)), "")
        yield failed(
            check,
            f"its metadata names the authorization servers {servers!r}, not {issuer!r}{spelling}",
            f"authorization_servers=[{issuer!r}]",
        )
    known = {scope.name for scope in resource.scopes}
    scopes = as_list(document.get("scopes_supported")) or []
    unknown = [scope for scope in scopes if str(scope) not in known]
    if unknown:
        text = f"it tells clients to ask for scopes that this server does not know for it: {unknown!r}"
        yield warning(check, text, "declare them as [[resources.scopes]], or leave them out there")
