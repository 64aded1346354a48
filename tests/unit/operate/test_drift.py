"""Decisions about what the last scan found."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.drift import Choice, Ruling, Scan
from interlock.drift.finding import Attribute, Finding, Kind, digest_of
from interlock.errors import UsageError
from interlock.operate.drift import find_drift
from interlock.settings.values import Settings, StateSettings
from interlock.testing.home import memory_home

QUEUE = "genesyscloud_routing_queue.orders"


async def test_what_is_decided_about_a_finding_is_there_at_the_next_look(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    drift = await find_drift(tmp_path, "prod", home, {})
    with pytest.raises(UsageError, match="was never scanned"):
        await drift.scan()
    now = home.clock.now()
    changed = Attribute(path="description", before="a", after="b", digest=digest_of("b", "s"))
    finding = Finding(
        kind=Kind.CHANGED, address=QUEUE, type="genesyscloud_routing_queue", object="q-1", attributes=(changed,)
    )
    await drift.book.keep(Scan(state="prod", run="r1", at=now, salt="s", findings=(finding,)), lambda ledger: ledger)
    assert len((await drift.scan()).open) == 1
    ruling = Ruling(choice=Choice.ACCEPT, who="ann", at=now, reason="meant")
    (chosen,) = await drift.decide((QUEUE,), ruling)
    assert chosen.address == QUEUE
    assert (await drift.scan()).open == ()


async def test_the_root_module_of_a_named_state_is_the_one_that_interlock_yaml_says(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    module = tmp_path / "modules" / "prod"
    assert (await find_drift(tmp_path, "prod", home, {})).directory == tmp_path
    home.settings = Settings(home=tmp_path, states={"other": StateSettings(directory=module)})
    module.mkdir(parents=True)
    (module / "main.tf").write_text("")
    assert (await find_drift(tmp_path, "other", home, {})).directory == module
