"""The hostile corpus: every way we know to be judged by one reading of a request and run by another.

Each attack wants something to run that the policy denies: the tool `drop_everything`, the prompt `hidden`,
the resource `demo://files/secret/a`. Most of them look like a call of `read_file`, which is allowed.
"""

# ruff: noqa: E501  one attack a line, as far as it goes
from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.stacks.raw_http import Fields, chunked, request
from tests.stacks.running import headers_and_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stacks.stacks import Era

GOOD, BAD = "read_file", "drop_everything"
SECRET = "demo://files/secret/a"
DENIED = frozenset({BAD, "write_file", "hidden", SECRET})


@dataclass(frozen=True)
class Attempt:
    """What an attacker has to work with: a token for a little, a session, and the address."""

    era: Era
    port: int
    token: str | None
    session: Mapping[str, str]

    def call(self, name: str = GOOD, **params: Any) -> bytes:
        """The honest body of a tool call."""
        return self.body("tools/call", {"name": name, **params})

    def body(self, method: str, params: Mapping[str, Any]) -> bytes:
        return headers_and_body(self.era, method, params)[1]

    def document(self, method: str = "tools/call", params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body(method, params or {"name": GOOD}))
        return document

    def fields(
        self,
        method: str = "tools/call",
        params: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
    ) -> Fields:
        """The honest headers of a message, less those named."""
        own, _ = headers_and_body(self.era, method, params or {"name": GOOD})
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        all_of_them = {"Host": f"127.0.0.1:{self.port}", **token, **self.session, **own}
        return [(name, value) for name, value in all_of_them.items() if name.lower() not in without]

    def post(
        self,
        body: bytes,
        *fields: tuple[str, str | bytes],
        target: str | bytes = "/mcp",
        method: str = "POST",
        says: str = GOOD,
        rpc: str = "tools/call",
        without: tuple[str, ...] = (),
        length: bool = True,
    ) -> bytes:
        """A POST whose headers say that it is a call of `says`, whatever the body is."""
        params = {"name": says}
        return request(method, target, [*self.fields(rpc, params, without), *fields], body, length=length)


Attack = Callable[[Attempt], bytes]


def _text(a: Attempt, name: str = BAD) -> str:
    return a.call(name).decode()


def _edited(a: Attempt, old: str, new: str, name: str = GOOD) -> bytes:
    text = _text(a, name)
    assert old in text
    return text.replace(old, new, 1).encode()


def _with_params(a: Attempt, **params: Any) -> bytes:
    document = a.document()
    document["params"] |= params
    return json.dumps(document).encode()


def _with_members(a: Attempt, **members: Any) -> bytes:
    return json.dumps(a.document() | members).encode()


def _bad(a: Attempt) -> bytes:
    return a.call(BAD)


NAME = f'"name": "{GOOD}"'
METHOD = '"method": "tools/call"'

