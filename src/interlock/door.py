"""A run's own way to its state in embedded mode: the HTTP backend on a loopback port, for as long as the run lives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from interlock.backend.asgi import create_app
from interlock.backend.gate import RunGate, RunGates
from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.coordinator.archive import StateArchive
from interlock.errors import InterlockError
from interlock.ids import Ids
from interlock.run.surroundings import Current, Seat, Tell
from interlock.state import Version, VersionKind
from interlock.terraform.command import HttpBackend

_BACKLOG = 128


class LoopbackDoor:
    """See `interlock.run.surroundings.Door`.

    Args:
        gate: What the run may do.
        archive: Where its state is.
        address: The run's address; a secret.
    """

    def __init__(self, gate: RunGate, archive: StateArchive, address: str) -> None:
        self._gate = gate
        self._archive = archive
        # Refused means that this process is dead; retrying twice, as is Terraform's habit, would only delay recovery.
        self._backend = HttpBackend(
            address=address, lock_address=address, unlock_address=address, retry_max=1, retry_wait_min_s=1
        )

    @property
    def backend(self) -> HttpBackend | None:
        """See `Door.backend`."""
        return self._backend

    @property
    def workspace(self) -> str:
        """See `Door.workspace`."""
        return ""

    @property
    def lock(self) -> bool | None:
        """See `Door.lock`. Terraform locks at this door, with its own id."""
        return None

    async def may_initialise(self) -> bool:
        """See `Door.may_initialise`."""
        return True

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """See `Door.enter`. Nobody comes to this state but through us."""

    async def settle(self, tell: Tell) -> None:
        """See `Door.settle`. Every write was judged when it came."""

    async def leave(self) -> None:
        """See `Door.leave`."""

    def admit(self, seat: Seat) -> None:
        """See `Door.admit`. Until a plan is known nothing may disappear from the state."""
        self._gate.admit(ticket=seat.ticket, token=seat.token)
        self._gate.allow_deletions(frozenset())

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """See `Door.allow_deletions`."""
        self._gate.allow_deletions(addresses)

    def accepted(self) -> Current | None:
        """See `Door.accepted`."""
        version = self._gate.accepted()
        return None if version is None else _current(version)

    def refused(self) -> InterlockError | None:
        """See `Door.refused`."""
        return self._gate.refused()

    async def current(self) -> Current:
        """See `Door.current`."""
        found = await self._archive.current(self._gate.state)
        if found is None:
            return Current()
        head = found[0]
        return Current(lineage=head.lineage, serial=head.serial, digest=head.digest, number=head.number)

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:
        """See `Door.push`."""
        return _current(await self._gate.push(document, allowed, kind=VersionKind.PUSH))

    async def close(self) -> None:
        """The context of `open_door` closes it."""


def _current(version: Version) -> Current:
    return Current(lineage=version.lineage, serial=version.serial, digest=version.digest, number=version.number)


@asynccontextmanager
async def open_door(
    coordinator: Coordinator, archive: StateArchive, *, clock: Clock, ids: Ids, state: str, run: str, who: str
) -> AsyncIterator[LoopbackDoor]:
    """Serve one run's backend on a free loopback port."""
    gates = RunGates(ids)
    gate = RunGate(coordinator, archive, state=state, run=run, who=who)
    secret = gates.open(gate)
    app = create_app(coordinator, archive, clock=clock, ids=ids, runs=gates)
    async with serving(app, host="127.0.0.1", port=0) as (_, port):
        yield LoopbackDoor(gate, archive, f"http://127.0.0.1:{port}/run/{secret}/state")


class _QuietServer(uvicorn.Server):
    """A server inside a process whose signals mean something else. It ends at once, not at the next tick of a loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._ended.set()

    async def main_loop(self) -> None:
        """Wait for the end. Uvicorn's own loop looks ten times a second, which every run would wait for."""
        await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close at once when nobody is connected; else as usual, which takes its time."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve an application for as long as the context lasts; yield the address it listens on.

    Raises:
        UsageError: The address cannot be listened on.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        date_header=False,  # the loop that is left out keeps it; Terraform does not look at it
        server_header=False,
    )
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[:2]
    finally:
        server.end()
        await task
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    from interlock.errors import UsageError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}", why=error.strerror or str(error), fix="choose another address"
        ) from error
    listener.listen(_BACKLOG)
    return listener
