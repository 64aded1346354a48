"""What `interlock doctor` examines."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.compose.examining import examine
from interlock.errors import UsageError


async def test_settings_that_cannot_be_read_are_the_one_thing_found(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text("version: 1\nno_such_key: 3\n")
    ((row,), _) = await examine(tmp_path, {"HOME": str(tmp_path)})
    assert (row.name, row.result) == ("settings", "problem")
    with pytest.raises(UsageError):
        await examine(tmp_path / "none", {})
