"""Terraform's HTTP state protocol, served. A hand.

Two kinds of address: `/state/<name>` for plain `terraform` with `backend "http"`, where LOCK joins the state's queue,
and `/run/<secret>/state` for supervised runs (`gate.py`). One address answers all methods.

How a LOCK is held open until its turn comes is in `held_lock.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from interlock.backend.gate import RunGates, perform
from interlock.backend.held_lock import Connection, GrantAnswer, HeldLocks, Hold, check_still, nothing_holds
from interlock.backend.lock_request import LockRequest
from interlock.backend.locking import PLANNING, check_may_change
from interlock.backend.protocol import (
    MAX_LOCK_BYTES,
    UNAVAILABLE,
    Absent,
    Delete,
    Done,
    Found,
    Give,
    Outcome,
    Read,
    Refused,
    Take,
    Taken,
    Write,
    answer,
    check_md5,
    read_intent,
    refused,
)
from interlock.clock import Clock
from interlock.coordinator import Coordinator, check_state_name
from interlock.coordinator.archive import THREAD_BYTES_MIN, StateArchive, Writer
from interlock.coordinator.refusals import refusal
from interlock.errors import (
    AuthenticationFailed,
    BackendUnavailable,
    InterlockError,
    LeaseLost,
    LockHeld,
    UsageError,
    command,
)
from interlock.ids import Ids
from interlock.listening.room import Rooms, WithRoom, go_first, take_room_for_body
from interlock.lock import Lock, Released, holder_of, waiter_of
from interlock.lock.ticket import Attempt, attempt_at
from interlock.rights import Right
from interlock.rights.callers import Caller, ClosedDoor, Tokens, check_run, credentials_in
from interlock.state import MAX_STATE_BYTES, may_hold_nothing, parse_state
from interlock.terraform.lockinfo import LockInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


METHODS = ["GET", "POST", "PUT", "DELETE", "LOCK", "UNLOCK"]
BODY_TIMEOUT_S = 300.0  # a state of 256 MB over a slow line; a client that sends nothing is cut off by then
TOO_LARGE = 413


_NEEDED: Mapping[str, Right] = {
    "GET": Right.READ_STATE,
    "HEAD": Right.READ_STATE,
    "LOCK": Right.PLAN,  # and `APPLY` for what is not a plan, by the lock document
    "UNLOCK": Right.PLAN,
}
"""What a request needs at least, by its method; all others change the state."""
_WRITING = frozenset({"POST", "PUT"})
PlainHold = Callable[[LockInfo], Hold]
"""Returns what may hold a LOCK with this document back."""


async def _nothing() -> None:
    """Nothing is to be checked."""


class Service:
    """What is known of the server around the protocol.

    Args:
        ids: For attempts.
        name: Of this server among several on one store; empty when it is alone.
        check: Raises an `InterlockError` while the store cannot be used.
        numbers: Returns numbers for Prometheus, by their names.

    Attributes:
        ending: Set it when the server ends: who waits is told to come back.
    """

    def __init__(
        self,
        ids: Ids,
        *,
        name: str = "",
        check: Callable[[], Awaitable[object]] = _nothing,
        numbers: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.name = name
        self.check = check
        self._numbers = [numbers]
        self.ending = asyncio.Event()
        self._ids = ids

    def tell_also(self, numbers: Callable[[], Mapping[str, float]]) -> None:
        """Tell the numbers of one more part of the server."""
        self._numbers.append(numbers)

    def numbers(self) -> Mapping[str, float]:
        """Return all numbers for Prometheus, by their names."""
        return {name: value for each in self._numbers for name, value in each().items()}

    def new_attempt(self) -> Attempt:
        """Return the name of one more LOCK request."""
        return attempt_at(self.name, self._ids.fresh())


class _TooLarge(UsageError):
    http_status = TOO_LARGE


class _Plain:
    """The plain addresses.

    Args:
        coordinator: Keeps locks and queues.
        archive: Keeps states.
    """

    def __init__(self, coordinator: Coordinator, archive: StateArchive) -> None:
        self._coordinator = coordinator
        self._archive = archive

    async def read(self, state: str) -> Outcome:
        current = await self._archive.current(state)
        return Found(body=current[1]) if current is not None else Absent()

    async def write(self, state: str, body: bytes, lock_id: str | None, who: str) -> Outcome:
        if lock_id is None:
            error = LeaseLost(
                f"state {state!r} was not written",
                why="the request names no lock: Terraform ran with -lock=false, or lock_address is not set",
                fix="set TF_HTTP_LOCK_ADDRESS and TF_HTTP_UNLOCK_ADDRESS to the address; leave out -lock=false",
                finding="no-lock",
            )
            await self._archive.quarantine(state, body, writer=Writer(who=who), error=error)
            raise error
        view = await self._coordinator.view(state)
        try:
            check_may_change(state, view.lock, ticket=lock_id, token=None, lock_id=lock_id)
        except LeaseLost as error:
            if view.head is not None or not _holds_nothing(body):  # else a first plan was interrupted: ADR 217
                await self._archive.quarantine(state, body, writer=Writer(who=who, ticket=lock_id), error=error)
                raise
        # Ticket and lock id are one for a plain lock; the id of a supervised run does not open this door.
        await self._archive.write(state, body, writer=Writer(who=who, ticket=lock_id, lock_id=lock_id))
        return Done()

    async def delete(self, state: str, lock_id: str | None, who: str) -> Outcome:
        if lock_id is None:
            raise LeaseLost(
                f"state {state!r} was not deleted", why="the request names no lock", fix="LOCK it, then DELETE ?ID="
            )
        lock = (await self._coordinator.view(state)).lock
        check_may_change(state, lock, ticket=lock_id, token=None, lock_id=lock_id)
        await self._archive.delete(state, writer=Writer(who=who, ticket=lock_id, lock_id=lock_id))
        return Done()

    async def is_held(self, state: str, lock_id: str) -> bool:
        return holder_of((await self._coordinator.view(state)).lock, lock_id=lock_id) is not None

    async def give(self, state: str, lock_id: str | None, caller: Caller) -> Outcome:
        if lock_id is None:
            raise LockHeld(
                f"state {state!r} was not unlocked",
                why="terraform force-unlock sends no lock id over HTTP (hashicorp/terraform#28421), so which one?",
                fix=f"{command('force-unlock', state)}    shows the evidence first, then unlocks",
            )
        asked_for = lock_id

        def released(lock: Lock, _now: datetime) -> Released:
            _check_may_give(state, lock, asked_for, caller)
            return Released(ticket=asked_for, lock_id=asked_for)

        decision = await self._coordinator.apply_event_of(state, released)
        if decision.refused is not None:
            raise refusal(state, decision.lock, decision.refused)
        return Done()


class _Endpoints:
    """The two addresses and the health check."""

    def __init__(
        self,
        plain: _Plain,
        locks: HeldLocks,
        tokens: Tokens,
        runs: RunGates,
        *,
        about: Service,
        hold: PlainHold,
        limit_bytes: int,
    ) -> None:
        self._hold = hold
        self._plain = plain
        self._locks = locks
        self._about = about
        self._tokens = tokens
        self._runs = runs
        self._limit_bytes = limit_bytes

    async def healthz(self, _request: Request) -> Response:
        return Response('{"status":"ok"}', media_type="application/json")

    async def readyz(self, _request: Request) -> Response:
        """Say whether a load balancer should send requests here."""
        try:
            if self._about.ending.is_set():
                raise BackendUnavailable("this server ends")
            await self._about.check()
        except InterlockError as error:
            return await _respond(Refused(error=error, status=UNAVAILABLE))
        return Response('{"status":"ready"}', media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """Numbers about this server, as Prometheus reads them, for anybody with a token; they name no state."""
        try:
            await self._tokens.identify(*credentials_in(request.headers))
        except InterlockError as error:
            return await _refusal(request, error)
        numbers = {"interlock_held_lock_requests": float(self._locks.waiting), **self._about.numbers()}
        lines = (f"# TYPE {name} {_kind(name)}\n{name} {value:g}\n" for name, value in numbers.items())
        return Response("".join(lines), media_type="text/plain; version=0.0.4")

    async def state(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        try:
            credentials = credentials_in(request.headers)
            caller = await self._tokens.identify(*credentials)
            check_state_name(name)
            caller.check(_NEEDED.get(request.method, Right.APPLY), name)
            await self._go_first_as_holder(name, request)
            body = await self._read_body(request)
            intent = read_intent(request.method, request.query_params, body)
            if not isinstance(intent, Take):
                return await _respond(await self._perform(name, intent, body, caller))
            async with Connection(request) as connection:
                return await self._take(name, intent, caller, credentials, connection)
        except InterlockError as error:
            return await _refusal(request, error)
        except ClientDisconnect:
            return Response(status_code=400)

    async def run(self, request: Request) -> Response:
        gate = self._runs.find(request.path_params["secret"])
        try:
            if gate is None:
                raise AuthenticationFailed("no run has this address", why="it has ended", fix="start a new run")
            go_first()  # the address of a run, which holds its state while it writes
            body = await self._read_body(request)
            outcome = await perform(gate, read_intent(request.method, request.query_params, body), body)
        except InterlockError as error:
            return await _refusal(request, error)
        except ClientDisconnect:
            return Response(status_code=400)
        return await _respond(outcome)

    async def _take(
        self, name: str, intent: Take, caller: Caller, credentials: tuple[str, str], connection: Connection
    ) -> Response:
        if intent.info.operation != PLANNING:
            caller.check(Right.APPLY, name)
        check_run(caller, "")
        request = LockRequest(wish=intent, who=caller.who, attempt=self._about.new_attempt())
        hold = nothing_holds if intent.info.operation == PLANNING else self._hold(intent.info)
        outcome = await self._locks.take(name, request, connection, hold)
        if outcome is None:
            return Response(status_code=400)  # goes to nobody
        response = await _respond(outcome, intent.info.version)
        if isinstance(outcome, Taken):
            await check_still(self._tokens, credentials, lambda: self._locks.leave(name, request))
            return GrantAnswer(response, lambda: self._locks.leave(name, request))
        return response

    async def _perform(self, name: str, intent: Read | Write | Give | Delete, body: bytes, caller: Caller) -> Outcome:
        match intent:
            case Read():
                return await self._plain.read(name)
            case Write():
                return await self._plain.write(name, body, intent.lock_id, caller.who)
            case Give():
                return await self._plain.give(name, intent.lock_id, caller)
            case Delete():
                return await self._plain.delete(name, intent.lock_id, caller.who)

    async def _go_first_as_holder(self, name: str, request: Request) -> None:
        """Let the write of whoever holds the state wait for no stranger's."""
        lock_id = request.query_params.get("ID")
        if request.method in _WRITING and lock_id and await self._plain.is_held(name, lock_id):
            go_first()

    async def _read_body(self, request: Request) -> bytes:
        """Take the body into memory once, within the limits of size and time."""
        limit = self._limit_bytes if request.method in _WRITING else MAX_LOCK_BYTES
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(int(announced), limit)
        await take_room_for_body(request, limit)
        body = BytesIO()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.stream():
                    body.write(chunk)
                    if body.tell() > limit:
                        raise _too_large(body.tell(), limit)
        except TimeoutError as error:
            raise UsageError("the request was not received", why=f"it took over {BODY_TIMEOUT_S:g} s") from error
        whole = body.getvalue()  # no copy: BytesIO gives its buffer away
        sent = request.headers.get("content-md5")
        if len(whole) > THREAD_BYTES_MIN:
            await asyncio.to_thread(check_md5, sent, whole)
        else:
            check_md5(sent, whole)
        return whole


