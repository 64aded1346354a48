"""A child process for real."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from interlock.host import Life, life_of, name_process
from interlock.run.process import Child

PROVISIONER = "sleep 600 & echo $! > provisioner; wait"


async def started(folder: Path, script: str) -> Child:
    return await Child.start(
        ["/bin/sh", "-c", script],
        environ=dict(os.environ),
        cwd=folder,
        stdout=folder / "out",
        stderr=folder / "err",
        held=[],
    )


async def until(done: object, what: str) -> None:
    """Wait for something that another process does."""
    end_s = time.monotonic() + 30
    while not (done() if callable(done) else done):
        assert time.monotonic() < end_s, what
        await asyncio.sleep(0.01)


@pytest.mark.promise("P1", "P9")
@pytest.mark.parametrize("by_us", [True, False])
async def test_what_a_killed_terraform_started_is_killed_too(tmp_path: Path, by_us: bool) -> None:
    """A provisioner that lives on would change things while the next run holds the state."""
    child = await started(tmp_path, PROVISIONER)
    written = tmp_path / "provisioner"
    await until(lambda: written.exists() and written.read_text().endswith("\n"), "a provisioner")
    provisioner = name_process(int(written.read_text()))
    if by_us:
        child.kill()
    else:
        os.kill(child.name.pid, signal.SIGKILL)
    assert (await child.wait()).killed_by == signal.SIGKILL
    await until(lambda: life_of(provisioner)[0] is Life.GONE, "the end of the provisioner")


async def test_what_a_terraform_that_ended_by_itself_left_is_let_be(tmp_path: Path) -> None:
    child = await started(tmp_path, "sleep 600 & echo $! > provisioner")
    assert (await child.wait()).code == 0
    left = name_process(int((tmp_path / "provisioner").read_text()))
    assert life_of(left)[0] is Life.ALIVE
    os.kill(left.pid, signal.SIGKILL)
