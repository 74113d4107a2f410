"""Every endpoint of the server, a line each, and requests to them that no honest client sends.

`test_hostile_endpoints.py` holds the table against the routes of the server: an endpoint that is not in it is
a failure, and one that is gets all of the hostile input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import quote_from_bytes

from tests.authorization_server.front_helpers import CHALLENGE, LOOPBACK, PASSWORD, TASKS, VERIFIER
from tests.authorization_server.hostile_values import FORM, JSON, ODD_HEADERS, ODD_TEXTS, ODD_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Takes: TypeAlias = Literal["query", "form", "json", "nothing"]
Kept: TypeAlias = Literal["no-store", "no-cache", "max-age"]
"""How a success may be kept. An error never may."""

# What a request brings to be taken seriously. `{…}` is put in when it is known, see `filled`.
BROWSER = ((b"cookie", b"__Host-mcpauth_browser={BROWSER}; __Host-mcpauth_session={SESSION}"),)
SECRET = ((b"authorization", b"Basic {BASIC}"),)
IDENTITY = ((b"authorization", b"Bearer {IDENTITY}"),)
MANAGEMENT = ((b"authorization", b"Bearer {MANAGEMENT}"),)


@dataclass(frozen=True)
class Endpoint:
    """One method of one route. `parameters` are the names of its query, form or JSON members. Their honest
    value follows after `=`, or is in `GOOD`.
    """

    method: str
    route: str
    takes: Takes = "nothing"
    parameters: tuple[str, ...] = ()
    proof: tuple[tuple[bytes, bytes], ...] = ()
    kept: Kept = "no-store"
    complete: bool = True
    """Whether an honest request is answered well: not, where it needs what a table cannot tell."""

    def __str__(self) -> str:
        fixed = " ".join(name for name in self.parameters if "=" in name)
        return f"{self.method} {self.route} {fixed}".strip()

    @property
    def path(self) -> str:
        """A path of the route."""
        return self.route.replace("{client_id}", "{MANAGED}")

    @property
    def values(self) -> dict[str, bytes]:
        """An honest value for each parameter that needs one."""
        split = (name.partition("=") for name in self.parameters)
        return {name: value.encode() if fixed else GOOD.get(name, b"") for name, fixed, value in split}


CLIENT = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
AUTHORIZE = (
    *("response_type=code", "client_id", "redirect_uri", "scope", "state", "resource", "code_challenge"),
    *("code_challenge_method=S256", "prompt", "login_hint", "response_mode", "request=", "request_uri"),
    *("dpop_jkt", "nonce", "max_age", "acr_values", "display", "id_token_hint", "claims"),
)
METADATA = (
    *("redirect_uris", "client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri", "contacts", "scope"),
    *("grant_types", "response_types", "token_endpoint_auth_method", "token_endpoint_auth_signing_alg"),
    *("jwks", "jwks_uri", "application_type", "software_id", "software_version", "client_id"),
    *("client_secret", "client_secret_expires_at", "registration_access_token", "unknown"),
)
EXCHANGE = (
    *("subject_token", "subject_token_type", "requested_token_type", "actor_token", "actor_token_type"),
    *(f"resource={TASKS}", "audience", "scope"),
)
DEVICE_TYPE = "grant_type=urn:ietf:params:oauth:grant-type:device_code"
ASSERTION_TYPE = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE_TYPE = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange"

ENDPOINTS = (
    Endpoint("GET", "/authorize", "query", AUTHORIZE, BROWSER),
    Endpoint("GET", "/authorize", "query", ("client_id", "request_uri={PUSHED}"), BROWSER),
    Endpoint("POST", "/par", "form", (*AUTHORIZE, *CLIENT[1:])),
    Endpoint("GET", "/sign-in", "query", ("request",), BROWSER),
    Endpoint("POST", "/sign-in", "form", ("request", "csrf={SIGN-IN}", "username", "password"), BROWSER),
    Endpoint("GET", "/consent", "query", ("request",), BROWSER),
    Endpoint("POST", "/consent", "form", ("request", "csrf", "decision", "scope 1 notes:read"), BROWSER),
    Endpoint(
        *("POST", "/token", "form"),
        (
            "grant_type=authorization_code",
            "code",
            "redirect_uri",
            "code_verifier",
            "resource",
            "scope",
            *CLIENT,
        ),
    ),
    Endpoint(
        "POST", "/token", "form", ("grant_type=refresh_token", "refresh_token", "resource", "scope", *CLIENT)
    ),
    Endpoint("POST", "/token", "form", ("grant_type=client_credentials", "resource", "scope"), SECRET),
    Endpoint("POST", "/token", "form", (EXCHANGE_TYPE, *EXCHANGE), SECRET),
    Endpoint("POST", "/token", "form", (ASSERTION_TYPE, "assertion={ASSERTION}", "resource", "scope")),
    Endpoint("POST", "/token", "form", ("grant_type", *CLIENT), complete=False),
    Endpoint(
        "POST",
        "/token",
        "form",
        (DEVICE_TYPE, "device_code={DEVICE-CODE}", "scope", "resource", *CLIENT),
        complete=False,
    ),
    Endpoint("POST", "/device_authorization", "form", ("scope", "resource", *CLIENT)),
    Endpoint("GET", "/device", "query", ("user_code",), BROWSER),
    Endpoint("POST", "/device", "form", ("csrf={DEVICE}", "user_code={USER-CODE}"), BROWSER, complete=False),
    Endpoint("GET", "/device/allowed", proof=BROWSER),
    Endpoint("GET", "/device/denied", proof=BROWSER),
    Endpoint("POST", "/revoke", "form", ("token", "token_type_hint", *CLIENT)),
    Endpoint("POST", "/introspect", "form", ("token", "token_type_hint"), SECRET),
    Endpoint("GET", "/userinfo", proof=IDENTITY),
    Endpoint("POST", "/userinfo", "form", ("access_token=",), IDENTITY),
    Endpoint("POST", "/register", "json", METADATA),
    Endpoint("GET", "/register/{client_id}", proof=MANAGEMENT),
    Endpoint("PUT", "/register/{client_id}", "json", METADATA, MANAGEMENT),
    Endpoint("DELETE", "/register/{client_id}", proof=MANAGEMENT),
    Endpoint("GET", "/revoked", "query", ("wait",), kept="no-cache"),
    Endpoint("GET", "/jwks", kept="max-age"),
    Endpoint("GET", "/.well-known/oauth-authorization-server", kept="max-age"),
    Endpoint("GET", "/.well-known/openid-configuration", kept="max-age"),
    Endpoint("GET", "/static/mcpauth.css", kept="max-age"),
    Endpoint("GET", "/static/mcpauth.svg", kept="max-age"),
)

GOOD: dict[str, bytes] = {
    "client_id": b"{CLIENT}",
    "redirect_uri": LOOPBACK.encode(),
    "code_challenge": CHALLENGE.encode(),
    "code_verifier": VERIFIER.encode(),
    "code": b"{CODE}",
    "refresh_token": b"{REFRESH}",
    "token": b"{ACCESS}",
    "subject_token": b"{ACCESS}",
    "subject_token_type": b"urn:ietf:params:oauth:token-type:access_token",
    "request": b"{REQUEST}",
    "csrf": b"{CSRF}",
    "decision": b"allow",
    "username": b"{USER}",
    "password": PASSWORD.encode(),
}
GOOD_MEMBERS = {
    "redirect_uris": b'["https://client.example/cb"]',
    "client_id": b'"{MANAGED}"',
    "jwks": b'{"keys": []}',
}


@dataclass(frozen=True)
class Attempt:
    """A request as it is, whatever a server makes of it. Each part of the body comes by itself."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: tuple[bytes, ...] = (b"",)
    broken_off: bool = False

    def __str__(self) -> str:
        start = f"{self.method} {self.path} {self.query[:200]!r} {str(self.headers)[:300]}"
        return f"{start} {sum(map(len, self.body))} bytes: {self.body[0][:300]!r}"


