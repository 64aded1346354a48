"""The queue of a state beside it, in records that its service writes on a condition: objects, blobs, rows. A hand.

Who can write the state can queue for it, from any machine. Fencing tokens of a queue that begins anew start at the
present instant in milliseconds, which is more than any earlier queue of this state had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable
from interlock.existing.inspection import Inspected
from interlock.site.shared_queue import AttentiveCoordinator, SharedClock, bells_of
from interlock.store.conditional import ConditionalRecords
from interlock.store.polling import NearPolling

if TYPE_CHECKING:
    from interlock.existing import ExistingBackend, Found
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home


class BesideQueue:
    """See `interlock.site.kinds.QueueBeside`.

    Args:
        records: Where it is kept.
        server_time_s: What the service's clock says, in seconds since 1970; None before its first answer.
        polling: The pace of `records`.
        home: For clock and chance.
        where: Where it is kept, for people.
    """

    is_near = False
    words: tuple[str, ...] = ()

    def __init__(
        self,
        records: ConditionalRecords,
        server_time_s: Callable[[], float | None],
        *,
        polling: NearPolling,
        home: Home,
        where: str,
    ) -> None:
        self._records = records
        records.listen_in(bells_of(home))
        self._where = where
        self._clock = shared = SharedClock(server_time_s, home.clock)
        self.coordinator = AttentiveCoordinator(
            records,
            shared,
            home.ids,
            polling=polling,
            first_token=lambda: int(shared.now().timestamp() * 1000),
            check_may=home.check_may,
        )

    def budgets(self) -> LedgerPlace | None:
        """See `QueueBeside.budgets`. Their keys are none of a queue's."""
        from interlock.gateway.sharing import LedgerPlace

        return LedgerPlace(records=self._records, clock=self._clock, is_far=True)

    async def inspect(self) -> list[Inspected]:
        """See `QueueBeside.inspect`."""
        return [Inspected(name="queue", result="ok", text=f"kept beside the state, in {self._where}")]

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `QueueBeside.explained`."""
        return error

    async def close(self) -> None:
        """See `QueueBeside.close`."""
        await self._records.close()


def open_gcs_queue(backend: ExistingBackend, found: Found, home: Home) -> BesideQueue:
    """See `interlock.site.kinds.OpenQueue`."""
    from interlock.existing.gcs import RECORDS, GcsBackend, GcsRecords

    assert isinstance(backend, GcsBackend), f"{found.type} is opened as gcs"
    polling = NearPolling()
    records = GcsRecords(backend, polling=polling, clock=home.clock, ids=home.ids)
    where = f"gs://{backend.place.bucket}/{RECORDS}"
    return BesideQueue(records, backend.rest.server_time_s, polling=polling, home=home, where=where)


def open_azure_queue(backend: ExistingBackend, found: Found, home: Home) -> BesideQueue:
    """See `interlock.site.kinds.OpenQueue`."""
    from interlock.existing.azurerm import RECORDS, AzureBackend, AzureRecords

    assert isinstance(backend, AzureBackend), f"{found.type} is opened as azurerm"
    polling = NearPolling()
    records = AzureRecords(backend, polling=polling, clock=home.clock, ids=home.ids)
    where = backend.blob_url(RECORDS)
    return BesideQueue(records, backend.rest.server_time_s, polling=polling, home=home, where=where)


def open_pg_queue(backend: ExistingBackend, found: Found, home: Home) -> BesideQueue:
    """See `interlock.site.kinds.OpenQueue`."""
    from interlock.existing.pg import PgBackend, PgRecords

    assert isinstance(backend, PgBackend), f"{found.type} is opened as pg"
    polling = NearPolling()
    records = PgRecords(backend, polling=polling, clock=home.clock, ids=home.ids)
    where = f"table {backend.records}"
    return BesideQueue(records, records.server_time_s, polling=polling, home=home, where=where)


def open_consul_queue(backend: ExistingBackend, found: Found, home: Home) -> BesideQueue:
    """See `interlock.site.kinds.OpenQueue`."""
    from interlock.existing.consul import ConsulBackend, ConsulRecords

    assert isinstance(backend, ConsulBackend), f"{found.type} is opened as consul"
    polling = NearPolling()
    records = ConsulRecords(backend, polling=polling, clock=home.clock, ids=home.ids)
    where = f"keys under {backend.place.records}"
    return BesideQueue(records, backend.rest.server_time_s, polling=polling, home=home, where=where)


def open_kubernetes_queue(backend: ExistingBackend, found: Found, home: Home) -> BesideQueue:
    """See `interlock.site.kinds.OpenQueue`."""
    from interlock.existing.kubernetes import KubernetesBackend, KubernetesRecords

    assert isinstance(backend, KubernetesBackend), f"{found.type} is opened as kubernetes"
    polling = NearPolling()
    records = KubernetesRecords(backend, polling=polling, clock=home.clock, ids=home.ids)
    where = f"Secrets interlock-… of namespace {backend.place.namespace}"
    return BesideQueue(records, backend.rest.server_time_s, polling=polling, home=home, where=where)
