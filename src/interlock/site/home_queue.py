"""The queue of a state elsewhere, in the home: for backends beside which none can be kept. A hand.

It orders the runs of everybody who uses this home. Runs of other homes, and plain Terraform, are kept out by
Terraform's own lock alone, which knows no order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.errors import BackendUnavailable
from interlock.existing.inspection import Inspected

if TYPE_CHECKING:
    from interlock.existing import ExistingBackend
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home


class HomeQueue:
    """See `interlock.site.kinds.QueueBeside`.

    Args:
        backend: The state's own, opened.
        home: Where the queue is.
    """

    is_near = True

    def __init__(self, backend: ExistingBackend, home: Home) -> None:
        self._locks = bool(backend.describe().locking)
        self._home = home
        self.coordinator = home.beside

    @property
    def words(self) -> tuple[str, ...]:
        """See `QueueBeside.words`."""
        return (f"queue: in {self._home.place}, for the runs that use it; {_others(self._locks)}",)

    def budgets(self) -> LedgerPlace | None:
        """See `QueueBeside.budgets`. The home has a ledger of its own; others cannot come to it."""
        return None

    async def inspect(self) -> list[Inspected]:
        """See `QueueBeside.inspect`."""
        text = f"kept in {self._home.place}: the runs of this home take turns in order"
        rows = [Inspected(name="queue", result="ok", text=text)]
        if self._locks:
            rows.append(Inspected(name="locking", result="ok", text=_others(is_locked=True)))
        else:
            rows.append(Inspected(name="locking", result="problem", text=_others(is_locked=False), fix=_SET_LOCK))
        return rows

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `QueueBeside.explained`."""
        return error

    async def close(self) -> None:
        """See `QueueBeside.close`. The home closes its store."""


_SET_LOCK = "set lock_address and unlock_address in the backend block, if the server can lock"


def _others(is_locked: bool) -> str:
    if is_locked:
        return "runs of other homes, and plain Terraform, are kept out by Terraform's own lock, in no order"
    return "the backend locks with nothing, so nobody keeps out runs of other homes and plain Terraform"
