"""A small forward proxy for tests: CONNECT and absolute form, a login of its own, and a record of all that it saw."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class ForwardProxy:
    """What one proxy allows, and what it saw in clear.

    Attributes:
        login: `user:password` that it wants; empty for nobody in particular.
        places: Where it leads a host that does not exist: `host:port` to a port of loopback.
        heads: Every request head that it was sent, as it came.
        seen: All bytes of requests that it could read: heads, and bodies of calls in absolute form.
        through: Bytes that clients sent through its tunnels.
        port: Where it listens.
    """

    login: str = ""
    places: dict[str, int] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    through: bytearray = field(default_factory=bytearray)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            self.seen += head
            wanted = base64.b64encode(self.login.encode()).decode()
            if self.login and f"Proxy-Authorization: Basic {wanted}\r\n".lower() not in head.decode().lower():
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                await writer.drain()
            elif head.startswith(b"CONNECT "):
                await self._tunnel(head.split()[1].decode(), reader, writer)
            else:
                await self._pass_on(head, reader, writer)

    async def _tunnel(self, place: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.places.get(place) or int(place.rpartition(":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, far_writer, self.through), _copy(far_reader, writer, None))
        finally:
            far_writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, address, _ = head.split(b"\r\n")[0].decode().split(" ")
        parts = urlsplit(address)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [
            line
            for line in head.split(b"\r\n")[1:]
            if line and not line.lower().startswith((b"proxy-", b"connection:"))
        ]
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.places.get(parts.netloc) or parts.port)
        length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        body = await reader.readexactly(length)
        self.seen += body
        far_writer.write(
            b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), *lines, b"Connection: close", b"", body])
        )
        await _copy(far_reader, writer, None)
        far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, into: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            if into is not None:
                into += chunk
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@contextmanager
def proxying(login: str = "", places: dict[str, int] | None = None) -> Iterator[ForwardProxy]:
    """Serve a proxy on loopback, in a thread, for as long as the context lasts."""
    proxy = ForwardProxy(login=login, places=places or {})
    with _serving(proxy.serve, None) as proxy.port:
        yield proxy


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def _serving(serve: Serve, context: ssl.SSLContext | None) -> Iterator[int]:
    """Serve connections to a port of loopback in a thread of its own; give the port."""
    ready, loop, servers = threading.Event(), asyncio.new_event_loop(), list[asyncio.Server]()

    kept = set[asyncio.Task[None]]()  # asyncio itself holds a connection's task only weakly

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        kept.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            kept.discard(task)

    async def listen() -> None:
        servers.append(await asyncio.start_server(attend, "127.0.0.1", 0, ssl=context))
        ready.set()

    def run() -> None:
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield servers[0].sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(servers[0]), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # transports that were closed close in the loop's next round


def certificate(folder: Path, *names: str) -> Path:
    """Write a self-signed certificate of these hosts, its key in the same file; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@contextmanager
def encrypting(certificate: Path, port: int) -> Iterator[int]:
    """Speak TLS before a port of loopback; give the port at which it does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_copy(reader, far_writer, None), _copy(far_reader, writer, None))
            finally:
                far_writer.close()

    with _serving(serve, context) as listening:
        yield listening
