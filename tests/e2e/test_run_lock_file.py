"""The record of a run can be stale; the kernel's lock on the run's file cannot. Real processes on both stores."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk, Started
from tests.s3_desk import BOTH, S3Desk

from interlock.run.summary import Summary, find_summary, write_summary
from interlock.testing.aws import local_aws

pytestmark = pytest.mark.e2e

WORK = """
variable "round" { type = number }

resource "terraform_data" "work" {
  triggers_replace = [var.round]
  provisioner "local-exec" {
    command = <<-EOT
      echo begin ${var.round} >> FOLDER/log
      n=0; until [ -e FOLDER/go${var.round} ] || [ $n = 600 ]; do n=$((n+1)); sleep 0.1; done
      echo end ${var.round} >> FOLDER/log
    EOT
  }
}
"""
"""Each round is on its way until a file `go` of its number appears."""


@pytest.fixture
def s3_desk(tmp_path: Path) -> Iterator[S3Desk]:
    with local_aws() as aws:
        made = S3Desk(tmp_path, aws, lease=("1.2s", "0.3s"))
        yield made
        made.close()


def forget_terraform(desk: Desk, summary: Summary) -> None:
    """Leave the record as it is when the supervisor dies between starting Terraform and writing down its pid."""
    folder = desk.home / "runs" / summary.run
    stale = find_summary(folder)
    assert stale is not None
    stale.processes.pop("terraform")
    write_summary(folder, stale)


def check_that_nobody_comes_in_between(desk: Desk, module: Path, *words: str) -> None:
    def apply(round_: int) -> Started:
        return desk.start("apply", module, "--auto-approve", *words, "--", f"-var=round={round_}")

    log = desk.folder / "log"
    (desk.folder / "go2").touch()
    killed = apply(1)
    summary = desk.until_working()
    desk.until(lambda: log.exists() or None, "the provisioner's first word")
    os.kill(summary.processes["supervisor"].pid, signal.SIGSTOP)  # else it hears of the front end's end and stops
    killed.signal(signal.SIGKILL)
    killed.wait()
    desk.stop_supervisor(summary)
    forget_terraform(desk, summary)
    following = apply(2)
    waiter = desk.until_waiting()[0]

    def verdicts() -> list[str]:
        return [str(entry.facts.get("verdict")) for entry in desk.journal(waiter, "recovery")]

    assert desk.until(verdicts, "a verdict") == ["alive"]
    (desk.folder / "go1").touch()
    ended = following.wait()
    assert ended.code == 0, ended.err
    assert log.read_text().split() == ["begin", "1", "end", "1", "begin", "2", "end", "2"]
    assert list(dict.fromkeys(verdicts())) == ["alive", "gone", "broken"]  # alive again when it is asked to stop


@pytest.mark.promise("P1")
@pytest.mark.promise("P5")
def test_a_terraform_whose_pid_was_never_written_down_is_not_judged_gone(desk: Desk) -> None:
    module = desk.module(text=WORK.replace("FOLDER", str(desk.folder)))
    check_that_nobody_comes_in_between(desk, module, "--state", "s")


@pytest.mark.slow
@pytest.mark.promise("P1")
@pytest.mark.promise("P5")
def test_a_terraform_whose_pid_was_never_written_down_is_not_judged_gone_on_s3(s3_desk: S3Desk) -> None:
    module = s3_desk.root(BOTH, text=WORK.replace("FOLDER", str(s3_desk.folder)))
    check_that_nobody_comes_in_between(s3_desk, module)
