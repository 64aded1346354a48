from __future__ import annotations

import hashlib
from pathlib import Path

from interlock.run.summary import Summary, write_summary
from interlock.site.traces import find_traces
from interlock.testing.clock import START


def run(runs: Path, name: str, directory: Path, *, serial: int | None = None) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    summary = Summary(
        run=name, state="s", operation="apply", who="a@b", directory=str(directory), phase="ended", started_at=START
    )
    summary.serial = serial
    write_summary(folder, summary)
    return folder


def test_files_are_named_and_the_one_with_the_digest_comes_first(tmp_path: Path) -> None:
    module, runs = tmp_path / "module", tmp_path / "runs"
    module.mkdir()
    (module / "errored.tfstate").write_bytes(b"another")
    kept = run(runs, "r1", module) / "before.tfstate"
    kept.write_bytes(b"lost")
    (run(runs, "r2", tmp_path / "elsewhere") / "errored.tfstate").write_bytes(b"lost")
    digest = hashlib.md5(b"lost", usedforsecurity=False).hexdigest()
    found = find_traces(digest, directory=module, runs=runs, serial=3)
    assert [(trace.path, trace.is_it) for trace in found] == [(kept, True), (module / "errored.tfstate", False)]
    assert "exactly the lost state" in found[0].text


def test_an_empty_file_is_no_trace_and_a_run_that_stored_more_is_one(tmp_path: Path) -> None:
    module, runs = tmp_path / "module", tmp_path / "runs"
    module.mkdir()
    (module / "errored.tfstate").touch()
    run(runs, "r1", module, serial=3)
    assert find_traces("", directory=module, runs=runs, serial=3) == ()
    run(runs, "r2", module, serial=4)
    (trace,) = find_traces("", directory=module, runs=runs, serial=3)
    assert "run r2 left serial 4" in trace.text
