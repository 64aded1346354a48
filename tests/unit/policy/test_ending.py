from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE

import pytest

from interlock.policy.ending import end_program

STEP_S = 60.0
CHILD = "import os, sys; [os.write(1, b'y' * 65536) for _ in iter(int, 1)]"


async def started(text: str) -> asyncio.subprocess.Process:
    words = (sys.executable, "-c", text)
    return await asyncio.create_subprocess_exec(
        *words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
    )


@pytest.mark.promise("P9")
async def test_a_program_whose_output_nobody_takes_any_more_is_ended() -> None:
    child = await started(CHILD)
    async with asyncio.timeout(STEP_S):
        assert child.stdout is not None
        while not child.stdout._paused:  # type: ignore[attr-defined]  # noqa: ASYNC110 - asyncio tells it to nobody
            await asyncio.sleep(0)
        await end_program(child)
        await end_program(child)
    assert child.returncode == -9