# What is in the body. The headers tell of a call of `read_file`.
BODIES: dict[str, Attack] = {
    "the plain call": _bad,
    "the name twice, the bad one last": lambda a: _edited(a, NAME, f'{NAME}, "name": "{BAD}"'),
    "the name twice, the bad one first": lambda a: _edited(a, NAME, f'"name": "{BAD}", {NAME}'),
    "the name twice, once with escapes": lambda a: _edited(a, NAME, rf'{NAME}, "n\u0061me": "{BAD}"'),
    "the name with an escaped key": lambda a: _edited(a, NAME, rf'"\u006eame": "{BAD}"'),
    "the name with escapes": lambda a: _edited(a, NAME, r'"name": "\u0064rop_everything"'),
    "the method twice": lambda a: _edited(a, METHOD, f'"method": "tools/list", {METHOD}', BAD),
    "the method twice, the other way": lambda a: _edited(a, METHOD, f'{METHOD}, "method": "ping"', BAD),
    "the parameters twice": lambda a: a.call()[:-1] + b', "params": {"name": "drop_everything"}}',
    "the parameters twice, the other way": lambda a: (
        b'{"params": {"name": "drop_everything"}, ' + a.call()[1:]
    ),
    "_meta twice": lambda a: _edited(a, NAME, f'"_meta": {{}}, "name": "{BAD}", "_meta": {{}}'),
    "Name beside name": lambda a: _with_params(a, Name=BAD),
    "NAME beside name": lambda a: _with_params(a, NAME=BAD),
    "name with a fullwidth letter beside name": lambda a: _with_params(a, nａme=BAD),
    "Params beside params": lambda a: _with_members(a, Params={"name": BAD}),
    "Method beside method": lambda a: _with_members(a, Method="tools/list"),
    "only Name": lambda a: _edited(a, NAME, f'"Name": "{BAD}"'),
    "only METHOD": lambda a: _edited(a, METHOD, '"METHOD": "tools/call"', BAD),
    "__proto__": lambda a: _with_params(a, __proto__={"name": BAD}),
    "the name in _meta": lambda a: _edited(a, NAME, f'{NAME}, "_meta.name": "{BAD}"'),
    "the name in the arguments": lambda a: a.call(arguments={"path": BAD}),
    "the call in the arguments": lambda a: a.call(arguments={"path": _text(a)}),
    "a batch": lambda a: b"[" + a.call() + b"," + a.call(BAD) + b"]",
    "a batch of one": lambda a: b"[" + a.call(BAD) + b"]",
    "a batch in a batch": lambda a: b"[[" + a.call(BAD) + b"]]",
    "a batch after white space": lambda a: b" \r\n\t[" + a.call(BAD) + b"]",
    "two documents": lambda a: a.call() + a.call(BAD),
    "two lines": lambda a: a.call() + b"\n" + a.call(BAD),
    "two records": lambda a: b"\x1e" + a.call() + b"\n\x1e" + a.call(BAD),
    "a document in a string": lambda a: json.dumps(_text(a)).encode(),
    "UTF-16 with a mark": lambda a: _text(a).encode("utf-16"),
    "UTF-16, little endian": lambda a: _text(a).encode("utf-16-le"),
    "UTF-16, big endian": lambda a: _text(a).encode("utf-16-be"),
    "UTF-32": lambda a: _text(a).encode("utf-32"),
    "UTF-32, big endian": lambda a: _text(a).encode("utf-32-be"),
    "UTF-8 with a mark": lambda a: b"\xef\xbb\xbf" + _bad(a),
    "UTF-7": lambda a: _text(a).replace("drop", "+AGQ-rop").encode(),
    "an overlong letter": lambda a: _bad(a).replace(b"drop_", b"\xc1\xa4rop_"),
    "bytes that are not UTF-8": lambda a: _bad(a).replace(b"drop_", b"\xffdrop_"),
    "a surrogate in UTF-8": lambda a: _bad(a).replace(b"drop_", b"\xed\xa0\x80drop_"),
    "a lone surrogate": lambda a: _edited(a, NAME, r'"name": "drop_everything\ud800"'),
    "a comment": lambda a: _edited(a, NAME, f'/* {NAME} */ "name": "{BAD}"'),
    "a line comment": lambda a: _edited(a, NAME, f'"name": // {NAME}\n"{BAD}"'),
    "a trailing comma": lambda a: _edited(a, NAME, f'"name": "{BAD}",,'),
    "single quotes": lambda a: _text(a).replace('"', "'").encode(),
    "bare keys": lambda a: _edited(a, NAME, f'name: "{BAD}"'),
    "a raw NUL": lambda a: _edited(a, NAME, f'"name": "{BAD}\0"'),
    "a raw newline": lambda a: _edited(a, NAME, f'"name": "{BAD}\n"'),
    "NUL after the document": lambda a: a.call() + b"\0" + a.call(BAD),
    "NaN": lambda a: _edited(a, NAME, f'"name": "{BAD}", "arguments": {{"path": NaN}}'),
    "an infinite number": lambda a: _edited(a, NAME, f'{NAME}, "arguments": {{"path": 1e400}}'),
    "a huge integer": lambda a: _edited(a, NAME, f'{NAME}, "arguments": {{"path": {"9" * 5000}}}'),
    "a huge id": lambda a: _edited(a, '"id": 1', f'"id": {"9" * 5000}', BAD),
    "deep arrays": lambda a: _edited(
        a, NAME, f'{NAME}, "arguments": {{"path": {"[" * 20_000}{"]" * 20_000}}}'
    ),
    "deep objects": lambda a: _edited(a, NAME, f'{NAME}, "x": {chr(123) + chr(34)}a":' + '{"a":' * 5000),
    "a megabyte of white space": lambda a: b" " * 1_000_000 + _bad(a),
    "a body too large": lambda a: a.call(arguments={"path": "x" * (4 * 1024 * 1024)}),
    "nothing": lambda _: b"",
    "id null": lambda a: _with_members(a, id=None, params={"name": BAD}),
    "id true": lambda a: _with_members(a, id=True, params={"name": BAD}),
    "id as an object": lambda a: _with_members(a, id={"name": BAD}),
    "no id: a notification": lambda a: _edited(a, ', "id": 1', "", BAD),
    "jsonrpc 1.0": lambda a: _edited(a, '"2.0"', '"1.0"', BAD),
    "jsonrpc as a number": lambda a: _edited(a, '"2.0"', "2.0", BAD),
    "no jsonrpc": lambda a: _edited(a, '"jsonrpc": "2.0", ', "", BAD),
    "a method and a result": lambda a: json.dumps(json.loads(_bad(a)) | {"result": {}}).encode(),
    "a method and an error": lambda a: json.dumps(json.loads(_bad(a)) | {"error": None}).encode(),
    "parameters as a list": lambda a: _with_members(a, params=[BAD]),
    "the name as a list": lambda a: _with_params(a, name=[BAD]),
    "the name as an object": lambda a: _with_params(a, name={"name": BAD}),
    "the name as null": lambda a: _with_params(a, name=None),
    "arguments as a string": lambda a: a.call(arguments=json.dumps({"name": BAD})),
    "arguments as a list": lambda a: a.call(arguments=[BAD]),
    "another version in _meta": lambda a: _with_params(
        a, name=BAD, _meta={"io.modelcontextprotocol/protocolVersion": "2025-11-25"}
    ),
    "run as a task": lambda a: _with_params(a, name=BAD, task={"ttl": 60000}),
}

