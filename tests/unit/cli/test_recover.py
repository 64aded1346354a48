"""The first question of a recovery: is there anything of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.cli.main import main


@pytest.mark.promise("P8", "P11")
def test_a_name_under_which_nothing_ever_was_is_not_said_to_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["recover", "prodd", "--yes", "--window", "0s"])
    said = capsys.readouterr().err
    assert left.value.code == 3, said
    assert "there is no state prodd" in said
    assert "whole" not in said