CONTENT_TYPE = {"form": ((b"content-type", FORM),), "json": ((b"content-type", JSON),)}

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 1000)


def encoded(values: Mapping[str, bytes]) -> bytes:
    """The values as a form; those that are empty are left out, and `{…}` stays legible."""
    return b"&".join(
        f"{quote_from_bytes(name.encode())}={quote_from_bytes(value, safe='{}')}".encode()
        for name, value in values.items()
        if value
    )


def honest(endpoint: Endpoint, **changed: bytes) -> Attempt:
    """A request that is good as far as a table can tell, but for what is changed."""
    values = {**endpoint.values, **changed}
    attempt = Attempt(endpoint.method, endpoint.path, headers=endpoint.proof)
    if endpoint.takes == "query":
        return replace(attempt, query=encoded(values))
    if endpoint.takes == "nothing":
        return attempt
    headers = (*endpoint.proof, *CONTENT_TYPE[endpoint.takes])
    if endpoint.takes == "form":
        return replace(attempt, headers=headers, body=(encoded(values),))
    members = {name: GOOD_MEMBERS[name] for name in ("redirect_uris", "client_id")} | changed
    return replace(attempt, headers=headers, body=(_object(members),))


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in members.items()) + b"}"


def attempts(endpoint: Endpoint) -> Iterator[Attempt]:
    """Every kind of hostile input, one at a time, in requests that are otherwise good."""
    yield honest(endpoint)
    yield from _odd_parameters(endpoint)
    yield from _odd_bodies(endpoint)
    good = honest(endpoint)
    for header in ODD_HEADERS:
        others = tuple(each for each in good.headers if each[0] != header[0])
        yield replace(good, headers=(*others, header))
        yield replace(good, headers=(*good.headers, header, header))
    for method in METHODS:
        yield replace(good, method=method)
    yield replace(good, query=b"x=" + b"a" * 100_000)
    yield replace(good, query=b"a=1&" * 5000)
    yield replace(good, query=b"\xff%ff%00%&&==;;?")
    for suffix in ("/", "/x", "//", "/..", "/\0", "\udcff", "?", "/%2e%2e", ";x"):
        yield replace(good, path=good.path + suffix)


