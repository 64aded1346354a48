"""LOCK requests that are held open until their turn comes, for every protocol that locks so. A hand.

A lock that is taken this way has no heartbeat. It gets the longest lease, is never broken by time, and if its client
dies holding it, recovery needs evidence. What must not happen is that it comes into being without its client knowing:
so a client is granted only while it asks or while its connection is open, and a grant whose answer could not be
delivered to any of its connections goes back to its place in the queue. What a request does, step by step, is in
`lock_request.py`; here the steps are performed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from interlock.backend.lock_request import Ask, Listen, LockRequest, Reply, Step, Tell
from interlock.backend.locking import RECONNECT_S, RETRY_AFTER_S, held
from interlock.backend.protocol import UNAVAILABLE, Outcome, Refused
from interlock.clock import Clock
from interlock.coordinator import Coordinator, Standing, standing_of
from interlock.coordinator.refusals import PlaceLost
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, Superseded, WaitTimeout
from interlock.lock import Elapsed, Grant, Lock, Requested
from interlock.policy.windows import HOLD_LOOK_S, next_look_s
from interlock.rights.callers import Tokens

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from interlock.lock.ticket import Ticket
    from interlock.policy.windows import Held as HeldBackBy

Hold = Callable[[str], Awaitable["HeldBackBy | None"]]
"""Says what holds changes of a state back now; None when nothing does.