# Spellings of the names of tools and methods that a server could fold into the real one.
SPELLINGS = [
    f" {BAD}", f"{BAD} ", f"{BAD}\t", f"{BAD}\n", f"{BAD}\0", f"{GOOD}\0{BAD}", f"{GOOD}\n{BAD}",
    BAD.upper(), BAD.title(), BAD.replace("_", "-"), "drop%5Feverything", "%64rop_everything",
    f"./{BAD}", f"{GOOD}/../{BAD}", f"{GOOD}/{BAD}", f"tools/{BAD}", f"{GOOD},{BAD}", f"{GOOD} {BAD}",
    "ｄrop_everything", "drop_\u200beverything", "drop_everythin\u0261", "\u202egnihtyreve_pord", f"stack_{BAD}",
    f"{BAD}()", f"{BAD}#1", f"{BAD}@1.0", f"*{BAD[1:]}", "*", "", "x" * 100_000,
]  # fmt: skip
METHODS = [
    "Tools/Call", "TOOLS/CALL", "tools/call ", " tools/call", "tools//call", "/tools/call", "tools/call/",
    "tools\\call", "tools.call", "tools/call\0", "tools/call\n", "tools%2fcall", "tools/./call", "tools/Call",
    "tools/execute", f"tools/call/{BAD}", BAD, "rpc.call", "", "t" * 10_000,
    "notifications/tools/call", "sampling/createMessage", "tasks/result", "tasks/list",
]  # fmt: skip

