"""Ends a program that judges a plan. A hand."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

LAST_S = 5.0
"""Seconds for what is left in the pipe of a killed program; more only where something that left its session has it."""


async def end_program(child: asyncio.subprocess.Process) -> None:
    """Kill a program, with all that it started in its session, and wait until it has ended."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    assert child.stdout is not None, "it is a pipe"
    # asyncio says that a process has ended when its pipes are closed too, and it reads on from a full one only when
    # somebody takes what came: of a program that prints without end the run would wait for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_S):
            while await child.stdout.read(1 << 16):
                pass
            await child.wait()
