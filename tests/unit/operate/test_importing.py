from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import PolicyGate, UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.operate.adopting import Relocation
from interlock.operate.importing import plan_transfers, transfer
from interlock.operate.moving import Content
from interlock.policy import Freeze, Policy
from interlock.rights import Right
from interlock.rights.token import Forbidden
from interlock.settings.values import Settings
from interlock.site.moved import arriving_from, check_not_moved, name_of
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
    await transfer(
        plan, *homes, told=lambda each, content: done.update({each.target.queue: content}), broke_off=lambda _: None
    )
    return done


async def test_a_state_is_meant_with_its_workspaces_a_workspace_alone_and_all_when_none_is_named(homes: Homes) -> None:
    assert await names(homes, "prod", "prod") == [("prod", "prod"), ("prod@eu", "prod@eu")]
    assert await names(homes, "prod@eu") == [("prod@eu", "prod@eu")]
    assert await names(homes, "prod", renamed="live") == [("prod", "live"), ("prod@eu", "live@eu")]
    assert [each for each, _ in await names(homes)] == ["dev", "prod", "prod@eu"]


async def test_a_state_is_not_closed_to_wait_for_the_end_of_a_freeze_at_a_server(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbeddedHome, "team_runs", property(lambda home: home is homes[1] or None))
    await homes[1].policies.replace((Policy(name="two", states="dev", freezes=(Freeze(reason="holidays"),)),))
    with pytest.raises(PolicyGate, match="dev is not moved now") as refused:
        await names(homes, "dev")
    assert "holidays" in refused.value.why
    assert await names(homes, "prod@eu")


async def test_nothing_is_closed_where_a_token_may_not_close_or_open_the_other_place(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = homes
    await moved(homes, "dev")
    await moved((there, here), "dev")  # from then on the server has it, with a mark that a runner may not take off

    async def check_may(home: EmbeddedHome, right: Right, state: str) -> None:
        if home is there and right is Right.FREEZE:
            raise Forbidden(f"a runner may not freeze {state}", fix="")

    monkeypatch.setattr(EmbeddedHome, "check_may", check_may)
    began: list[Relocation] = []
    for history, name in ((False, "dev"), (True, "prod")):
        plan = await plan_transfers([name], *homes, {})
        with pytest.raises(Forbidden):
            await transfer(plan, *homes, told=lambda *_: None, broke_off=began.append, history=history)
        check_not_moved(await here.coordinator.view(name), own_ref(name))
    assert not began
    plan = await plan_transfers(["prod@eu"], *homes, {})
    await transfer(plan, *homes, told=lambda *_: None, broke_off=began.append, history=False)


async def test_a_move_with_its_history_that_broke_off_is_finished_without_it(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = homes
    await OwnSite(own_ref("dev"), here).versions.push(state(2, "a", "b", lineage="dev"), force=False)
    with monkeypatch.context() as broken:
        broken.setattr("interlock.site.arriving._must_force", _breaks)
        with pytest.raises(ConnectionError):
            await moved(homes, "dev")
    await there.coordinator.pause("dev", by="r", reason=arriving_from(_named(homes, "dev")))
    plan = await plan_transfers(["dev"], *homes, {})
    await transfer(plan, *homes, told=lambda *_: None, broke_off=lambda _: None, history=False)
    assert [each.number for each in await there.archive.history("dev")] == [1]
    assert (await there.coordinator.view("dev")).lock.pause is None


def _named(homes: Homes, name: str) -> str:
    return name_of(*(OwnSite(own_ref(name), home) for home in homes))


def _breaks(*_: object) -> bool:
    raise ConnectionError


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


async def test_another_name_of_another_workspace_is_refused_and_that_of_its_own_is_taken(homes: Homes) -> None:
    for word, name in (("prod", "live@eu"), ("prod@eu", "live@us")):
        with pytest.raises(UsageError, match="names the workspace"):
            await names(homes, word, renamed=name)
    assert await names(homes, "prod@eu", renamed="live@eu") == [("prod@eu", "live@eu")]


async def test_a_state_is_not_moved_to_the_store_where_it_is(homes: Homes, tmp_path: Path) -> None:
    here = homes[0]
    same = EmbeddedHome(
        Settings(home=tmp_path / "server"), here.store, here.coordinator, clock=here.clock, ids=here.ids
    )
    with pytest.raises(UsageError, match="are one store"):
        await moved((here, same), "dev")
    assert (await here.coordinator.view("dev")).lock.pause is None


async def test_who_comes_second_with_the_same_move_says_that_another_command_made_it(homes: Homes) -> None:
    plan = await plan_transfers(["dev"], *homes, {})
    said: list[Content] = []
    for _ in range(2):
        await transfer(plan, *homes, told=lambda _each, content: said.append(content), broke_off=lambda _: None)
    assert [(each.before, each.brought is None) for each in said] == [(False, False), (True, True)]


async def test_two_empty_states_of_one_name_are_two_states_and_neither_is_closed(homes: Homes) -> None:
    here, there = homes
    for home, lineage in ((here, "ours"), (there, "theirs")):
        await OwnSite(own_ref("gone"), home).versions.push(state(1, lineage=lineage), force=False)
    with pytest.raises(UsageError, match="has content already"):
        await moved(homes, "gone")
    assert (await here.coordinator.view("gone")).lock.pause is None
