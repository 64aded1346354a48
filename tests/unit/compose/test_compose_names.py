from __future__ import annotations

import subprocess
import sys

import pytest

import interlock.compose


def test_every_promised_name_is_found_where_the_table_says() -> None:
    assert sorted(interlock.compose._MODULE_OF) == sorted(interlock.compose.__all__)
    for name in interlock.compose.__all__:
        assert getattr(interlock.compose, name).__module__ == f"interlock.compose.{interlock.compose._MODULE_OF[name]}"


def test_a_name_that_is_not_promised_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = interlock.compose.no_such_name


def test_looking_at_a_queue_loads_nothing_that_runs_terraform() -> None:
    program = "import sys; from interlock.compose import queues; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "interlock.compose.locks" in shown
    assert not {"interlock.compose.supervising", "interlock.compose.ordering", "interlock.run"} & set(shown)
    assert not {"interlock.existing", "interlock.terraform", "interlock.hcl"} & set(shown)
