"""The lock of Terraform's local backend, taken by the real Terraform."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.existing import ExistingBackend, Found, TerraformLock
from interlock.existing.local import LocalBackend, path_of

pytestmark = pytest.mark.e2e


def locks(backend: ExistingBackend) -> tuple[TerraformLock, ...]:
    return asyncio.run(backend.read_locks())


@pytest.mark.promise("P5")
def test_a_living_terraform_is_seen_and_a_killed_one_locks_nothing(desk: Desk, module: Path) -> None:
    environ = {**desk.environ, "TF_DATA_DIR": str(desk.folder / "data")}
    ready = ["terraform", f"-chdir={module}", "init", "-input=false"]
    subprocess.run(ready, env=environ, check=True, capture_output=True)
    words = ["terraform", f"-chdir={module}", "apply", "-auto-approve", "-var=hold=30"]
    backend = LocalBackend(path_of(Found(type="local"), module), found=Found(type="local"))
    with subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        (lock,) = desk.until(lambda: locks(backend), "a lock")
        assert (lock.operation, lock.condition) == ("OperationTypeApply", f"pid {process.pid}")
        assert lock.id
        os.killpg(process.pid, signal.SIGKILL)
    assert backend.info_path.exists()
    assert locks(backend) == ()
