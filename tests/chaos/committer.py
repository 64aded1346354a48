"""`python -m tests.chaos.committer DATABASE STATE FILE`: writes versions as fast as it can, until it is killed.

Each digest is written to FILE after the store has acknowledged it: what stands there must never be lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from interlock.clock import SystemClock
from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.store.sqlite import SqliteStore

DOCUMENT = {"version": 4, "terraform_version": "1.11.4", "outputs": {}, "resources": [], "check_results": None}


async def commit(database: Path, state: str, said: Path) -> None:
    clock, ids = SystemClock(), RandomIds()
    store = await SqliteStore.open(database, clock=clock)
    coordinator = LocalCoordinator(store.records, clock, ids)
    archive = StateArchive(coordinator, store.records, store.blobs, clock)
    request = Requested(ticket=ids.fresh(), who="chaos", lease_s=60.0, patience_s=60.0)
    grant = await coordinator.acquire(state, request, timeout_s=30.0)
    writer = Writer(who="chaos", ticket=grant.ticket, token=grant.token)
    with said.open("a", buffering=1) as file:
        for serial in range(1, 1_000_000):
            body = json.dumps({**DOCUMENT, "serial": serial, "lineage": state}).encode()
            written = await archive.write(state, body, writer=writer)
            file.write(written.version.digest + "\n")


if __name__ == "__main__":
    asyncio.run(commit(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
