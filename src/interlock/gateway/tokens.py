"""Keeps the pool of access tokens filled: asks the login service when the pool says so.

A hand: its rules are in `oauth.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable

from interlock.clock import Clock
from interlock.gateway.oauth import (
    Credentials,
    Minted,
    MintFailure,
    NotMinted,
    Pool,
    due,
    failed,
    minted,
    new_pool,
    next_due_s,
    read_login_answer,
    rejected,
    start,
    usable,
    usable_slots,
    want,
)
from interlock.gateway.upstream import Reply, Upstream
from interlock.genesys.limits import LoginLimit
from interlock.ids import Ids

_IDLE_S = 3600.0  # looks again at least so often, whatever the pool says


class TokenKeeper:
    """The gateway's tokens.

    Args:
        credentials: The OAuth client.
        limit: The login service's pace.
        size: Most tokens.
        upstream: Where to ask.
        clock: Time.
        ids: Chance for the jitter.
        changed: Called with the usable slots whenever they may have changed.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        limit: LoginLimit,
        size: int,
        upstream: Upstream,
        clock: Clock,
        ids: Ids,
        changed: Callable[[frozenset[int]], None],
    ) -> None:
        self.pool: Pool = new_pool(limit, size)
        self._credentials = credentials
        self._upstream = upstream
        self._clock = clock
        self._ids = ids
        self._changed = changed
        self._nudge = asyncio.Event()
        self._first = asyncio.Event()
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

    async def wait_first(self, limit_s: float) -> None:
        """Wait until the login service answered once, with a token or a refusal, at most `limit_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._first.wait()

    def bearer(self, slot: int) -> tuple[str, int] | None:
        """Return the token of a slot and its generation; None when it has just ended."""
        token = usable(self.pool, slot, self._clock.monotonic())
        return (token.value.value, token.generation) if token is not None else None

    def reject(self, slot: int, generation: int) -> None:
        """The API answered 401 to that token."""
        self._become(rejected(self.pool, slot, generation))
        self._nudge.set()

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
            if slot is not None:
                await self._mint(slot)
                continue
            at_s = next_due_s(self.pool, now_s)
            wait_s = _IDLE_S if at_s is None else min(at_s - now_s, _IDLE_S)
            with contextlib.suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 can swallow a cancellation, and this task would never end.
                async with asyncio.timeout(max(wait_s, 0.01)):
                    await self._nudge.wait()
            self._nudge.clear()

    async def _mint(self, slot: int) -> None:
        sent_s = self._clock.monotonic()
        self.pool = start(self.pool, slot, sent_s)
        reply = await self._upstream.mint(self._credentials)
        if isinstance(reply, Reply):
            answer = read_login_answer(reply.status, reply.body)
        else:
            answer = NotMinted(why=MintFailure.UNAVAILABLE, detail=reply.why)
        match answer:
            case Minted():
                self.pool = minted(self.pool, answer.value, life_s=answer.life_s, now_s=sent_s, chance=self._chance())
            case NotMinted():
                now_s = self._clock.monotonic()
                self.pool = failed(self.pool, answer.why, answer.detail, now_s=now_s, chance=self._chance())
        self._first.set()

    def _become(self, pool: Pool) -> None:
        self.pool = pool
        self._changed(usable_slots(pool, self._clock.monotonic()))

    def _chance(self) -> float:
        digest = hashlib.sha256(self._ids.fresh().encode()).digest()
        return int.from_bytes(digest[:4]) / 2**32