# Other things than tools. Each is (method, parameters).
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a hidden prompt": ("prompts/get", {"name": "hidden"}),
    "a hidden prompt in capitals": ("prompts/get", {"name": "HIDDEN"}),
    "a secret resource": ("resources/read", {"uri": SECRET}),
    "a scheme in capitals": ("resources/read", {"uri": "DEMO://files/secret/a"}),
    "a dot segment": ("resources/read", {"uri": "demo://files/public/../secret/a"}),
    "an escaped dot segment": ("resources/read", {"uri": "demo://files/public/%2e%2e/secret/a"}),
    "a half escaped dot segment": ("resources/read", {"uri": "demo://files/public/.%2E/secret/a"}),
    "a twice escaped dot segment": ("resources/read", {"uri": "demo://files/public/%252e%252e/secret/a"}),
    "a dot segment with a tab": ("resources/read", {"uri": "demo://files/public/.\t./secret/a"}),
    "a dot segment with a newline": ("resources/read", {"uri": "demo://files/public/.\n./secret/a"}),
    "back slashes": ("resources/read", {"uri": "demo://files\\public\\..\\secret\\a"}),
    "an escaped slash": ("resources/read", {"uri": "demo://files/public/..%2fsecret%2fa"}),
    "an escaped slash in a template": (
        "resources/read",
        {"uri": "demo://files/public/..%2f..%2fsecret/text"},
    ),
    "user information": ("resources/read", {"uri": "demo://files/public/@files/secret/a"}),
    "user information before the host": ("resources/read", {"uri": "demo://files%2Fpublic@files/secret/a"}),
    "a fragment": ("resources/read", {"uri": "demo://files/secret/a#/public/a"}),
    "a query": ("resources/read", {"uri": "demo://files/secret/a?demo://files/public/a"}),
    "white space around": ("resources/read", {"uri": f" {SECRET} "}),
    "escaped letters": ("resources/read", {"uri": "demo://files/%73ecret/a"}),
    "a doubled slash": ("resources/read", {"uri": "demo://files/public//../secret/a"}),
    "a subscription": ("resources/subscribe", {"uri": SECRET}),
    "a completion of a hidden prompt": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "hidden"}, "argument": {"name": "x", "value": "y"}},
    ),
    "a level of the log": ("logging/setLevel", {"level": "debug", "name": BAD}),
}

