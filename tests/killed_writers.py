"""A store whose writer is killed between two writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from interlock.store.memory import MemoryRecords


class _KilledError(Exception):
    pass


@contextmanager
def killed_after(records: MemoryRecords, writes: int) -> Iterator[list[str]]:
    """End whoever writes after so many writes; yield the keys that were written."""
    swap, written = records.swap, list[str]()

    async def counted(key: str, *, expected: int | None, value: bytes | None) -> int:
        if len(written) == writes:
            raise _KilledError
        version = await swap(key, expected=expected, value=value)
        written.append(key)
        return version

    with pytest.MonkeyPatch.context() as patched, suppress(_KilledError):
        patched.setattr(records, "swap", counted)
        yield written
