"""`errored.tfstate`: the state that a failed run could not save."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.operate.unsaved_state import Fit, find_files, judge_file, put_away
from interlock.run.summary import Summary, write_summary
from interlock.site.own import OwnSite
from interlock.site.which import own_ref
from interlock.testing.clock import START
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P3")


@pytest.mark.parametrize(
    ("body", "fit"),
    [
        (state(2, "a", "b"), Fit.FOLLOWS),
        (state(1, "a"), Fit.STORED),
        (state(1, "b"), Fit.REFUSED),
        (state(2, "a", lineage="two"), Fit.REFUSED),
        (b'{"version": 4', Fit.REFUSED),
    ],
)
async def test_it_may_become_current_only_when_it_follows(tmp_path: Path, body: bytes, fit: Fit) -> None:
    site = OwnSite(own_ref("prod"), memory_home(tmp_path))
    path = tmp_path / "errored.tfstate"
    path.write_bytes(body)
    assert (await judge_file(path, site)).fit in {fit, Fit.FOLLOWS}, "nothing is stored yet, so a whole one may"
    await site.versions.push(state(1, "a"), force=False)
    found = await judge_file(path, site)
    assert (found.fit, bool(found.why)) == (fit, fit is Fit.REFUSED)


async def test_files_of_the_root_module_and_of_runs_are_found_and_put_away_as_a_copy(tmp_path: Path) -> None:
    home = memory_home(tmp_path / "home")
    ref = own_ref("prod", directory=tmp_path)
    for run, name in (("0aaa", "prod"), ("0abb", "other")):
        (home.runs / run).mkdir(parents=True)
        summary = Summary(
            run=run, state=name, operation="apply", who="me", directory="/d", phase="ended", started_at=START
        )
        write_summary(home.runs / run, summary)
        (home.runs / run / "errored.tfstate").write_bytes(state(2, run))
    (tmp_path / "errored.tfstate").write_bytes(state(3, "c"))
    found = find_files(ref, home.runs)
    assert {path.parent for path in found} == {tmp_path, home.runs / "0aaa"}
    leftover = await judge_file(tmp_path / "errored.tfstate", OwnSite(ref, home))
    kept = await put_away(leftover, ref, home)
    assert (kept.read_bytes(), leftover.path.exists()) == (state(3, "c"), False)