# What the headers say, over the body of a call that is denied.
HEADERS: dict[str, Attack] = {
    "Mcp-Name twice": lambda a: a.post(_bad(a), ("Mcp-Name", BAD)),
    "Mcp-Name twice, the other way": lambda a: a.post(_bad(a), ("mcp-name", GOOD), says=BAD),
    "Mcp-Method tells of a list": lambda a: a.post(_bad(a), rpc="tools/list"),
    "Mcp-Method twice": lambda a: a.post(_bad(a), ("Mcp-Method", "ping"), says=BAD),
    "Mcp-Name in base64": lambda a: a.post(
        _bad(a), ("Mcp-Name", f"=?base64?{base64.b64encode(GOOD.encode()).decode()}?="), without=("mcp-name",)
    ),
    "Mcp-Name in base64, honest": lambda a: a.post(
        _bad(a), ("Mcp-Name", f"=?base64?{base64.b64encode(BAD.encode()).decode()}?="), without=("mcp-name",)
    ),
    "Mcp_Name": lambda a: a.post(_bad(a), ("Mcp_Name", GOOD), ("Mcp_Method", "tools/list"), says=BAD),
    "MCP_Protocol_Version": lambda a: a.post(_bad(a), ("MCP_Protocol_Version", "2026-07-28"), says=BAD),
    "no version": lambda a: a.post(_bad(a), without=("mcp-protocol-version",)),
    "a batch without a version": lambda a: _batch(a, a.call(), _bad(a)),
    "a batch of the first revision": lambda a: _batch(
        a, a.call(), _bad(a), versions=[("MCP-Protocol-Version", "2025-03-26")]
    ),
    "a batch with the same id twice": lambda a: _batch(a, _bad(a), a.call(), a.call(), _bad(a)),
    "a batch with an answer": lambda a: _batch(a, b'{"jsonrpc":"2.0","id":1,"result":{}}', _bad(a)),
    "a batch with a batch": lambda a: _batch(a, b"[" + _bad(a) + b"]", a.call()),
    "a batch with initialize": lambda a: _batch(a, a.body("initialize", {}), _bad(a)),
    "an empty version": lambda a: _versions(a, ""),
    "a version of tomorrow": lambda a: _versions(a, "2099-01-01"),
    "a version with a list": lambda a: _versions(a, "2025-11-25, 2026-07-28"),
    "a version with white space": lambda a: _versions(a, "\t2025-11-25 "),
    "the older version first": lambda a: _versions(a, "2025-11-25", "2026-07-28"),
    "the newer version first": lambda a: _versions(a, "2026-07-28", "2025-11-25"),
    "the version of the other era": lambda a: _versions(
        a, "2026-07-28" if a.era == "handshake" else "2025-11-25"
    ),
    "text/plain": lambda a: _content(a, _bad(a), "text/plain"),
    "a form": lambda a: _content(a, b"jsonrpc=2.0&method=tools/call", "application/x-www-form-urlencoded"),
    "multipart": lambda a: _content(a, _bad(a), "multipart/form-data; boundary=x"),
    "application/json-seq": lambda a: _content(a, b"\x1e" + _bad(a), "application/json-seq"),
    "charset=utf-16": lambda a: _content(a, _text(a).encode("utf-16"), "application/json; charset=utf-16"),
    "charset=utf-7": lambda a: _content(a, _bad(a), "application/json; charset=utf-7"),
    "two charsets": lambda a: _content(
        a, _text(a).encode("utf-16"), "application/json; charset=utf-8; charset=utf-16"
    ),
    "Content-Type twice": lambda a: a.post(_bad(a), ("Content-Type", "text/plain")),
    "no Content-Type": lambda a: a.post(_bad(a), without=("content-type",)),
    "gzip": lambda a: a.post(gzip.compress(_bad(a)), ("Content-Encoding", "gzip")),
    "deflate": lambda a: a.post(zlib.compress(_bad(a)), ("Content-Encoding", "deflate")),
    "identity, gzip": lambda a: a.post(gzip.compress(_bad(a)), ("Content-Encoding", "identity, gzip")),
    "Content-Encoding twice": lambda a: a.post(
        gzip.compress(_bad(a)), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")
    ),
    "gzip that is a lie": lambda a: a.post(_bad(a), ("Content-Encoding", "gzip")),
    "Authorization twice": lambda a: a.post(_bad(a), ("Authorization", "Bearer x")),
    "Authorization_": lambda a: a.post(_bad(a), ("Authorization_", "Bearer x")),
    "another Host": lambda a: a.post(_bad(a), ("Host", "evil.example"), without=("host",)),
    "Host twice": lambda a: a.post(_bad(a), ("Host", "evil.example")),
    "another Origin": lambda a: a.post(_bad(a), ("Origin", "https://evil.example")),
    "the session twice": lambda a: a.post(_bad(a), ("Mcp-Session-Id", "x")),
    "X-HTTP-Method-Override": lambda a: a.post(a.call(), ("X-HTTP-Method-Override", "DELETE")),
    "X-Original-URL": lambda a: a.post(_bad(a), ("X-Original-URL", "/health"), ("X-Rewrite-URL", "/health")),
    "X-Forwarded-Prefix": lambda a: a.post(_bad(a), ("X-Forwarded-Prefix", "/.well-known")),
    "X-User": lambda a: a.post(
        _bad(a), ("X-User-Id", "admin"), ("X-Agent-Id", "admin"), ("X-Scope", "files:write")
    ),
    "a token in the query": lambda a: a.post(_bad(a), target="/mcp?access_token=x"),
    "a thousand headers": lambda a: a.post(_bad(a), *((f"X-{n}", "x") for n in range(1000))),
}


def _versions(a: Attempt, *versions: str) -> bytes:
    fields = (("MCP-Protocol-Version", version) for version in versions)
    return a.post(_bad(a), *fields, without=("mcp-protocol-version",))


def _batch(a: Attempt, *members: bytes, versions: Fields | None = None) -> bytes:
    body = b"[" + b",".join(members) + b"]"
    return a.post(body, *(versions or []), without=("mcp-protocol-version", "mcp-method", "mcp-name"))


def _content(a: Attempt, body: bytes, content_type: str) -> bytes:
    return a.post(body, ("Content-Type", content_type), without=("content-type",))


VERBS = [
    "GET",
    "HEAD",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "post",
    "Post",
    "PROPFIND",
    "M-POST",
]
OVERRIDES = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]

