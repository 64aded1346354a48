"""A store whose writer is killed between two writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from interlock.store.memory import MemoryRecords


class _KilledError(Exception):
    pass


@contextmanager
def killed_after(records: MemoryRecords, writes: int, *beside: tuple[object, str]) -> Iterator[list[str]]:
    """End whoever writes after so many writes; yield what was written.

    Args:
        records: Whose swaps are writes.
        writes: How many are done.
        beside: Further writes: of what, and by which method.
    """
    written = list[str]()

    def counted(method: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def write(*args: Any, **named: Any) -> Any:
            if len(written) == writes:
                raise _KilledError
            done = await method(*args, **named)
            written.append(name or str(args[0]))
            return done

        return write

    with pytest.MonkeyPatch.context() as patched, suppress(_KilledError):
        patched.setattr(records, "swap", counted(records.swap, ""))
        for what, method in beside:
            patched.setattr(what, method, counted(getattr(what, method), method))
        yield written
