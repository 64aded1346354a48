"""Several real processes on one SQLite file, some of them killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import closing
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import blob_digest
from interlock.store.sqlite import SqliteStore
from interlock.testing.store_contract import PATIENCE_S

SEED = int(os.environ.get("INTERLOCK_TEST_SEED", "20261124"))

_PREAMBLE = """
import asyncio, random, sys
from pathlib import Path
from interlock.clock import SystemClock
from interlock.store import Mismatch
from interlock.store.sqlite import SqliteStore
from interlock.testing.store_contract import count_up

def say(*words):
    print(*words, flush=True)

async def main(store):
{body}

async def opened():
    store = await SqliteStore.open(Path(sys.argv[1]), clock=SystemClock())
    await main(store)
    await store.close()

asyncio.run(opened())
"""

_COUNTER = """
    await count_up(store.records, "counter", times=25)
"""

# Writes without end; says what was acknowledged, after it was.
_WRITER = """
    name, chance = sys.argv[2], random.Random(int(sys.argv[3]))
    version = await store.records.swap(name, expected=None, value=b"0")
    last = None
    number = 0
    while True:
        number += 1
        version = await store.records.swap(name, expected=version, value=b"%d" % number)
        say("swap", number)
        if number % 5 == 0:
            last = await store.blobs.put(chance.randbytes(chance.choice([100, 6_000_000])) + b"tail", like=last)
            say("blob", last)
"""

_WATCHER = """
    version = None
    while True:
        say("waiting", version)
        record = await store.records.watch("bell", seen=version, timeout_s=60)
        version = record.version
        say("saw", record.value.decode())
        if record.value == b"end":
            break
"""


# Takes the lock, then renews it once for each line that it hears; says the token, or the refusal.
_HOLDER = """
    from interlock.coordinator.local import LocalCoordinator
    from interlock.errors import InterlockError
    from interlock.ids import RandomIds
    from interlock.lock import Requested
    coordinator = LocalCoordinator(store.records, SystemClock(), RandomIds())
    ticket = coordinator.new_ticket()
    try:
        grant = await coordinator.acquire(
            "prod", Requested(ticket=ticket, who="ann", lease_s=600, patience_s=60), timeout_s=60
        )
        while True:
            say("holds", grant.token)
            if not await asyncio.to_thread(sys.stdin.readline):
                return
            await coordinator.renew("prod", ticket=ticket, token=grant.token)
    except InterlockError as error:
        say("refused", error.exit_status, error.why)
"""


async def _start(body: str, path: Path, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PREAMBLE.format(body=body), str(path), *words, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode().strip()


@pytest.mark.promise("P3")
async def test_no_increment_is_lost_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "interlock.db"
    processes = [await _start(_COUNTER, path) for _ in range(4)]  # they also race to create the file
    assert [await process.wait() for process in processes] == [0] * 4
    store = await SqliteStore.open(path, clock=SystemClock())
    assert (await store.records.get("counter") or pytest.fail("absent")).value == b"100"
    await store.close()


async def test_a_waiter_in_another_process_hears_every_change(tmp_path: Path) -> None:
    path = tmp_path / "interlock.db"
    store = await SqliteStore.open(path, clock=SystemClock())
    watcher = await _start(_WATCHER, path)
    version = None
    for word in ("one", "two", "end"):
        assert (await _line(watcher)).startswith("waiting")
        version = await store.records.swap("bell", expected=version, value=word.encode())
        assert await _line(watcher) == f"saw {word}"
    assert await watcher.wait() == 0
    await store.close()


@pytest.mark.promise("P3")
@pytest.mark.parametrize("round_number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 4))])
async def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path, round_number: int) -> None:
    path = tmp_path / "interlock.db"
    chance = random.Random(SEED + round_number)
    writers = {name: await _start(_WRITER, path, name, str(chance.getrandbits(30))) for name in ("a", "b")}
    said = dict(zip(writers, await asyncio.gather(*map(_kill_in_the_middle, writers.values())), strict=True))
    print("seed", SEED, "acknowledged", {name: len(lines) for name, lines in said.items()})  # noqa: T201
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = await SqliteStore.open(path, clock=SystemClock())
    for name, lines in said.items():
        await _check_acknowledged(store, name, lines)
    await store.close()


async def _kill_in_the_middle(process: Process) -> list[str]:
    """Kill the writer at a moment that nobody chose, and return what it had said until then."""
    assert process.stdout is not None
    lines = [await _line(process) for _ in range(random.Random(process.pid).randrange(1, 40))]
    process.send_signal(signal.SIGKILL)
    rest = (await asyncio.wait_for(process.stdout.read(), PATIENCE_S)).decode()
    await process.wait()
    return lines + rest.splitlines(keepends=False)


async def _check_acknowledged(store: SqliteStore, name: str, lines: list[str]) -> None:
    swaps = [int(line.split()[1]) for line in lines if line.startswith("swap ")]
    record = await store.records.get(name) or pytest.fail("absent")
    assert int(record.value) in {swaps[-1], swaps[-1] + 1}  # the last one may have been written but not yet said
    for line in lines:
        if line.startswith("blob "):
            digest = line.split()[1]
            assert blob_digest(await store.blobs.get(digest)) == digest


@pytest.mark.promise("P3")
async def test_a_writer_stopped_in_its_transaction_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "interlock.db"
    store = await SqliteStore.open(path, clock=SystemClock())
    writer = await _start(_WRITER, path, "a", "1")
    await _line(writer)
    for _ in range(10):  # at some of these stops it holds the write lock
        writer.send_signal(signal.SIGSTOP)
        swap = asyncio.create_task(store.records.swap(f"k{_}", expected=None, value=b"x"))
        await asyncio.sleep(0.01)
        writer.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(swap, PATIENCE_S) > 0
        await _line(writer)
    writer.kill()
    await writer.wait()
    await store.close()


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    "removed", [("-wal",), pytest.param(("-shm",), marks=pytest.mark.slow), ("-wal", "-shm")], ids="".join
)
async def test_no_second_holder_comes_up_when_the_log_is_removed_under_the_first(
    tmp_path: Path, removed: tuple[str, ...]
) -> None:
    path = tmp_path / "interlock.db"
    holder = await _start(_HOLDER, path)
    assert await _line(holder) == "holds 1"
    for suffix in removed:
        Path(f"{path}{suffix}").unlink()
    second = await _start(_HOLDER, path)
    assert second.stderr is not None
    assert b"is gone" in (await asyncio.wait_for(second.stderr.read(), PATIENCE_S))
    assert await second.wait() != 0
    assert holder.stdin is not None
    holder.stdin.write(b"\n")
    assert (await _line(holder)).startswith("refused 30")
    assert await holder.wait() == 0
    third = await _start(_HOLDER, path)  # nobody uses the database any more, and the first one's lock is still in it
    watcher = await SqliteStore.open(path, clock=SystemClock())
    record = await watcher.records.watch("state/prod", seen=None, timeout_s=PATIENCE_S) or pytest.fail("lost")
    assert b'"token":1' in record.value
    await watcher.close()
    third.kill()
    await third.wait()
