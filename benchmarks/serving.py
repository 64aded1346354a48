"""`interlock serve` as a process that is measured: its time on the processor, its memory, and connections to it.

What a server costs is told by its own processor time and peak of memory (`/proc`), which other work on the machine
changes little; how long it takes is told beside what the database or a file takes in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.replicas import AUTH, Replica

_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # see proc(5), /proc/pid/clear_refs


class Connection:
    """One connection that is kept open, and one request at a time on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1024 * 1024))

    async def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """Return status and body of an answer."""
        self.send(method, target, body)
        return await self.answer()

    def send(self, method: str, target: str, body: bytes = b"") -> None:
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {AUTH}\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def answer(self) -> tuple[int, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = head.partition("content-length:")[2].partition("\r\n")[0].strip()
        return int(head.split(maxsplit=2)[1]), await self._reader.readexactly(int(length or 0))

    async def ok(self, method: str, target: str, body: bytes = b"") -> bytes:
        status, answered = await self.ask(method, target, body)
        assert 200 <= status < 300, (status, method, target, answered[:500])
        return answered

    def close(self) -> None:
        self._writer.close()


class Server(Replica):
    """One server, and what it has cost so far."""

    def cpu_s(self) -> float:
        """Return the seconds that it has had a processor."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_bytes(self) -> int:
        """Return its peak of resident memory since `forget_peak`."""
        return _peak_bytes(self.process.pid)

    def forget_peak(self) -> int:
        """Begin to look for the peak from now on; return what it has now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text(_RESET_PEAK)
        return self.peak_bytes()


@asynccontextmanager
async def running(url: str, home: Path) -> AsyncIterator[Server]:
    """Run a server for as long as the context lasts."""
    server = await asyncio.to_thread(Server, url, home)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.end, signal.SIGTERM)


def own_peak_bytes() -> int:
    """Return the peak of resident memory of this process. Not from getrusage, which would count the parent's too."""
    return _peak_bytes(os.getpid())


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell the peak of resident memory")


def lock_body(lock_id: str) -> bytes:
    return json.dumps({"ID": lock_id, "Who": "bench@host", "Operation": "OperationTypeApply"}).encode()
