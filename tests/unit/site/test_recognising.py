from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interlock.existing import TerraformLock, find_reference, lock_id_of
from interlock.run.summary import Summary, write_summary
from interlock.site.recognising import recognised
from interlock.testing.clock import FakeClock

RUN = "1m8npj9nh42pyyye"


def test_a_lock_of_which_only_the_id_was_kept_is_known_as_that_of_a_run_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / RUN
    folder.mkdir()
    summary = Summary(
        run=RUN,
        state="s",
        operation="apply",
        who="me",
        directory="/d",
        phase="applying",
        started_at=FakeClock().now(),
        processes={},
        starting="",
        job="https://ci.example/1",
    )
    write_summary(folder, summary)
    lock = TerraformLock(id=lock_id_of(RUN), mechanism="gitlab")
    (ours,) = recognised((lock,), tmp_path)
    reference = find_reference(ours.info)
    assert reference is not None
    assert (reference.run, reference.job) == (RUN, "https://ci.example/1")
    other = replace(lock, id="11111111-2222-3333-4444-555555555555")
    assert recognised((other,), tmp_path) == (other,)
