"""What one run does about drift: see `interlock.run.surroundings.Review`. A hand.

Most applies have nothing to look at, so the room of drift is imported only when there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from interlock.clock import Clock
from interlock.errors import BackendUnavailable
from interlock.ids import Ids
from interlock.run.order import Operation, Order
from interlock.run.summary import Summary, recent
from interlock.run.surroundings import Generate
from interlock.terraform.plan import PlanFacts

if TYPE_CHECKING:
    from interlock.creations import Creation
    from interlock.drift.audit import UnderWay
    from interlock.drift.inspector import Inspector
    from interlock.drift.ledger import LedgerBook
    from interlock.drift.organisation import Organisation
    from interlock.drift.unmanaged import LeftBehind
    from interlock.genesys.spellings import Spelling

_FLOW = "genesyscloud_flow."
RUNS_READ = 1000
"""Newest runs whose times are read; records of older ones are pruned."""
_ACTING = frozenset({Operation.APPLY.value, Operation.DESTROY.value})
_NOTE_S = 20.0  # the state is saved when flows are noted, but the lock is still held


class Way(Protocol):
    """The run's way to the API; `interlock.run.gateway_access.RunGateway` is one."""

    @property
    def url(self) -> str:
        """Where calls go; empty while it is not open."""
        ...

    @property
    def client(self) -> str:
        """The OAuth client that calls are made with."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a review works with.

    Attributes:
        book: Where decisions and scans are.
        way: To the API; None for a run without a gateway.
        states: Yields the other states of the store: name and body.
        written_at: Says when the run's own state was last written; None when that is not known.
        section: The `drift` section of interlock.yaml, read when it is needed.
        runs: The folder of this home's runs.
        orphans: Returns what earlier runs of the state made that no state holds.
    """

    book: LedgerBook
    way: Way | None
    states: Callable[[], AsyncIterator[tuple[str, bytes]]]
    written_at: Callable[[], Awaitable[datetime | None]]
    section: Callable[[], Mapping[str, Any]]
    runs: Path
    orphans: Callable[[], Sequence[Creation]] = tuple


class DriftReview:
    """See the module.

    Args:
        order: The run.
        means: What it works with.
        clock: Time.
        ids: For salts.
    """

    def __init__(self, order: Order, means: Means, *, clock: Clock, ids: Ids) -> None:
        self._order = order
        self._means = means
        self._clock = clock
        self._ids = ids

    def is_needed(self, plan: PlanFacts) -> bool:
        """See `Review.is_needed`."""
        flows = any(_FLOW in change.resource.address for change in plan.changes)
        return self._order.drift_gate and bool(plan.drift or flows)

    async def scan(self, shown: bytes, generate: Generate) -> Mapping[str, object]:
        """See `Review.scan`."""
        return await self._inspector().scan(shown, generate)

    async def check(self, shown: bytes) -> None:
        """See `Review.check`."""
        await self._inspector().check(shown)

    async def applied(self, made: Mapping[str, str]) -> None:
        """See `Review.applied`: the published versions of flows are noted, since no read of the provider shows them."""
        flows = [identifier for address, identifier in made.items() if f".{address}".rpartition(_FLOW)[1]]
        if not flows:
            return
        try:
            async with asyncio.timeout(_NOTE_S):
                await self._inspector().published(flows)
        except TimeoutError as error:
            raise BackendUnavailable("the organisation did not answer in time", fix="interlock drift") from error

    def _inspector(self) -> Inspector:
        from interlock.drift.inspector import Inspector, Subject
        from interlock.drift.unmanaged import Look

        look = self._order.look
        subject = Subject(
            state=self._order.state,
            run=self._order.run,
            rules=rules_of(self._means.section()),
            look=Look(types=look.types, names=look.names, divisions=look.divisions),
            times=lambda: times_of(recent(self._means.runs, limit=RUNS_READ)),
            left_behind=tuple(self._left_behind()),
        )
        return Inspector(
            subject,
            book=self._means.book,
            states=self._means.states,
            written_at=self._means.written_at,
            organisation=self._organisation,
            clock=self._clock,
            ids=self._ids,
        )

    def _left_behind(self) -> Iterator[LeftBehind]:
        """Yield what runs of this state made for certain, and that can be imported."""
        from interlock.drift.unmanaged import LeftBehind, Listed

        for each in self._means.orphans():
            if each.is_importable and not each.doubt:
                listed = Listed(type=each.type, id=each.import_id, name=each.name)
                yield LeftBehind(listed=listed, address=each.address, run=each.run)

    @asynccontextmanager
    async def _organisation(self) -> AsyncIterator[Organisation | None]:
        way = self._means.way
        if way is None or not way.url:
            yield None
            return
        from interlock.drift.organisation import open_organisation

        async with open_organisation(way.url, way.client, clock=self._clock) as organisation:
            yield organisation


def times_of(runs: Sequence[Summary]) -> tuple[list[UnderWay], datetime | None]:
    """Return when runs could change the organisation, and since when such runs are known.

    Args:
        runs: Their records, of all states: they may share one OAuth client.
    """
    from interlock.drift.audit import UnderWay

    acting = [each for each in runs if each.operation in _ACTING]
    times = [UnderWay(run=each.run, begun=each.held_at or each.started_at, ended=each.ended_at) for each in acting]
    return times, min((each.started_at for each in runs), default=None)


def rules_of(section: Mapping[str, Any]) -> tuple[Spelling, ...]:
    """Return the noise rules that hold: those of interlock.yaml, then the built-in ones."""
    from interlock.genesys.spellings import Equal, Spelling, spellings

    own = [Spelling(**{**rule, "equal": Equal(rule["equal"])}) for rule in section.get("noise", [])]
    return (*own, *spellings())
