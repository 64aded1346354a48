"""A home on a disk that becomes full: nothing that an apply made is lost, and nobody calls it a defect."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.host import Life, life_of

pytestmark = pytest.mark.e2e

_SIZE_MIB = 48
WORK = """
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "n=0; until [ -e FOLDER/go ] || [ $n = 600 ]; do n=$((n+1)); sleep 0.1; done"
  }
}

resource "terraform_data" "large" {
  count      = 40
  input      = sha512(join("", [for n in range(200) : sha512("${count.index}-${n}")]))
  depends_on = [terraform_data.slow]
}
"""


def _why_no_small_disk() -> str:
    return "" if os.geteuid() == 0 else "only root may mount a small file system"


needs_small_disk = pytest.mark.skipif(bool(_why_no_small_disk()), reason=_why_no_small_disk() or "-")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose home is on a small disk of its own."""
    home = tmp_path / "home"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=700", "none", home], check=False)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount a tmpfs")
    desk = Desk(tmp_path)
    yield desk
    desk.close()
    subprocess.run(["umount", "-l", home], check=True)


def fill(home: Path) -> Path:
    """Take every byte that is left."""
    filler = home / "filler"
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        for block in (b"x" * (1 << 20), b"x" * 512, b"x"):
            with suppress(OSError):
                while file.write(block):
                    pass
    return filler


@needs_small_disk
@pytest.mark.promise("P3")
@pytest.mark.promise("P9")
def test_a_disk_that_becomes_full_during_an_apply_loses_nothing_when_room_is_made(small: Desk) -> None:
    module = small.module(text=WORK.replace("FOLDER", str(small.folder)))
    running = small.start("apply", module, "--state", "s", "--auto-approve")
    summary = small.until_working()
    filler = fill(small.home)
    (small.folder / "go").touch()
    terraform = summary.processes["terraform"]
    small.until(lambda: life_of(terraform)[0] is Life.GONE or None, "the end of its Terraform")
    filler.unlink()
    ended = running.wait()
    assert ended.code in (0, 30), ended.err  # 30 when what Terraform said did not fit on the disk either
    assert ended.code == 0 or "it is stored now" in ended.err
    saved = small.run("state", "pull", "s").document["resources"]
    assert sum(len(resource["instances"]) for resource in saved) == 41
    assert not [path for path in small.folder.rglob("*errored*.tfstate") if path.is_file()]


@needs_small_disk
@pytest.mark.promise("P8")
def test_a_run_that_finds_a_full_disk_ends_with_30_and_is_no_defect(small: Desk) -> None:
    module = small.module(text='resource "terraform_data" "a" {}\n')
    assert small.apply_plain(module).code == 0
    filler = fill(small.home)
    ended = small.apply_plain(module)
    assert (ended.code, "defect" in ended.err) == (30, False), ended.err
    filler.unlink()
    assert small.apply_plain(module).code == 0


@needs_small_disk
@pytest.mark.promise("P3")
def test_an_apply_with_too_little_room_for_its_state_is_not_started(small: Desk) -> None:
    module = small.module(text='resource "terraform_data" "a" {}\n')
    (small.home / "filler").write_bytes(b"x" * ((_SIZE_MIB - 12) << 20))
    ended = small.apply_plain(module)
    assert ended.code == 30, ended.err
    assert "too little room" in ended.err
    assert small.history() == []
    (small.home / "filler").unlink()
    assert small.apply_plain(module).code == 0
