"""From a reference to an open state, and what is remembered of it (promise P11)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.existing import Found
from interlock.site.existing import ExistingSite
from interlock.site.opening import breaker_of, known_of, open_meant, open_queue, open_site, plan_hint, remember
from interlock.site.own import OwnSite
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.testing.home import memory_home

pytestmark = pytest.mark.promise("P11")


def local(folder: Path) -> StateRef:
    path = folder / "app.tfstate"
    where = Existing(found=Found(type="local", settings={"path": str(path)}))
    return StateRef(queue="local/app", address=str(path), where=where, directory=folder)


async def test_a_state_of_ours_and_one_elsewhere_are_opened_alike(tmp_path: Path) -> None:
    home = memory_home(tmp_path / "home")
    async with open_site(own_ref("prod"), home) as own, open_site(local(tmp_path), home, "./app") as other:
        assert isinstance(own, OwnSite)
        assert isinstance(other, ExistingSite)
        assert (own.kind, other.kind, other.subject) == ("interlock", "local", "./app")
        recovery = breaker_of(own)
    assert (recovery.by, recovery.coordinator) == (home.me, home.coordinator)


async def test_what_a_person_names_is_opened(tmp_path: Path) -> None:
    async with open_meant("prod/app", memory_home(tmp_path), {}) as site:
        assert site.ref == own_ref("prod/app")


async def test_a_queue_that_cannot_be_is_refused_before_the_backend_is_opened(tmp_path: Path) -> None:
    unknown = StateRef(queue="q", address="a", where=Existing(found=Found(type="cos")), directory=tmp_path)
    with pytest.raises(UsageError, match="has no queue"):
        async with open_queue(unknown, memory_home(tmp_path)):
            pass


async def test_the_next_plan_is_typed_where_the_state_was_used_last(tmp_path: Path) -> None:
    home = memory_home(tmp_path / "home")
    assert "in the folder of its root module" in await plan_hint(own_ref("prod"), home)
    await remember(own_ref("prod", directory=tmp_path), home)
    assert await plan_hint(own_ref("prod"), home) == f"interlock plan {tmp_path} --state prod"
    assert await plan_hint(local(tmp_path), home) == f"interlock plan {tmp_path}"
    where = Existing(found=Found(type="local"), refusal=UsageError("runs cannot use it"))
    refused = replace(local(tmp_path), where=where)
    assert await plan_hint(refused, home) == f"terraform -chdir={tmp_path} plan"


def test_what_is_remembered_of_a_state_elsewhere_leads_back_to_it(tmp_path: Path) -> None:
    known = known_of(local(tmp_path), memory_home(tmp_path))
    assert (known.type, known.queue, known.folders) == ("local", "local/app", (str(tmp_path),))
