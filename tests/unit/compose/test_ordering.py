"""A run, ordered with the settings of its root module."""

from __future__ import annotations

from pathlib import Path

from interlock.compose.ordering import checked_order
from interlock.operate.ordering import Asked
from interlock.run.order import Operation
from interlock.site.ref import is_run_id


def test_the_settings_of_the_root_module_hold_and_each_order_has_an_id_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("")
    (tmp_path / "interlock.yaml").write_text("version: 1\nrun:\n  max_deletes: 3\n")
    program = tmp_path / "terraform"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environ = {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    asked = Asked(operation=Operation.PLAN, directory=tmp_path, terraform=str(program), state="prod")
    first, second = (checked_order(asked, environ, lambda _: None) for _ in range(2))
    assert (first.max_deletes, first.home, first.state) == (3, str(tmp_path / "home"), "prod")
    assert is_run_id(first.run)
    assert first.run != second.run
