from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.operate.importing import plan_transfers, transfer
from interlock.operate.moving import Content
from interlock.site.moved import check_not_moved
from interlock.site.own import OwnSite
from interlock.site.which import own_ref
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P3", "P11")
Homes = tuple[EmbeddedHome, EmbeddedHome]


@pytest.fixture
async def homes(tmp_path: Path) -> Homes:
    here, there = memory_home(tmp_path / "here"), memory_home(tmp_path / "there")
    for name in ("prod", "prod@eu", "dev"):
        await OwnSite(own_ref(name), here).versions.push(state(1, "a", lineage=name), force=False)
    return here, there


async def names(homes: Homes, *words: str, renamed: str | None = None) -> list[tuple[str, str]]:
    plan = await plan_transfers(words, *homes, {}, renamed=renamed)
    return [(each.source.queue, each.target.queue) for each in plan.states]


async def moved(homes: Homes, *words: str, renamed: str | None = None) -> dict[str, Content]:
    done: dict[str, Content] = {}
    plan = await plan_transfers(words, *homes, {}, renamed=renamed)
    await transfer(plan, *homes, told=lambda each, content: done.update({each.target.queue: content}))
    return done


async def test_a_state_is_meant_with_its_workspaces_a_workspace_alone_and_all_when_none_is_named(homes: Homes) -> None:
    assert await names(homes, "prod", "prod") == [("prod", "prod"), ("prod@eu", "prod@eu")]
    assert await names(homes, "prod@eu") == [("prod@eu", "prod@eu")]
    assert await names(homes, "prod", renamed="live") == [("prod", "live"), ("prod@eu", "live@eu")]
    assert [each for each, _ in await names(homes)] == ["dev", "prod", "prod@eu"]


async def test_what_is_not_there_and_a_name_for_several_are_refused(homes: Homes) -> None:
    with pytest.raises(UsageError, match="nothing is stored as nope") as refused:
        await names(homes, "nope")
    assert "dev, prod" in refused.value.why
    for words in ((), ("prod", "dev")):
        with pytest.raises(UsageError, match="another name"):
            await names(homes, *words, renamed="live")


async def test_what_has_left_under_another_name_is_brought_back_by_the_printed_command_and_stands_in_no_ones_way(
    homes: Homes,
) -> None:
    here, there = homes
    await OwnSite(own_ref("dev"), there).versions.push(state(1, "b", lineage="theirs"), force=False)
    with pytest.raises(UsageError, match="has content already"):
        await moved(homes)
    assert list(await moved(homes, "dev", renamed="dev-2")) == ["dev-2"]
    assert list(await moved(homes)) == ["prod", "prod@eu"]
    with pytest.raises(UsageError) as refused:
        check_not_moved(await here.coordinator.view("dev"), own_ref("dev"))
    assert refused.value.fix.startswith("interlock state import dev-2 --as dev ")
    assert list(await moved((there, here), "dev-2", renamed="dev")) == ["dev"]
    check_not_moved(await here.coordinator.view("dev"), own_ref("dev"))
    with pytest.raises(UsageError, match="no state is in"):
        await names((memory_home(Path("/nowhere")), there))