PATHS = [
    "//mcp", "/mcp/", "/mcp//", "/MCP", "/Mcp", "/%6dcp", "/%6Dcp", "/%256dcp", "/mcp%2f", "/mcp%00", "/mcp%20", "/mcp;x",
    "/mcp;/health", "/./mcp", "/x/../mcp", "/%2e/mcp", "/x/%2e%2e/mcp", "/.well-known/../mcp", "/mcp/.", "/mcp/..", "/mcp/../mcp",
    "/.well-known/oauth-protected-resource/../../mcp", "/.well-known/oauth-protected-resource/mcp/../../../mcp",
    "/.well-known/oauth-protected-resource%2f..%2f..%2fmcp", "/mcp?x=/.well-known/oauth-protected-resource",
    "/mcp#/.well-known/oauth-protected-resource", "\\mcp", "/\\mcp", "mcp", "*", "/mcp.json", "/mcp%0d%0a", "/mcp/%c0%af",
    "http://evil.example/mcp", "//evil.example/mcp", "/mcp/stream", "/sse", "/messages/", "/messages/?session_id=x",
]  # fmt: skip

# What only a raw socket can say.
WIRE: dict[str, Attack] = {
    "in chunks": lambda a: _chunks(a, _bad(a)[:7], _bad(a)[7:]),
    "in chunks of one byte": lambda a: _chunks(a, *(bytes([byte]) for byte in _bad(a))),
    "a good document, then a bad one, in chunks": lambda a: _chunks(a, a.call(), _bad(a)),
    "an empty chunk in between": lambda a: a.post(
        chunked(a.call()) + _bad(a), ("Transfer-Encoding", "chunked"), length=False
    ),
    "a chunk extension": lambda a: a.post(
        b"%x;name=read_file\r\n%s\r\n0\r\n\r\n" % (len(_bad(a)), _bad(a)),
        ("Transfer-Encoding", "chunked"),
        length=False,
    ),
    "a chunk size that lies": lambda a: a.post(
        b"3\r\n" + _bad(a) + b"\r\n0\r\n\r\n", ("Transfer-Encoding", "chunked"), length=False
    ),
    "chunks and a length": lambda a: a.post(chunked(_bad(a)), ("Transfer-Encoding", "chunked")),
    "chunks and a length of nothing": lambda a: a.post(
        chunked(_bad(a)), ("Content-Length", "0"), ("Transfer-Encoding", "chunked"), length=False
    ),
    "gzip and chunked": lambda a: a.post(
        chunked(gzip.compress(_bad(a))), ("Transfer-Encoding", "gzip, chunked"), length=False
    ),
    "Transfer-Encoding twice": lambda a: a.post(
        chunked(_bad(a)), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity"), length=False
    ),
    "xchunked": lambda a: a.post(chunked(_bad(a)), ("Transfer-Encoding", "xchunked"), length=False),
    "two lengths": lambda a: a.post(a.call() + _bad(a), ("Content-Length", str(len(a.call())))),
    "two lengths in one": lambda a: a.post(
        a.call() + _bad(a), ("Content-Length", f"{len(a.call())}, {len(a.call() + _bad(a))}"), length=False
    ),
    "a length with a sign": lambda a: a.post(_bad(a), ("Content-Length", f"+{len(_bad(a))}"), length=False),
    "a length too short": lambda a: a.post(
        a.call() + _bad(a), ("Content-Length", str(len(a.call()))), length=False
    ),
    "a length too long": lambda a: a.post(_bad(a), ("Content-Length", "100000"), length=False),
    "no length": lambda a: a.post(_bad(a), length=False),
    "a second request behind the first": lambda a: (
        a.post(a.call()).replace(b"Connection: close\r\n", b"") + a.post(_bad(a), says=BAD)
    ),
    "a second request in the body of a GET": lambda a: request(
        "GET", "/mcp", a.fields(), a.post(_bad(a), says=BAD)
    ),
    "a folded header": lambda a: a.post(_bad(a), ("Mcp-Name", f"{GOOD}\r\n {BAD}"), without=("mcp-name",)),
    "a space before the colon": lambda a: a.post(_bad(a), ("Mcp-Name ", GOOD), without=("mcp-name",)),
    "a NUL in a header": lambda a: a.post(_bad(a), ("Mcp-Name", f"{BAD}\0"), without=("mcp-name",)),
    "a NUL in a header's name": lambda a: a.post(_bad(a), ("Mcp-Name\0", GOOD), says=BAD),
    "a lone carriage return": lambda a: a.post(_bad(a), ("X-A", f"x\rMcp-Name: {GOOD}"), says=BAD),
    "a lone newline": lambda a: a.post(_bad(a), ("X-A", f"x\nMcp-Name: {GOOD}"), says=BAD),
    "a trailer": lambda a: a.post(
        chunked(_bad(a))[:-2] + b"Mcp-Name: read_file\r\nAuthorization: Bearer x\r\n\r\n",
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "Mcp-Name, Authorization"),
        length=False,
    ),
    "Expect": lambda a: a.post(_bad(a), ("Expect", "100-continue")),
    "Upgrade to a websocket": lambda a: request(
        "GET",
        "/mcp",
        [
            *a.fields(),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
        length=False,
    ),
    "Upgrade to h2c": lambda a: a.post(_bad(a), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")),
    "HTTP/1.0": lambda a: a.post(_bad(a), says=BAD).replace(b" HTTP/1.1", b" HTTP/1.0", 1),
    "HTTP/0.9": lambda a: b"POST /mcp\r\n\r\n" + _bad(a),
    "white space before the request": lambda a: b"\r\n\r\n " + a.post(_bad(a), says=BAD),
}


def _chunks(a: Attempt, *chunks: bytes) -> bytes:
    return a.post(chunked(*chunks), ("Transfer-Encoding", "chunked"), length=False)


def _other(method: str, params: Mapping[str, Any]) -> Attack:
    def attack(a: Attempt) -> bytes:
        fields = a.fields(method, {"name": params.get("name", "x")}, ("mcp-name",))
        name = params.get("name") or params.get("uri")
        header = [("Mcp-Name", _header(name))] if isinstance(name, str) else []
        return request("POST", "/mcp", [*fields, *header], json.dumps(a.document(method, params)).encode())

    return attack


def _header(name: str) -> str:
    if name.isascii() and name.isprintable() and len(name) < 1000 and name == name.strip():
        return name
    return f"=?base64?{base64.b64encode(name[:1000].encode()).decode()}?="


def _named(name: str) -> Attack:
    def attack(a: Attempt) -> bytes:
        body = json.dumps(a.document("tools/call", {"name": name})).encode()
        return a.post(body, ("Mcp-Name", _header(name)), without=("mcp-name",))

    return attack


def _method(method: str) -> Attack:
    def attack(a: Attempt) -> bytes:
        body = json.dumps(a.document("tools/call", {"name": BAD}) | {"method": method}).encode()
        return a.post(body, ("Mcp-Method", _header(method)), says=BAD, without=("mcp-method",))

    return attack


def _verb(verb: str) -> Attack:
    return lambda a: a.post(_bad(a), method=verb, says=BAD)


def _override(name: str) -> Attack:
    return lambda a: a.post(_bad(a), (name, "POST"), method="GET", says=BAD, target=f"/mcp?{name}=POST")


def _at(path: str) -> Attack:
    # With a token the bad tool; without one, also the good tool must not run.
    return lambda a: a.post(a.call(BAD if a.token else GOOD), target=path, says=BAD if a.token else GOOD)


def _in_the_body(body: Attack, says: str) -> Attack:
    return lambda a: a.post(body(a), says=says)


AT_PATHS: dict[str, Attack] = {
    **{f"at {path}": _at(path) for path in PATHS},
    "at the absolute form": lambda a: _at(f"http://127.0.0.1:{a.port}/mcp")(a),
    "at the metadata document": _at("/.well-known/oauth-protected-resource"),
    "at the metadata document of the path": _at("/.well-known/oauth-protected-resource/mcp"),
}

ATTACKS: dict[str, Attack] = {
    **{f"body: {name}": _in_the_body(body, GOOD) for name, body in BODIES.items()},
    # The same under headers that are honest about the bad tool.
    **{f"honest: {name}": _in_the_body(body, BAD) for name, body in BODIES.items()},
    **{f"name: {name!r:.40}": _named(name) for name in SPELLINGS},
    **{f"method: {name!r:.40}": _method(name) for name in METHODS},
    **{f"other: {name}": _other(*other) for name, other in OTHERS.items()},
    **{f"header: {name}": attack for name, attack in HEADERS.items()},
    **{f"verb: {verb}": _verb(verb) for verb in VERBS},
    **{f"verb: {name}": _override(name) for name in OVERRIDES},
    **AT_PATHS,
    **{f"wire: {name}": attack for name, attack in WIRE.items()},
}
