"""The queue of a state on S3, beside it: in its DynamoDB table where the configuration names one, else in its bucket.

A hand: it opens them. Items in the table expire a day after their last change (docs/explanation/dynamodb-ttl.md);
fencing tokens of a queue that begins anew start at the present instant in milliseconds, which is more than any earlier
queue of this state had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.coordinator.record import keep_s
from interlock.errors import BackendUnavailable, InterlockError
from interlock.existing import ExistingBackend, Found
from interlock.existing.s3 import S3Backend
from interlock.ids import Ids
from interlock.site.shared_queue import AttentiveCoordinator, SharedClock, bells_of
from interlock.store.dynamodb import DynamoRecords
from interlock.store.polling import NearPolling, Pace
from interlock.store.s3 import S3Place as RecordPlace
from interlock.store.s3 import S3Records

if TYPE_CHECKING:
    from interlock.existing.inspection import Inspected
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home
    from interlock.rights import Right

EXPIRES_S = 86_400.0
"""How long the table keeps an item of ours after its last change, beyond its longest lease. Renewed while in use."""


def open_s3_queue(backend: ExistingBackend, found: Found, home: Home) -> S3Queue:
    """See `interlock.site.kinds.OpenQueue`."""
    queue = S3Queue(backend, found, clock=home.clock, ids=home.ids, check_may=home.check_may)
    queue.records.listen_in(bells_of(home))
    return queue


class S3Queue:
    """See `interlock.site.kinds.QueueBeside`.

    Args:
        backend: The state's own, opened; its clients are used.
        found: The same as found.
        clock: For back-off, and until AWS has told its own.
        ids: For jitter and tickets.
        check_may: See `interlock.home.interface.Home.check_may`.
    """

    is_near = False
    words: tuple[str, ...] = ()

    def __init__(
        self,
        backend: ExistingBackend,
        found: Found,
        *,
        clock: Clock,
        ids: Ids,
        check_may: Callable[[Right, str], Awaitable[None]],
    ) -> None:
        assert isinstance(backend, S3Backend), f"{found.type} is opened as s3"
        polling = NearPolling()
        self._backend, self._found, self._clock, self._ids = backend, found, clock, ids
        self.records = _records(backend, polling, clock, ids)
        self._budgets: DynamoRecords | S3Records | None = None
        shared = SharedClock(self.records.server_time_s, clock)
        self.coordinator = AttentiveCoordinator(
            self.records,
            shared,
            ids,
            polling=polling,
            first_token=lambda: int(shared.now().timestamp() * 1000),
            check_may=check_may,
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

    def budgets(self) -> LedgerPlace | None:
        """See `QueueBeside.budgets`."""
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
