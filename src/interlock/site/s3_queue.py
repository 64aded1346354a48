"""The queue of a state on S3, beside it: in its DynamoDB table where the configuration names one, else in its bucket.

A hand: it opens them. Items in the table expire a day after their last change (docs/explanation/dynamodb-ttl.md);
fencing tokens of a queue that begins anew start at the present instant in milliseconds, which is more than any earlier
queue of this state had.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.coordinator import Standing
from interlock.coordinator.interface import OnChange
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.record import keep_s
from interlock.errors import BackendUnavailable, InterlockError
from interlock.existing import ExistingBackend, Found
from interlock.existing.s3 import S3Backend
from interlock.ids import Ids
from interlock.lock import Grant, Requested
from interlock.lock.belief import latest
from interlock.store import RecordStore
from interlock.store.dynamodb import DynamoRecords
from interlock.store.polling import NearPolling, Pace
from interlock.store.s3 import S3Place as RecordPlace
from interlock.store.s3 import S3Records

if TYPE_CHECKING:
    from interlock.existing.inspection import Inspected
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home

EXPIRES_S = 86_400.0
"""How long the table keeps an item of ours after its last change, beyond its longest lease. Renewed while in use."""


def open_s3_queue(backend: ExistingBackend, found: Found, home: Home) -> S3Queue:
    """See `interlock.site.kinds.OpenQueue`."""
    return S3Queue(backend, found, clock=home.clock, ids=home.ids)


class S3Queue:
    """See `interlock.site.kinds.QueueBeside`.

    Args:
        backend: The state's own, opened; its clients are used.
        found: The same as found.
        clock: For back-off, and until AWS has told its own.
        ids: For jitter and tickets.
    """

    is_near = False
    words: tuple[str, ...] = ()

    def __init__(self, backend: ExistingBackend, found: Found, *, clock: Clock, ids: Ids) -> None:
        assert isinstance(backend, S3Backend), f"{found.type} is opened as s3"
        polling = NearPolling()
        self._backend, self._found, self._clock, self._ids = backend, found, clock, ids
        self.records = _records(backend, polling, clock, ids)
        self._budgets: DynamoRecords | S3Records | None = None
        shared = SharedClock(self.records.server_time_s, clock)
        self.coordinator = AttentiveCoordinator(
            self.records, shared, ids, polling=polling, first_token=lambda: int(shared.now().timestamp() * 1000)
        )

    async def inspect(self) -> list[Inspected]:
        """See `QueueBeside.inspect`."""
        from interlock.existing.inspection import inspect
        from interlock.existing.s3 import access_of

        return await inspect(self._backend, access_of(self._found), clock=self._clock, ids=self._ids)

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `QueueBeside.explained`: of a throttled table the billing mode decides what to do."""
        place = self._backend.place
        if place.table is None or "throttle" not in f"{error.what} {error.why}".lower():
            return error
        try:
            mode = await self._backend.billing_mode()
        except InterlockError:
            return error
        fix = (
            "the table is on demand already, so many requests hit one item at once: run fewer pipelines of this state"
            if mode == "PAY_PER_REQUEST"
            else f"aws dynamodb update-table --table-name {place.table} --billing-mode PAY_PER_REQUEST"
        )
        return BackendUnavailable(error.what, why=f"{error.why}; billing mode {mode}", fix=fix, **error.facts)

    def budgets(self) -> LedgerPlace:
        """Return where the runs of all machines with states here share the limits of their organisations."""
        from interlock.gateway.sharing import LedgerPlace

        if self._budgets is None:
            self._budgets = _records(self._backend, NearPolling(), self._clock, self._ids, namespace=_BUDGETS)
        clock = SharedClock(self._budgets.server_time_s, self._clock)
        return LedgerPlace(records=self._budgets, clock=clock, is_far=True)

    async def close(self) -> None:
        """See `QueueBeside.close`."""
        await self.records.close()
        if self._budgets is not None:
            await self._budgets.close()


_BUDGETS = "budgets"  # items of a table beside those of queues, which hold something else


def _records(
    backend: S3Backend, polling: Pace, clock: Clock, ids: Ids, *, namespace: str = ""
) -> DynamoRecords | S3Records:
    place = backend.place
    if place.table is not None:
        return DynamoRecords(
            backend.dynamodb,
            table=place.table,
            namespace=namespace,
            expires_s=EXPIRES_S if namespace else lambda value: keep_s(value, EXPIRES_S),
            polling=polling,
            clock=clock,
            ids=ids,
        )
    beside = RecordPlace(bucket=place.bucket, kms_key=place.kms_key if place.encrypt else None)
    return S3Records(backend.s3, place=beside, polling=polling, clock=clock, ids=ids)


class AttentiveCoordinator(LocalCoordinator):
    """A coordinator that looks at its store more often while its one waiter is the next to be served.

    Args:
        store: Where the records are.
        clock: See `LocalCoordinator`.
        ids: See `LocalCoordinator`.
        polling: The store's pace.
        first_token: See `LocalCoordinator`.
    """

    def __init__(
        self, store: RecordStore, clock: Clock, ids: Ids, *, polling: NearPolling, first_token: Callable[[], int]
    ) -> None:
        super().__init__(store, clock, ids, first_token=first_token)
        self._polling = polling

    async def acquire(
        self, state: str, request: Requested, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """See `Coordinator.acquire`."""

        def noticed(standing: Standing) -> None:
            self._polling.is_near = standing.position == 1
            if on_change is not None:
                on_change(standing)

        try:
            return await super().acquire(state, request, timeout_s=timeout_s, on_change=noticed)
        finally:
            self._polling.is_near = False


_BACK_S_MAX = 60.0
"""How far ahead of the newest answer an earlier one is still believed; AWS's own hosts differ by far less."""


class SharedClock:
    """A clock whose instants are those of AWS, so that machines whose clocks differ agree on who was silent how long.

    Args:
        server_time_s: What AWS's clock says, in seconds since 1970; None before its first answer.
        own: The machine's clock, for durations, and for instants until then.
    """

    def __init__(self, server_time_s: Callable[[], float | None], own: Clock) -> None:
        self._server_time_s = server_time_s
        self._own = own
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """See `Clock.now`. Goes back only from an instant that was wrong.

        AWS tells whole seconds, so each answer may seem a little late, and that must not turn the clock back. But one
        wrong answer (a proxy's, a double's) that lies far ahead must not stop the clock until that instant comes.
        """
        told_s = self._server_time_s()
        now = self._own.now() if told_s is None else datetime.fromtimestamp(told_s, UTC)
        if told_s is not None:
            now = self._latest = latest(self._latest, now, ahead_s=_BACK_S_MAX)
        return now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._own.monotonic()

    async def sleep(self, wait_s: float) -> None:
        """See `Clock.sleep`."""
        await self._own.sleep(wait_s)
