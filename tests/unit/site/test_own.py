"""A state of our own backend, opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, StateInvalid
from interlock.run.summary import Seen, Summary, write_summary
from interlock.site.kinds import Can
from interlock.site.opening import open_site
from interlock.site.own import OwnSite
from interlock.site.which import own_ref
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state


@pytest.mark.promise("P3")
async def test_a_state_of_which_a_run_saw_a_newer_one_is_not_planned_against(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    site = OwnSite(own_ref("prod"), home)
    await site.versions.push(state(1, "a"), force=False)
    await site.check_not_lost()
    seen = Seen(lineage="one", serial=7, digest="f" * 64, at=home.clock.now())
    run = home.ids.run(home.clock.now())
    (home.runs / run).mkdir(parents=True)
    summary = Summary(
        run=run,
        state="prod",
        operation="apply",
        who="me@here",
        directory="/d",
        phase="ended",
        started_at=home.clock.now(),
        seen=seen,
    )
    write_summary(home.runs / run, summary)
    with pytest.raises(StateInvalid, match="was lost") as raised:
        await site.check_not_lost()
    assert raised.value.fix == "interlock state verify prod"


async def test_it_can_everything_and_explains_nothing_further(tmp_path: Path) -> None:
    async with open_site(own_ref("prod"), memory_home(tmp_path)) as site:
        assert site.can == set(Can)
        error = BackendUnavailable("the disk is full")
        assert await site.explained(error) is error
        assert (await site.inspect(), site.backend) == ([], None)
