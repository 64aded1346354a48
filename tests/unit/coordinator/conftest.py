from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable
from interlock.lock import WHOLE_STATE, Claim, Requested
from interlock.store.memory import MemoryRecords
from interlock.store.records import Mismatch, Record
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds


class TroubledRecords(MemoryRecords):
    """A memory store that loses replies, fails and lets others be faster, as often as it is told."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.lose_replies = 0
        self.fail = 0
        self.fail_gets = 0
        self.be_overtaken = 0
        self.away = False
        self.reads = 0
        self.swaps = 0

    async def get(self, key: str) -> Record | None:
        self.reads += 1
        self._check_here()
        if self.fail_gets:
            self.fail_gets -= 1
            raise BackendUnavailable("the store does not answer", fix="try again")
        return await super().get(key)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        self.swaps += 1
        self._check_here()
        if self.fail:
            self.fail -= 1
            raise BackendUnavailable("the store does not answer", fix="try again")
        if self.be_overtaken:
            self.be_overtaken -= 1
            raise Mismatch(key, expected=expected, current=await super().get(key))
        version = await super().swap(key, expected=expected, value=value)
        if self.lose_replies:
            self.lose_replies -= 1
            raise BackendUnavailable("the store does not answer", fix="try again")
        return version

    def _check_here(self) -> None:
        if self.away:
            raise BackendUnavailable("the store does not answer", fix="try again")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def records(clock: FakeClock) -> TroubledRecords:
    return TroubledRecords(clock=clock)


@pytest.fixture
def coordinator(records: TroubledRecords, clock: FakeClock) -> LocalCoordinator:
    return LocalCoordinator(records, clock, CountingIds())


@pytest.fixture
def ask() -> Callable[..., Requested]:
    def build(
        ticket: str, *, queue: bool = True, patience_s: float = 40.0, claim: Claim = WHOLE_STATE, info: str = ""
    ) -> Requested:
        return Requested(
            ticket=ticket,
            run=f"run-{ticket}",
            who=f"{ticket}@host",
            info=info,
            claim=claim,
            lease_s=60.0,
            patience_s=patience_s,
            queue=queue,
        )

    return build
