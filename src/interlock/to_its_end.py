"""Does a step that may not be done by half to its end, however often whoever waits for it is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(step: Coroutine[Any, Any, T]) -> T:
    """Wait for `step` until it is done; a cancellation takes effect after that.

    A run that leaves is cancelled, and by its task group once more when one of its tasks fails at that moment. Half a
    step would leave Terraform's lock behind, or give the grant back while that lock is still being deleted.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile, and the step succeeded.
        Exception: What the step raised.
    """
    task, cancelled = asyncio.create_task(step), False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result


async def call_off(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has ended: a step that it does to its end takes until then."""
    task.cancel()
    await asyncio.wait({task})
