"""Which run is waited for when nobody names one (promises P8 and P11)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.compose import burying as room
from interlock.compose.burying import await_run
from interlock.run.summary import Summary, write_summary


@pytest.mark.promise("P8")
def test_wait_takes_no_run_of_a_folder_whose_name_only_begins_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    for number, name in enumerate(("cc", "cc2")):
        (tmp_path / name).mkdir()
        folder = tmp_path / "home" / "runs" / f"1kdc7q2m50123ab{number}"
        folder.mkdir(parents=True)
        write_summary(
            folder,
            Summary(
                run=folder.name,
                state=name,
                operation="apply",
                who="a",
                directory=str((tmp_path / name).resolve()),
                phase="ended",
                started_at=datetime(2026, 3, 1, tzinfo=UTC),
            ),
        )
    monkeypatch.chdir(tmp_path / "cc")
    waited: list[str] = []

    async def end(folder: Path, limit_s: float | None) -> None:
        waited.append(folder.name)

    monkeypatch.setattr(room, "_await_end", end)
    await_run(None, environ, None)
    assert waited == ["1kdc7q2m50123ab0"]
