"""Keeps the pool of access tokens filled: asks the login service when the pool says so.

A hand: its rules are in `oauth.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from interlock.clock import Clock
from interlock.gateway.oauth import (
    Credentials,
    Minted,
    MintFailure,
    NotMinted,
    Pool,
    are_same,
    due,
    failed,
    given_up,
    is_settled,
    minted,
    next_due_s,
    read_login_answer,
    rejected,
    renewed,
    start,
    usable,
    usable_slots,
    want,
)
from interlock.gateway.retries import Failure
from interlock.gateway.upstream import Broken, Reply, Upstream
from interlock.ids import Ids

_IDLE_S = 3600.0  # looks again at least so often, whatever the pool says


Reread: TypeAlias = Callable[[], Awaitable[Credentials | None]]
"""Reads credentials where they came from; None when they cannot be read now."""


class TokenKeeper:
    """The gateway's tokens.

    Args:
        credentials: The OAuth client; None when it is learned, see `adopt`.
        pool: The empty pool.
        upstream: Where to ask.
        clock: Time.
        ids: Chance for the jitter.
        changed: Called with the usable slots whenever they may have changed.
        adopted: Called when other credentials were adopted.

    Attributes:
        pool: The tokens.
        credentials: The OAuth client now.
        reread: Reads the credentials once more where they came from, when they are refused; None for no such place.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        pool: Pool,
        upstream: Upstream,
        clock: Clock,
        ids: Ids,
        changed: Callable[[frozenset[int]], None],
        adopted: Callable[[], None] = lambda: None,
    ) -> None:
        self.pool = pool
        self.credentials = credentials
        self._upstream = upstream
        self._clock = clock
        self._ids = ids
        self._changed = changed
        self._adopted = adopted
        self.reread: Reread | None = None
        self._nudge = asyncio.Event()
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to mint."""
        self._task = asyncio.create_task(self._keep(), name="gateway tokens")

    async def aclose(self) -> None:
        """Stop; tokens are not revoked, they end by themselves."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait_settled(self, limit_s: float) -> None:
        """Wait for a token, or for an answer that does not change by waiting, at most `limit_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not is_settled(self.pool, self._clock.monotonic()):
                    self._answered.clear()
                    await self._answered.wait()

    def adopt(self, credentials: Credentials) -> None:
        """Mint with these credentials from now on; those of before are forgotten, and so are their tokens."""
        if self.credentials is not None and are_same(self.credentials, credentials):
            return
        self.credentials = credentials
        self._become(renewed(self.pool))
        self._nudge.set()
        self._adopted()

    def bearer(self, slot: int) -> tuple[str, int] | None:
        """Return the token of a slot and its generation; None when it has just ended."""
        token = usable(self.pool, slot, self._clock.monotonic())
        return (token.value.value, token.generation) if token is not None else None

    def any_bearer(self) -> str | None:
        """Return a token that can be used now; None when there is none."""
        now_s = self._clock.monotonic()
        slots = usable_slots(self.pool, now_s)
        token = usable(self.pool, min(slots), now_s) if slots else None
        return None if token is None else token.value.value

    async def wait_bearer(self) -> str:
        """Wait for any token, for as long as it takes."""
        while (bearer := self.any_bearer()) is None:
            self._answered.clear()
            await self._answered.wait()
        return bearer

    def reject(self, slot: int, generation: int) -> None:
        """The API answered 401 to that token."""
        self._become(rejected(self.pool, slot, generation))
        self._nudge.set()

    def reject_bearer(self, value: str) -> None:
        """Somebody answered 401 to this token."""
        now_s = self._clock.monotonic()
        for slot in usable_slots(self.pool, now_s):
            token = usable(self.pool, slot, now_s)
            if token is not None and token.value.value == value:
                self.reject(slot, token.generation)

    def want_more(self) -> None:
        """One more token would let somebody go."""
        wider = want(self.pool, self._clock.monotonic())
        if wider is not self.pool:
            self.pool = wider
            self._nudge.set()

    async def _keep(self) -> None:
        while True:
            now_s = self._clock.monotonic()
            self._changed(usable_slots(self.pool, now_s))
            slot = due(self.pool, now_s)
            if slot is not None and self.credentials is not None:
                await self._mint(slot, self.credentials)
                continue
            at_s = None if self.credentials is None else next_due_s(self.pool, now_s)
            wait_s = _IDLE_S if at_s is None else min(at_s - now_s, _IDLE_S)
            with contextlib.suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 can swallow a cancellation, and this task would never end.
                async with asyncio.timeout(max(wait_s, 0.01)):
                    await self._nudge.wait()
            self._nudge.clear()

    async def _mint(self, slot: int, credentials: Credentials) -> None:
        sent_s = self._clock.monotonic()
        self.pool = start(self.pool, slot, sent_s)
        answer = _read(await self._upstream.mint(credentials))
        if self.credentials is not credentials:  # others were adopted meanwhile: this is about none of theirs
            return
        match answer:
            case Minted():
                self.pool = minted(self.pool, answer.value, life_s=answer.life_s, now_s=sent_s, chance=self._chance())
            case NotMinted():
                now_s = self._clock.monotonic()
                if answer.why is MintFailure.REFUSED and await self._is_rotated(credentials):
                    return
                self.pool = failed(self.pool, answer.why, answer.detail, now_s=now_s, chance=self._chance())
        self._answered.set()

    async def _is_rotated(self, refused: Credentials) -> bool:
        """Say whether there are other credentials where the refused ones came from; then those are tried at once."""
        found = None if self.reread is None else await self.reread()
        if found is None or are_same(found, refused):
            return False
        self.credentials = found
        self.pool = given_up(self.pool)
        return True

    def _become(self, pool: Pool) -> None:
        self.pool = pool
        self._changed(usable_slots(pool, self._clock.monotonic()))

    def _chance(self) -> float:
        digest = hashlib.sha256(self._ids.fresh().encode()).digest()
        return int.from_bytes(digest[:4]) / 2**32


def _read(reply: Reply | Broken) -> Minted | NotMinted:
    if isinstance(reply, Reply):
        return read_login_answer(reply.status, reply.body)
    if reply.is_refused_login:
        return NotMinted(why=MintFailure.PROXY, detail=reply.why)
    unsent = reply.failure is Failure.UNSENT
    return NotMinted(why=MintFailure.UNREACHABLE if unsent else MintFailure.UNAVAILABLE, detail=reply.why)
