"""Providers that Terraform installs, from a mirror as from a registry; most tests name theirs in `dev_overrides`."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from tests import slow_provider
from tests.desk import Desk

pytestmark = pytest.mark.e2e
LOCK = ".terraform.lock.hcl"


@pytest.fixture
def module(desk: Desk, tmp_path: Path) -> Path:
    folder = tmp_path / "provider"
    folder.mkdir()
    desk.environ.update(slow_provider.install(folder))
    return desk.module(text=slow_provider.MODULE)


@pytest.mark.slow
def test_a_saved_plan_is_applied_although_nobody_committed_a_lock_file(desk: Desk, module: Path) -> None:
    """Twice: by the run that installed the provider first, and from what it kept."""
    for seconds in ("0", "0.01"):
        words = ("--state", "s", "--", f"-var=seconds={seconds}")
        planned = desk.run("plan", module, "--out", desk.folder / "p.tfplan", *words)
        assert planned.code == 0, planned.err
        assert not (module / LOCK).exists()
        applied = desk.run("apply", module, "--state", "s", "--plan", desk.folder / "p.tfplan", "--auto-approve")
        assert applied.code == 0, applied.err
    assert "Inconsistent dependency lock file" not in applied.err + planned.err


def test_the_lock_file_that_init_wrote_is_offered_once_and_fits(desk: Desk, module: Path) -> None:
    first = desk.run("plan", module, "--state", "s")
    [offer] = [line for line in first.err.splitlines() if f"{LOCK} is missing" in line]
    assert LOCK not in desk.run("plan", module, "--state", "s").err
    subprocess.run(shlex.split(offer.split("selected: ")[1]), check=True)
    assert slow_provider._SOURCE in (module / LOCK).read_text()
    again = desk.run("plan", module, "--state", "s")
    assert again.code == 0, again.err
    assert LOCK not in again.err
