"""One home with something in every view: versions, a holder, waiters, refused writes, runs, drift, an audit log.

Time stands still, ids are counted, and who acts is always the same, so commands print the same on every machine.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import host
from interlock.audit.log import AuditLog
from interlock.clock import SystemClock
from interlock.compose.homes import at_home
from interlock.coordinator.archive import Writer
from interlock.drift import Attribute, Finding, Kind, Scan
from interlock.drift.finding import digest_of
from interlock.errors import InterlockError, StateInvalid
from interlock.home.embedded import EmbeddedHome, open_home, read_settings
from interlock.ids import RandomIds, run_id
from interlock.lock import Broken, Priority, Requested
from interlock.operate.drift import find_drift
from interlock.run.summary import Summary, write_summary
from interlock.run.transcript import Entry, append

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
ROUTING, USERS = "prod/routing", "prod/users"
QUEUE, SKILL = "genesyscloud_routing_queue.orders", "genesyscloud_routing_skill.fraud"


class Machine:
    """What the commands see of time, chance and of who they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self._count = 0
        self._passed_s = 0.0
        monkeypatch.setattr(SystemClock, "now", lambda _: self.now)
        monkeypatch.setattr(SystemClock, "monotonic", lambda _: self._passed_s)
        monkeypatch.setattr(SystemClock, "sleep", lambda _, wait_s: self._sleep(wait_s))
        monkeypatch.setattr(RandomIds, "fresh", lambda _: f"id{self._next():08}")
        monkeypatch.setattr(RandomIds, "run", lambda _, at: run_id(at, self._next()))
        monkeypatch.setattr(host, "who", lambda: "ann@desk")

    def _next(self) -> int:
        self._count += 1
        return self._count

    async def _sleep(self, wait_s: float) -> None:
        self._passed_s += max(wait_s, 0.0)
        await asyncio.sleep(0)

    def at(self, minutes_ago: float) -> datetime:
        """Go to an instant before `NOW`, and return it."""
        self.now = NOW - timedelta(minutes=minutes_ago)
        return self.now


def state(serial: int, *names: str, lineage: str = "5f0d2c1e-routing", **attributes: str) -> bytes:
    """Return a state of queues."""
    rows = [
        {
            "mode": "managed",
            "type": "genesyscloud_routing_queue",
            "name": name,
            "provider": 'provider["registry.terraform.io/mypurecloud/genesyscloud"]',
            "instances": [{"schema_version": 2, "attributes": {"id": f"q-{name}", "name": name, **attributes}}],
        }
        for name in names
    ]
    fields = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": {}}
    return json.dumps({**fields, "resources": rows, "check_results": None}).encode()


async def furnish(machine: Machine, folder: Path) -> None:
    """Fill the home that the environment names."""
    settings = read_settings()
    async with open_home(settings) as embedded:
        await _written(machine, embedded)
        await _zombie(machine, embedded)
        await _queue(machine, embedded)
        await _audited(machine, embedded)
    _runs(machine, settings.runs, folder)
    await _drifted(machine, folder)
    machine.at(0)


async def _grant(embedded: EmbeddedHome, name: str, run: str, **more: Any) -> Writer:
    asked = Requested(ticket=run, run=run, who="ann@desk", lease_s=60, patience_s=40, **more)
    standing = await embedded.coordinator.request(name, asked)
    assert standing.token
    return Writer(who="ann@desk", run=run, ticket=run, token=standing.token)


async def _end(embedded: EmbeddedHome, name: str, writer: Writer) -> None:
    assert writer.ticket
    await embedded.coordinator.release(name, ticket=writer.ticket, token=writer.token)


async def _written(machine: Machine, embedded: EmbeddedHome) -> None:
    bodies = [state(1, "orders"), state(2, "orders", "returns"), state(3, "orders", "returns", description="changed")]
    for number, body in enumerate(bodies):
        machine.at(300 - 60 * number)
        writer = await _grant(embedded, ROUTING, f"run{number + 1}")
        await embedded.archive.write(ROUTING, body, writer=writer)
        await _end(embedded, ROUTING, writer)
    machine.at(50)
    writer = await _grant(embedded, USERS, "run4")
    await embedded.archive.write(USERS, state(1, "agents", lineage="a3b1-users"), writer=writer)
    await _end(embedded, USERS, writer)
    await embedded.coordinator.pause(USERS, by="bob@desk", reason="change freeze until Monday")


