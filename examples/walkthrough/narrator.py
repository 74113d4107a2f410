"""Says what happens on the wire, one line an exchange, with the clause behind it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True)
class Step:
    """One exchange: what was asked, what came back, what it means and where that is laid down."""

    method: str
    target: str
    status: int
    meaning: str
    clause: str


# Path of the request -> what it means when it succeeds, and the clause. The longest match is taken.
MEANINGS = {
    "/.well-known/oauth-protected-resource": ("which authorization server protects this?", "RFC 9728 §3"),
    "/.well-known/oauth-authorization-server": ("where are its endpoints, what can it do?", "RFC 8414 §3"),
    "/register": ("the client introduces itself", "RFC 7591 §3"),
    "/authorize": ("code request with PKCE and resource", "RFC 7636 §4.3, RFC 8707 §2"),
    "/sign-in": ("who are you?", "RFC 6749 §3.1"),
    "/consent": ("may this client do that for you?", "RFC 6749 §4.1.1"),
    "/revoke": ("the client hands its grant back", "RFC 7009 §2"),
}
ANSWERS = {("POST", "/sign-in"): "the user signs in", ("POST", "/consent"): "the user answers"}
GRANTS = {
    "authorization_code": ("code and verifier become tokens", "RFC 6749 §4.1.3, RFC 7636 §4.5"),
    "refresh_token": ("refresh: a new pair, the old one is spent", "RFC 9700 §4.14"),
}
REFUSALS = {
    401: ("no valid token: the challenge names the metadata", "RFC 9728 §5.1"),
    403: ("insufficient_scope: the challenge names the scopes", "RFC 6750 §3.1"),
    429: ("the rate limit answers, and says when to come back", "RFC 6585 §4"),
}
MCP_METHODS = {
    "server/discover": ("what can this server do?", "MCP 2026-07-28"),
    "initialize": ("the handshake of older revisions", "MCP 2025-11-25"),
    "tools/list": ("only what the scopes allow is listed", "MCP tools"),
    "tools/call": ("answered", "MCP tools"),
}
# Said once for all: these tell a reader nothing about authorization.
UNREMARKABLE = {"notifications/initialized"}


@dataclass
class Narrator:
    """Collects the steps and prints each as it happens.

    Args:
        colour: Whether to use terminal colours.
    """

    colour: bool = field(default_factory=lambda: sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    _last: Step | None = None
    _repeated: int = 0

    def heading(self, text: str) -> None:
        """Start a part."""
        self._end_repetition()
        print(f"\n{self._style('1', text)}")

    def say(self, text: str) -> None:
        """A remark under the last step."""
        self._end_repetition()
        print(f"        {self._style('2', text)}", flush=True)

    async def exchange(self, response: httpx2.Response) -> None:
        """An event hook of an HTTP client: tells the exchange that this response ends."""
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            await response.aread()
        self.page(response)

    def page(self, response: httpx2.Response) -> None:
        """The same for a browser's pages."""
        step = read_step(response)
        if step is None:
            return
        if step == self._last:
            self._repeated += 1
            return
        self._end_repetition()
        self._last = step
        self._print(step)

    def _end_repetition(self) -> None:
        if self._repeated:
            print(f"        {self._style('2', f'the same again, {self._repeated} x')}")
        self._last, self._repeated = None, 0

    def _print(self, step: Step) -> None:
        good = step.status < 400
        status = self._style("32" if good else "33", str(step.status))
        what = f"{step.method:<4} {step.target}"
        print(
            f"   {status}  {what:<46.46}  {step.meaning:<54.54}  {self._style('36', step.clause)}", flush=True
        )

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def read_step(response: httpx2.Response) -> Step | None:
    """What one response means; None for exchanges that tell a reader nothing."""
    request = response.request
    path = urlsplit(str(request.url)).path
    if path == "/mcp":
        return _mcp_step(response)
    if path == "/token":
        return _token_step(response)
    prefix = max((known for known in MEANINGS if path.startswith(known)), key=len, default=None)
    if prefix is None:
        return None
    meaning, clause = MEANINGS[prefix]
    if (request.method, prefix) in ANSWERS:
        meaning = ANSWERS[request.method, prefix]
    location = response.headers.get("location", "")
    answered = parse_qs(urlsplit(location).query)
    if "code" in answered:
        meaning, clause = "back to the client with code, state and iss", "RFC 9207 §2"
    elif answered.get("error"):
        meaning, clause = f"back to the client: {answered['error'][0]}", "RFC 6749 §4.1.2.1"
    elif (
        response.is_redirect
        and request.method == "GET"
        and not request.url.query.startswith(b"response_type")
    ):
        # From one page of the server to its next: the browser's business.
        return None
    return Step(request.method, path, response.status_code, meaning, clause)


def _mcp_step(response: httpx2.Response) -> Step | None:
    request = response.request
    message: Any = json.loads(request.content) if request.content else {}
    method = message.get("method", "")
    if method in UNREMARKABLE or (request.method != "POST" and response.status_code != 401):
        return None
    name = message.get("params", {}).get("name", "")
    target = f"{method} {name}".strip() or "/mcp"
    meaning, clause = REFUSALS.get(response.status_code) or MCP_METHODS.get(method, (method, "MCP"))
    return Step(request.method, target, response.status_code, meaning, clause)


def _token_step(response: httpx2.Response) -> Step:
    form = parse_qs(response.request.content.decode())
    grant_type = form["grant_type"][0]
    meaning, clause = GRANTS[grant_type]
    if response.status_code >= 400:
        meaning, clause = f"refused: {response.json()['error']}", "RFC 6749 §5.2"
    return Step("POST", f"/token {grant_type}", response.status_code, meaning, clause)