def _odd_parameters(endpoint: Endpoint) -> Iterator[Attempt]:
    odd = ODD_VALUES if endpoint.takes == "json" else ODD_TEXTS
    for name in endpoint.values:
        for value in odd:
            yield honest(endpoint, **{name: value})
        if endpoint.takes in ("form", "query"):
            good = honest(endpoint)
            more = b"&" + encoded({name: GOOD.get(name, b"x")}) * 2
            yield replace(good, query=good.query + more if good.query else b"", body=(good.body[0] + more,))


def _odd_bodies(endpoint: Endpoint) -> Iterator[Attempt]:
    good = honest(endpoint)
    body = good.body[0]
    whole: tuple[bytes, ...] = (
        *(
            b"",
            b"\0",
            b"\xff",
            b"&",
            b"=",
            b"a=1&" * 5000,
            b"a=%",
            b"[" * 60_000,
            b'{"a":' * 9000,
            b"null",
            b"[]",
        ),
        *(
            b"x" * 70_000,
            b"\xef\xbb\xbf" + body,
            body.decode("latin-1").encode("utf-16"),
            body + b"\0",
            body * 2,
        ),
    )
    for each in whole:
        yield replace(good, body=(each,))
    yield replace(good, body=(*(bytes([byte]) for byte in body), b"", b""))
    yield replace(good, body=(b"x" * 65_536,) * 16)
    yield replace(good, body=(b"",) * 1000)
    yield replace(good, body=(body[: len(body) // 2],), broken_off=True)
    for content_type in (FORM, JSON):
        others = tuple(each for each in good.headers if each[0] != b"content-type")
        yield replace(good, headers=(*others, (b"content-type", content_type)))


def filled(attempt: Attempt, values: Mapping[str, str]) -> Attempt:
    """The attempt with what is known now in the places of its names."""

    def fill(data: bytes) -> bytes:
        for name, value in values.items():
            data = data.replace(b"{%s}" % name.encode(), value.encode())
        return data

    return replace(
        attempt,
        path=attempt.path.replace("{MANAGED}", values["MANAGED"]),
        query=fill(attempt.query),
        headers=tuple((name, fill(value)) for name, value in attempt.headers),
        body=tuple(fill(part) for part in attempt.body),
    )