async def _zombie(machine: Machine, embedded: EmbeddedHome) -> None:
    machine.at(40)
    zombie = await _grant(embedded, ROUTING, "run5")
    assert zombie.ticket
    assert zombie.token
    broken = Broken(ticket=zombie.ticket, token=zombie.token, by="recovery", reason="its processes are gone")
    await embedded.coordinator.break_(ROUTING, broken)
    machine.at(39)
    with suppress(InterlockError):
        await embedded.archive.write(ROUTING, state(4, "orders"), writer=zombie)
    lost = StateInvalid("it is older", why="serial 2 is below serial 3", finding="older-serial")
    await embedded.archive.quarantine(ROUTING, state(2, "orders"), writer=zombie, error=lost)


async def _queue(machine: Machine, embedded: EmbeddedHome) -> None:
    machine.at(2)
    await _grant(embedded, ROUTING, run_id(machine.now, 6), priority=Priority.APPLY, info="https://ci.example/job/7")
    for number, priority in ((7, Priority.APPLY), (8, Priority.PLAN)):
        machine.at(9 - number)
        run = run_id(machine.now, number)
        asked = Requested(ticket=run, run=run, who=f"ci@runner-{number}", lease_s=60, patience_s=400, priority=priority)
        await embedded.coordinator.request(ROUTING, asked)


async def _audited(machine: Machine, embedded: EmbeddedHome) -> None:
    log = AuditLog(embedded.store.records, SystemClock())
    machine.at(40)
    await log.append("force-unlock", subject=ROUTING, by="ann@desk", facts={"verdict": "gone", "run": "run5"})
    machine.at(20)
    await log.append("state-restored", subject=ROUTING, by="bob@desk", facts={"version": 2, "serial": 4})


def _runs(machine: Machine, runs: Path, folder: Path) -> None:
    ends = [(0, "", ""), (34, "terraform", "Terraform failed: creating queue returns"), (130, "interrupted", "stopped")]
    for number, (status, code, message) in enumerate(ends, 1):
        started = machine.at(100 - 10 * number)
        run = run_id(started, number)
        summary = Summary(
            run=run, state=ROUTING, operation="apply", who="ann@desk", directory=str(folder), phase="ended",
            started_at=started, held_at=started + timedelta(seconds=4), ended_at=started + timedelta(minutes=3),
            exit=status, code=code, message=message, token=number, counts={"add": 1, "change": 2, "remove": 0},
            serial=number,
        )  # fmt: skip
        (runs / run).mkdir(parents=True)
        write_summary(runs / run, summary)
        append(runs / run, Entry(at=started, kind="phase", facts={"phase": "queued"}))
        append(runs / run, Entry(at=started + timedelta(seconds=4), kind="granted", facts={"token": number}))
        end = {"exit": status, "code": code, "what": message, "why": "", "next": "", "in_flight": []}
        append(runs / run, Entry(at=started + timedelta(minutes=3), kind="end", facts=end))


async def _drifted(machine: Machine, folder: Path) -> None:
    changed = Attribute(
        path="description", before="Orders", after="Orders and returns", digest=digest_of("b", "s"),
        suggestion='description = "Orders and returns"',
    )  # fmt: skip
    new = Attribute(path="", after="s-1", digest=digest_of("s-1", "s"))
    findings = (
        Finding(kind=Kind.CHANGED, address=QUEUE, type=QUEUE.partition(".")[0], object="q-1", attributes=(changed,)),
        Finding(
            kind=Kind.UNMANAGED, address=SKILL, type=SKILL.partition(".")[0], object="s-1", name="Fraud",
            attributes=(new,),
        ),
    )  # fmt: skip
    scan = Scan(state=ROUTING, run="run3", at=machine.at(30), salt="s", findings=findings)
    async with at_home(os.environ, directory=folder, make=False) as opened:
        drift = await find_drift(folder, ROUTING, opened, os.environ)
        await drift.book.keep(scan, lambda ledger: ledger)
