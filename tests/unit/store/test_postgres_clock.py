from __future__ import annotations

from datetime import UTC, datetime, timedelta

from interlock.store.postgres_clock import DatabaseClock
from interlock.testing.clock import FakeClock

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def test_it_is_the_databases_clock_however_wrong_that_of_the_machine_is() -> None:
    machine = FakeClock()
    clock = DatabaseClock(machine)
    clock.learn(AT, asked_s=machine.monotonic())
    assert clock.now() == AT
    machine.pass_time(60.0)
    assert clock.now() == AT + timedelta(seconds=60)


async def test_a_slow_answer_does_not_replace_a_quick_one_that_is_still_good() -> None:
    machine = FakeClock()
    clock = DatabaseClock(machine)
    clock.learn(AT, asked_s=machine.monotonic())
    asked_s = machine.monotonic()
    machine.pass_time(2.0)
    clock.learn(AT, asked_s=asked_s)  # made at the beginning of its two seconds, which nobody can know
    assert clock.now() == AT + timedelta(seconds=2)


async def test_a_correction_does_not_let_it_go_back() -> None:
    machine = FakeClock()
    clock = DatabaseClock(machine)
    clock.learn(AT, asked_s=machine.monotonic())
    machine.pass_time(1.0)
    before = clock.now()
    clock.learn(AT + timedelta(seconds=0.99), asked_s=machine.monotonic())
    assert clock.now() == before
    machine.pass_time(0.1)
    assert clock.now() == AT + timedelta(seconds=1.09)


async def test_another_clock_after_a_failover_is_followed() -> None:
    machine = FakeClock()
    clock = DatabaseClock(machine)
    clock.learn(AT, asked_s=machine.monotonic())
    assert clock.now() == AT
    clock.learn(AT - timedelta(hours=1), asked_s=machine.monotonic())
    assert clock.now() == AT - timedelta(hours=1)
