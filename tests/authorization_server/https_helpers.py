"""A real https server on loopback, under any name, with a certificate of a private authority."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcpauth.web.fetch import SafeFetch, connect

if TYPE_CHECKING:
    import httpcore2

    from mcpauth.web.public_address import Address

PUBLIC = "93.184.215.14"
"""What the names of the tests resolve to: public, and led to loopback before anything leaves."""
HOST = "client.example"

Answer: TypeAlias = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a request head."""


@cache
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The certificate authority of the tests."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def trusting() -> ssl.SSLContext:
    """What a client needs to trust the authority, and nobody else."""
    certificate, _ = authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return context


@cache
def serving(name: str) -> ssl.SSLContext:
    """What a server of this name needs."""
    ca, ca_key = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(path)
    return context


@dataclass
class Server:
    """What it was asked: the head of each request, and the server name of each handshake."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])
    names: list[str | None] = field(default_factory=list[str | None])
    connected: list[str] = field(default_factory=list[str])
    """The addresses that were connected to, before they were led to loopback."""

    async def connect(self, address: Address, port: int) -> httpcore2.AsyncNetworkStream:
        """Instead of to the public address, connect to this server."""
        self.connected.append(f"{address} {port}")
        return await connect(IPv4Address("127.0.0.1"), self.port)

    def fetch(
        self, *addresses: str, deadline: float = 5.0, trusted: ssl.SSLContext | None = None
    ) -> SafeFetch:
        """The fetch under test, for which every name has these addresses."""
        found = [ip_address(address) for address in addresses or (PUBLIC,)]

        async def resolve(host: str, port: int) -> list[Address]:
            return found

        return SafeFetch(
            resolve=resolve, connect=self.connect, ssl_context=trusted or trusting(), deadline=deadline
        )


@asynccontextmanager
async def https_server(answer: Answer, *, name: str = HOST) -> AsyncGenerator[Server]:
    """Serve on loopback."""
    server = Server()
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        # A client that has read enough hangs up in the middle.
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(head)
            await answer(head, writer)
        writer.transport.abort()

    def remember(_socket: ssl.SSLObject, asked: str | None, _context: ssl.SSLContext) -> None:
        server.names.append(asked)

    context = serving(name)
    context.sni_callback = remember
    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def answering(
    body: bytes, *headers: str, status: str = "200 OK", content_type: str | None = "application/json"
) -> Answer:
    """An answer that is always the same; `Content-Length` is there unless the headers say how it is sent."""
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {content_type}"] if content_type else []), *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    whole = "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(whole)
        await writer.drain()
        # The body is cut off by Content-Length; closing comes from the other side.
        await asyncio.sleep(0.2)

    return answer