def create_app(  # noqa: PLR0913 - what it serves, to whom, and within which server
    coordinator: Coordinator,
    archive: StateArchive,
    *,
    clock: Clock,
    ids: Ids,
    tokens: Tokens | None = None,
    runs: RunGates | None = None,
    about: Service | None = None,
    locks: HeldLocks | None = None,
    hold: PlainHold = lambda _info: nothing_holds,
    limit_bytes: int = MAX_STATE_BYTES,
    further: Sequence[BaseRoute] = (),
    rooms: Rooms | None = None,
) -> Starlette:
    """Return the backend as an ASGI application.

    Args:
        coordinator: Keeps locks and queues.
        archive: Keeps states.
        clock: For the patience of clients that poll.
        ids: For the attempts of LOCK requests, and the secrets of runs when `runs` is not given.
        tokens: Who may use `/state/<name>`; None closes those addresses.
        runs: The supervised runs that may use `/run/<secret>/state`.
        about: What is known of the server around this; None for one of a single process.
        locks: The LOCK requests that are held, when other protocols of this server hold some too.
        hold: What holds back whoever locks a plain address for more than a plan.
        limit_bytes: Largest state accepted.
        further: What else the server offers.
        rooms: Bound what all requests hold in memory; None for rooms of this application alone.
    """
    about, rooms = about or Service(ids), rooms or Rooms()
    about.tell_also(rooms.numbers)
    locks = locks or HeldLocks(coordinator, clock, ending=about.ending, is_alone=not about.name)
    plain, gates = _Plain(coordinator, archive), runs or RunGates(ids)
    endpoints = _Endpoints(plain, locks, tokens or ClosedDoor(), gates, about=about, hold=hold, limit_bytes=limit_bytes)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await locks.begin()
        yield
        await locks.close()

    return Starlette(
        routes=[
            Route("/state/{name:path}", endpoints.state, methods=METHODS),  # first: it is asked for most
            Route("/healthz", endpoints.healthz, methods=["GET"]),
            *([Route("/readyz", endpoints.readyz), Route("/metrics", endpoints.metrics)] if tokens else []),
            Route("/run/{secret}/state", endpoints.run, methods=METHODS),
            *further,
        ],
        lifespan=lifespan,
        middleware=[Middleware(WithRoom, rooms=rooms)],
    )


