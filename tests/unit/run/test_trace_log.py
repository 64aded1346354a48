"""Terraform's own log reaches the user without what opens the run's state and its way to the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.run.trace_log import NAME, VARIABLE, TraceLog
from interlock.secrecy import NO_KNOWN_SECRETS, know_secrets

ADDRESS = "http://127.0.0.1:41000/run/s3cr3t-of-a-run/state"
KNOWN = know_secrets(["prefix-of-the-gateway"])


@pytest.fixture
def log(tmp_path: Path) -> TraceLog:
    (tmp_path / "run").mkdir()
    (tmp_path / "module").mkdir()
    return TraceLog(folder=tmp_path / "run", directory=tmp_path / "module")


@pytest.mark.promise("P10")
def test_the_log_goes_to_the_runs_folder_and_comes_out_without_secrets(log: TraceLog, tmp_path: Path) -> None:
    environ = log.redirect({VARIABLE: "terraform.log", "TF_LOG": "trace"})
    own, theirs = Path(environ[VARIABLE]), tmp_path / "module" / "terraform.log"
    assert own == tmp_path / "run" / NAME
    theirs.write_text("of an earlier run\n")
    own.write_text(f"GET {ADDRESS}\nPOST /prefix-of-the-gateway/api\nhalf a line with prefix-of-")
    log.hand_over(KNOWN, ADDRESS)
    assert theirs.read_text() == "of an earlier run\nGET (address)\nPOST /(sensitive)/api\n"
    with own.open("a") as file:
        file.write("the-gateway\n")
    log.hand_over(KNOWN, ADDRESS)
    assert theirs.read_text().endswith("half a line with (sensitive)\n")
    log.clear(KNOWN, ADDRESS)
    assert not own.exists()


@pytest.mark.promise("P10")
def test_what_a_provider_wrote_after_its_command_had_ended_is_handed_over_too(log: TraceLog, tmp_path: Path) -> None:
    own = Path(log.redirect({VARIABLE: "terraform.log"})[VARIABLE])
    own.write_text("a line\n")
    log.hand_over(KNOWN, ADDRESS)
    with own.open("a") as file:
        file.write(f"GET {ADDRESS}\nhalf a line with prefix-of-the-gateway")
    log.clear(KNOWN, ADDRESS)
    shown = "a line\nGET (address)\nhalf a line with (sensitive)"
    assert (tmp_path / "module" / "terraform.log").read_text() == shown
    assert list((tmp_path / "run").iterdir()) == []


def test_without_the_variable_nothing_is_changed(log: TraceLog, tmp_path: Path) -> None:
    assert log.redirect({"TF_LOG": "trace"}) == {"TF_LOG": "trace"}
    log.hand_over(NO_KNOWN_SECRETS, ADDRESS)
    log.clear(NO_KNOWN_SECRETS, ADDRESS)
    assert list((tmp_path / "module").iterdir()) == []


@pytest.mark.promise("P10")
def test_a_log_that_cannot_be_handed_over_is_kept_without_secrets(log: TraceLog, tmp_path: Path) -> None:
    log.redirect({VARIABLE: "no/such/folder/terraform.log"})
    (tmp_path / "run" / NAME).write_text(f"GET {ADDRESS}\nwith prefix-of-the-gateway\n")
    with pytest.raises(OSError, match="No such file"):
        log.hand_over(KNOWN, ADDRESS)
    log.clear(KNOWN, ADDRESS)
    assert (tmp_path / "run" / NAME).read_text() == "GET (address)\nwith (sensitive)\n"
    assert len(list((tmp_path / "run").iterdir())) == 1