Raises `BackendUnavailable` when nobody can tell.
"""
GONE = 410  # on LOCK: not retried by Terraform, unlike 409 and 423


async def nothing_holds(_state: str) -> None:
    """Hold nothing back, as for a request that changes nothing."""


class Connection:
    """Whether the client of one request is still there. Only after its body was read."""

    def __init__(self, request: Request) -> None:
        self._listening = asyncio.ensure_future(self._listen(request))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening

    @staticmethod
    async def _listen(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def is_gone(self) -> bool:
        """Whether it left, as far as this machine has heard."""
        await asyncio.sleep(0)  # let the loop deliver what has arrived
        return self._listening.done()

    async def unless_gone(self, work: Awaitable[Grant], ending: asyncio.Event) -> Grant | None:
        """Wait for `work`, or return None as soon as the client is gone or the server ends; it is cancelled then.

        Raises:
            _Ends: The server ends.
        """
        task, end = asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())
        try:
            await asyncio.wait({task, self._listening, end}, return_when=asyncio.FIRST_COMPLETED)
            if self._listening.done():  # a grant that crossed the hanging-up is not told
                return None
            if not task.done():
                raise _Ends
            return task.result()
        finally:
            end.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError, InterlockError):
                await task


class _Ends(Exception):
    """The server ends while a client waits."""


class GrantAnswer(Response):
    """A granted lock on its way to its client; called off when not even its first byte could be sent.

    Once the status was given to the connection, the client may have read it, whatever happens to the rest.
    """

    def __init__(self, plain: Response, leave: Callable[[], Awaitable[None]]) -> None:
        super().__init__(content=plain.body, status_code=plain.status_code)
        self.raw_headers = plain.raw_headers
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        is_told = False

        async def send_on(message: Message) -> None:
            nonlocal is_told
            await send(message)
            is_told = True

        try:
            await super().__call__(scope, receive, send_on)
        except BaseException:  # also when the server is shut down in this very moment
            if not is_told:
                await asyncio.shield(self._leave())
            raise


class HeldLocks:
    """The LOCK requests of one server.

    Args:
        coordinator: Keeps locks and queues.
        clock: For the patience of clients that poll.
        ending: Set when the server ends.
        is_alone: There is no other server on these states, so whoever waits now listened to one that is gone.

    Attributes:
        waiting: How many requests are held now.
    """

    def __init__(self, coordinator: Coordinator, clock: Clock, *, ending: asyncio.Event, is_alone: bool) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._ending = ending
        self._is_alone = is_alone
        self.waiting = 0
        self._sweeps: set[asyncio.Task[None]] = set()

    async def take(
        self, state: str, request: LockRequest, connection: Connection, hold: Hold = nothing_holds
    ) -> Outcome | None:
        """Answer LOCK. None: the client is gone, and there is nobody to answer.

        Args:
            state: State name.
            request: What is asked.
            connection: Whether its client is there.
            hold: What holds it back: it keeps its place, and whoever is behind it does not wait for it.
        """
        try:
            return await self._carry_out(state, request, connection, hold)
        except (LeaseLost, Superseded) as error:
            return Refused(error=error, status=GONE)
        except WaitTimeout as error:  # the queue is full
            lock = await self._lock(state)
            return replace(held(standing_of(state, lock, request.wish.info.id)), why=error.why)
        except _Ends:
            await asyncio.shield(self.call_off(state, request.sent_away()[1]))
            return _come_back(state)
        except BaseException:  # whether the lock heard of us is not known, and nobody will be told
            await asyncio.shield(self.leave(state, request))
            raise

    async def leave(self, state: str, request: LockRequest) -> None:
        """Call off this attempt: its client cannot be told any more."""
        await self.call_off(state, request.closed()[1])

    async def call_off(self, state: str, step: Tell) -> None:
        """Tell the lock that an attempt is over."""
        with suppress(InterlockError):
            await self._coordinator.apply_event(state, step.event)
        sweep = asyncio.ensure_future(self._sweep(state))
        self._sweeps.add(sweep)
        sweep.add_done_callback(self._sweeps.discard)

    async def begin(self) -> None:
        """Grant nobody who listened to a server that is gone, until it speaks again.

        A client whose server was killed may have given up since; its grant would stay with nobody for a day.
        """
        if not self._is_alone:
            return  # the others say who is gone
        with suppress(InterlockError):  # a record that cannot be read is told to whoever asks for its state
            for view in await self._coordinator.states():
                if view.lock.waiters:
                    await self._coordinator.apply_event(view.state, Elapsed(doubts_clients=True))

    async def close(self) -> None:
        """Stop what is still under way."""
        for sweep in self._sweeps:
            sweep.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)

    async def _carry_out(self, state: str, request: LockRequest, connection: Connection, hold: Hold) -> Outcome | None:
        """Perform the steps of a LOCK request."""
        request, standing = await self._begin(state, request, reason=_said(await hold(state)))
        request, step = request.stood(standing, gone=await connection.is_gone())
        while True:
            match step:
                case Ask():
                    asked = replace(step.request, held=_said(await hold(state)))
                    standing = await self._coordinator.request(state, asked)
                    request, step = request.stood(standing, gone=await connection.is_gone())
                case Listen():
                    request, step = await self._listen(state, request, step.for_s, connection, hold)
                case Reply():
                    return step.outcome
                case Tell():
                    await self.leave(state, request)
                    return None

    async def _begin(self, state: str, request: LockRequest, *, reason: str) -> tuple[LockRequest, Standing]:
        """Ask for the first time, from the very lock that hears it."""
        begun = [request]

        def ask(lock: Lock, now: datetime) -> Requested:
            begun[0], step = request.begin(lock, now=now)
            assert isinstance(step, Ask), "a LOCK request begins with a question"
            return replace(step.request, held=reason)

        standing = await self._coordinator.request_of(state, ask)
        return begun[0], standing

    async def _listen(
        self, state: str, request: LockRequest, for_s: float, connection: Connection, hold: Hold
    ) -> tuple[LockRequest, Step]:
        """Wait for the grant while the client is there."""
        shown: list[Standing] = []
        waiting = self._coordinator.await_grant(
            state, request.wish.info.id, timeout_s=for_s, on_change=shown.append, attempt=request.attempt
        )
        looking = asyncio.ensure_future(self._look(state, request.wish.info.id, hold))
        try:
            self.waiting += 1
            grant = await connection.unless_gone(waiting, self._ending)
            return request.closed() if grant is None else request.granted()
        except (WaitTimeout, PlaceLost):
            moved = len({standing.shape() for standing in shown}) > 1
            return request.waited(await self._lock(state), now=self._clock.now(), moved=moved)
        finally:
            self.waiting -= 1
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look(self, state: str, ticket: Ticket, hold: Hold) -> None:
        """Tell the lock when a request that listens is held back no longer, or anew."""
        if hold is nothing_holds:
            return
        wait_s = 0.0  # what it was told when it asked has no end that is known here
        while True:
            await self._clock.sleep(wait_s)
            wait_s = HOLD_LOOK_S
            with suppress(InterlockError):  # it has its turn already, or the store is away: later
                held = await hold(state)
                wait_s = next_look_s(held, self._clock.now())
                await self._coordinator.hold_back(state, ticket, reason=_said(held))

    async def _lock(self, state: str) -> Lock:
        return (await self._coordinator.view(state)).lock

    async def _sweep(self, state: str) -> None:
        """Pass over the one that left, so that those behind it need not wait for anybody's next sign of life."""
        await self._clock.sleep(RECONNECT_S + 0.05)
        with suppress(InterlockError):
            await self._coordinator.apply_event(state, Elapsed())


async def check_still(tokens: Tokens, credentials: tuple[str, str], leave: Callable[[], Awaitable[None]]) -> None:
    """Give a grant back whose token ended while its client waited: up to an hour, and then held for a day.

    While tokens cannot be asked for, the grant is told: it could not be given back either.

    Raises:
        AuthenticationFailed: It ended.
    """
    try:
        await tokens.identify(*credentials)
    except BaseException as error:
        if isinstance(error, InterlockError) and error.http_status >= UNAVAILABLE:
            return
        await asyncio.shield(leave())
        raise


def _said(held: HeldBackBy | None) -> str:
    return held.text if held is not None else ""


def _come_back(state: str) -> Refused:
    error = BackendUnavailable(
        f"state {state!r} was not locked yet", why="this server ends; your place is kept", fix="ask again"
    )
    return Refused(error=error, status=UNAVAILABLE, retry_after_s=RETRY_AFTER_S)