def _check_may_give(state: str, lock: Lock, lock_id: str, caller: Caller) -> None:
    """Refuse to unlock for whoever may not.

    Raises:
        AuthenticationFailed: Its token may only plan, and the lock is another's.
        LockHeld: It is held by a run of ours, which ends by itself.
    """
    holder = holder_of(lock, lock_id=lock_id)
    ticket = holder or waiter_of(lock, lock_id=lock_id)
    if ticket is not None and ticket.info != PLANNING:  # the id of another's lock is told to whoever waits for it
        caller.check(Right.APPLY, state)
    if holder is not None and holder.ticket != lock_id:
        raise LockHeld(
            f"state {state!r} was not unlocked",
            why=f"it is held by the supervised run {holder.run}",
            fix=command("runs", "cancel", holder.run),
        )


def _holds_nothing(body: bytes) -> bool:
    """Say whether this is the empty state that Terraform writes when the first plan of a state is interrupted."""
    try:
        return may_hold_nothing(parse_state(body))
    except InterlockError:  # the archive says what is wrong
        return False


def _kind(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"


async def _respond(outcome: Outcome, client_version: str = "") -> Response:
    if (
        isinstance(outcome, Found) and len(outcome.body) > THREAD_BYTES_MIN
    ):  # hashing a large state takes its time; heartbeats go on meanwhile
        sent = await asyncio.to_thread(answer, outcome)
    else:
        sent = answer(outcome, client_version=client_version)
    return Response(sent.body, status_code=sent.status, headers=dict(sent.headers))


async def _refusal(request: Request, error: InterlockError) -> Response:
    return await _respond(refused(request.method, error.naming(request.path_params.get("name", "."))))


def _too_large(size: int, limit: int) -> _TooLarge:
    return _TooLarge(
        "the request is too large", why=f"{size} bytes or more, the limit is {limit}", fix="split the state"
    )
