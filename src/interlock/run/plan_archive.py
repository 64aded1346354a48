"""Opens a plan file, for every reader of one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.errors import UsageError
from interlock.run.plan_size import check_size
from interlock.unpacking import UNPACKING_FAULTS


@contextmanager
def opened_plan(plan: bytes | Path) -> Iterator[zipfile.ZipFile]:
    """Open a plan, and say of whatever cannot be read in it, also by the reader, that it is not a plan.

    Args:
        plan: The file's bytes, or where it is.

    Raises:
        UsageError: It is not a plan, is too large, or has an entry twice.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(plan) if isinstance(plan, bytes) else plan) as archive:
            check_size(archive)
            _check_entries(archive.namelist())
            yield archive
    except UNPACKING_FAULTS as error:
        raise UsageError("this is not a saved plan", why=str(error), fix="interlock plan --out FILE") from error


def _check_entries(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError("it has an entry twice, so that two readers would see two plans")
