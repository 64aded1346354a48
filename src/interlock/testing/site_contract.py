"""What every `Site` must do, wherever its state is, as a test class to inherit from.

With pytest and pytest-asyncio (`asyncio_mode = "auto"`) installed:

    class TestMySite(SiteContract):
        @pytest.fixture
        async def site(self) -> AsyncIterator[Site]: ...

Its state is empty and free. What a site cannot do it leaves out of `can`; then the suite checks that it refuses.
"""
# ruff: noqa: D102 - a test's name is the sentence it proves
# ruff: noqa: PLR2004 - literal expectations are clearer than named ones

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import InterlockError, LeaseLost, StateInvalid, UsageError
from interlock.lock import Broken, Requested
from interlock.run.order import Operation, Order
from interlock.run.surroundings import Seat
from interlock.site.interface import Site
from interlock.site.kinds import Can
from interlock.site.opening import breaker_of, open_queue, queue_of
from interlock.state import refusing
from interlock.terraform.versions import Product, ToolVersion

COMMAND = re.compile(r"\binterlock [a-z]+(-[a-z]+)*\b")
"""What the next step of an error has in it."""
TOOL = ToolVersion(product=Product.TERRAFORM, release=(1, 11, 4))


def state(serial: int, *names: str, lineage: str = "one") -> bytes:
    """Return a whole state with some resources."""
    document: dict[str, Any] = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": serial,
        "lineage": lineage,
        "outputs": {},
        "resources": [_resource(name) for name in names],
        "check_results": None,
    }
    return json.dumps(document).encode()


def _resource(name: str) -> dict[str, Any]:
    return {
        "mode": "managed",
        "type": "terraform_data",
        "name": name,
        "provider": 'provider["terraform.io/builtin/terraform"]',
        "instances": [{"schema_version": 0, "attributes": {"id": name}, "sensitive_attributes": []}],
    }


def _order(site: Site, run: str) -> Order:
    return Order(
        run=run,
        operation=Operation.APPLY,
        directory="/d",
        state=site.ref.queue,
        who="me@here",
        home=str(site.home.settings.home),
    )


def _serials(versions: Sequence[Any]) -> list[int | None]:
    return [version.serial for version in versions]


class SiteContract:
    """See the module."""

    # -- what is stored ---------------------------------------------------------------------------------------------

    async def test_an_empty_state_has_no_version_and_the_error_names_a_command(self, site: Site) -> None:
        with pytest.raises(UsageError) as raised:
            await site.versions.body(None)
        assert COMMAND.search(raised.value.fix)
        assert list(await site.versions.history(10)) == []
        assert await site.keep() == ""

    @pytest.mark.promise("P3")
    async def test_what_is_pushed_is_current_to_the_byte(self, site: Site) -> None:
        body = state(1, "a")
        told = await site.versions.push(body, force=False)
        assert (told["serial"], told["repeated"]) == (1, False)
        assert await site.versions.body(None) == body
        assert (await site.versions.document(None)).serial == 1

    async def test_the_same_push_again_changes_nothing_and_says_so(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        before = len(await site.versions.history(10))
        assert (await site.versions.push(state(1, "a"), force=False))["repeated"]
        assert len(await site.versions.history(10)) == before

    @pytest.mark.promise("P6")
    @pytest.mark.parametrize("follower", [state(1, "b"), state(3, "a", lineage="two"), b"{", state(3, "a", "a")])
    async def test_what_may_not_follow_is_refused_and_what_is_there_stays(self, site: Site, follower: bytes) -> None:
        await site.versions.push(state(2, "a"), force=False)
        with pytest.raises(InterlockError) as raised:
            await site.versions.push(follower, force=False)
        assert isinstance(raised.value, StateInvalid)
        assert await site.versions.body(None) == state(2, "a")

    async def test_another_lineage_is_stored_when_a_person_insists(self, site: Site) -> None:
        await site.versions.push(state(5, "a"), force=False)
        await site.versions.push(state(6, "b", lineage="two"), force=True)
        assert (await site.versions.document(None)).lineage == "two"

    async def test_a_lower_serial_becomes_current_when_a_person_insists_or_is_refused_unsent(self, site: Site) -> None:
        await site.versions.push(state(5, "a"), force=False)
        lower = state(1, "b", lineage="two")
        if site.backend is None or not site.backend.describe().current_is_highest:
            await site.versions.push(lower, force=True)
            assert await site.versions.body(None) == lower
            return
        with pytest.raises(UsageError) as raised:
            await site.versions.push(lower, force=True)
        assert COMMAND.search(raised.value.fix)
        assert _serials(await site.versions.history(10)) == [5]

    async def test_history_has_the_newest_first_and_no_more_than_asked_for(self, site: Site) -> None:
        for serial in (1, 2, 3):
            await site.versions.push(state(serial, f"r{serial}"), force=False)
        found = await site.versions.history(10)
        assert found[0].serial == 3
        assert {1, 2, 3} <= set(_serials(found)), "what was replaced is kept, by the backend or by us"

    async def test_a_version_is_found_by_its_serial_and_its_digest(self, site: Site) -> None:
        for serial in (1, 2):
            await site.versions.push(state(serial, f"r{serial}"), force=False)
        assert await site.versions.body("serial:1") == state(1, "r1")
        digest = next(one.digest for one in await site.versions.history(10) if one.serial == 1)
        assert await site.versions.body(digest[:12]) == state(1, "r1")
        with pytest.raises(UsageError) as raised:
            await site.versions.body("serial:77")
        assert COMMAND.search(raised.value.fix)

    async def test_two_versions_are_by_default_the_current_one_and_the_one_before(self, site: Site) -> None:
        for serial in (1, 2):
            await site.versions.push(state(serial, f"r{serial}"), force=False)
        older, newer = await site.versions.pair(None, None)
        assert (older.serial, newer.serial) == (1, 2)

    # -- what is wrong with it --------------------------------------------------------------------------------------

    async def test_a_whole_state_has_nothing_that_refuses_it(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        await site.versions.push(state(2, "a", "b"), force=False)
        assert refusing(await site.versions.findings(None)) == ()

    async def test_of_a_whole_state_nothing_is_to_be_repaired_or_accepted(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        planned = await site.versions.plan_repair()
        assert (planned.target, planned.question) == (None, "")
        assert await site.versions.accept() == ()

    async def test_an_older_version_is_restored_above_every_serial_that_was(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        await site.versions.push(state(2, "a", "b"), force=False)
        planned = await site.versions.plan_restore("serial:1")
        assert await site.versions.body(None) == state(2, "a", "b"), "a plan changes nothing"
        assert list(planned.plan.orphans) == ["terraform_data.b"]
        assert await site.versions.restore(planned) == 3
        current = await site.versions.document(None)
        assert (current.serial, current.instance_count()) == (3, 1)

    async def test_what_a_person_made_current_is_in_the_audit_log(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        await site.versions.push(state(2, "b"), force=False)
        await site.versions.restore(await site.versions.plan_restore("serial:1"))
        await site.versions.accept_deletions()
        entries = await site.home.audit.entries(subject=site.ref.address)
        assert [entry.action for entry in entries] == [
            "state-pushed",
            "state-pushed",
            "state-restored",
            "deletions-accepted",
        ]
        assert {entry.by for entry in entries} == {site.home.me}

    @pytest.mark.promise("P5")
    async def test_the_state_is_kept_before_a_lock_is_broken(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        kept = await site.keep()
        assert kept
        if Path(kept).is_absolute():
            assert Path(kept).read_bytes() == state(1, "a")

    # -- locks, queue, runs -----------------------------------------------------------------------------------------

    async def test_a_state_that_nobody_uses_has_no_lock(self, site: Site) -> None:
        assert await site.read_locks() == ()
        await site.versions.push(state(1, "a"), force=False)
        assert await site.read_locks() == (), "what was taken for a push was given back"

    @pytest.mark.parametrize("can", list(Can), ids=lambda can: can.value)
    async def test_what_it_cannot_do_it_refuses_with_a_command_for_what_it_can(self, site: Site, can: Can) -> None:
        if can in site.can:
            site.check(can)
            return
        with pytest.raises(UsageError) as raised:
            site.check(can)
        assert COMMAND.search(raised.value.fix), raised.value.fix
        assert raised.value.why

    async def test_what_only_our_own_backend_has_is_there_or_refused(self, site: Site) -> None:
        if Can.QUARANTINE in site.can:
            assert await site.own.archive.quarantined(site.ref.queue) == ()
            return
        with pytest.raises(UsageError) as raised:
            _ = site.own
        assert COMMAND.search(raised.value.fix)

    async def test_it_has_a_queue_or_none_as_it_says(self, site: Site) -> None:
        if Can.QUEUE not in site.can:
            assert site.coordinator is None
            with pytest.raises(UsageError) as raised:
                async with open_queue(site.ref, site.home):
                    pass
            assert COMMAND.search(raised.value.fix)
            return
        name = site.ref.queue
        await queue_of(site).pause(name, by="me", reason="a test")
        pause = (await queue_of(site).view(name)).lock.pause
        assert pause is not None
        assert pause.reason == "a test"
        async with open_queue(site.ref, site.home) as coordinator:
            assert (await coordinator.view(name)).lock.pause == pause, "everybody comes to the same queue"

    @pytest.mark.promise("P1", "P2")
    async def test_one_holds_at_a_time_and_who_waits_is_served_in_the_order_of_arrival(self, site: Site) -> None:
        if Can.QUEUE not in site.can:
            assert site.coordinator is None
            return
        name, queue = site.ref.queue, queue_of(site)
        for run in ("r1", "r2", "r3"):
            await queue.request(name, Requested(ticket=run, run=run, who="me@here", lease_s=30.0, patience_s=60.0))
        served = []
        for _ in range(3):
            (holder,) = (await queue.view(name)).lock.holders
            served.append(holder.run)
            await queue.release(name, ticket=holder.ticket, token=holder.token)
        assert served == ["r1", "r2", "r3"]

    @pytest.mark.promise("P4")
    async def test_a_run_whose_grant_was_broken_stores_nothing_that_goes_by_us(self, site: Site) -> None:
        if Can.QUEUE not in site.can:
            assert site.coordinator is None
            return
        await site.versions.push(state(1, "a"), force=False)
        name, queue = site.ref.queue, queue_of(site)
        request = Requested(ticket="run7", run="run7", who="me@here", lease_s=30.0, patience_s=15.0)
        grant = await queue.acquire(name, request, timeout_s=5.0)
        async with site.access(_order(site, "run7"), version=lambda: TOOL) as access:
            access.admit(Seat(ticket="run7", token=grant.token))
            await access.enter(lambda _entry: None, timeout_s=5.0)
            await queue.break_(name, Broken(ticket="run7", token=grant.token, by="me", reason="a test"))
            with pytest.raises(LeaseLost):
                await access.push(state(2, "a", "b"), frozenset())
            await access.leave()
        assert await site.versions.body(None) == state(1, "a")

    @pytest.mark.promise("P1", "P3")
    async def test_a_run_works_on_it_and_leaves_it_free(self, site: Site) -> None:
        if Can.QUEUE not in site.can:
            assert site.coordinator is None
            return
        await site.versions.push(state(1, "a"), force=False)
        await site.check_not_lost()
        name, queue = site.ref.queue, queue_of(site)
        request = Requested(ticket="run1", run="run1", who="me@here", lease_s=30.0, patience_s=15.0)
        grant = await queue.acquire(name, request, timeout_s=5.0)
        async with site.access(_order(site, "run1"), version=lambda: TOOL) as access:
            access.admit(Seat(ticket="run1", token=grant.token))
            await access.enter(lambda _entry: None, timeout_s=5.0)
            assert (await access.current()).serial == 1
            assert await access.stored() == state(1, "a")
            pushed = await access.push(state(2, "a", "b"), frozenset())
            await access.leave()
        assert pushed.serial == 2
        assert await site.read_locks() == ()
        assert await site.versions.body(None) == state(2, "a", "b")
        (holder,) = (await queue.view(name)).lock.holders
        assert holder.run == "run1"

    @pytest.mark.promise("P3", "P5")
    async def test_the_lock_of_a_run_without_a_trace_is_recovered_and_nothing_is_lost(self, site: Site) -> None:
        if Can.QUEUE not in site.can:
            assert site.coordinator is None
            return
        await site.versions.push(state(1, "a"), force=False)
        name, queue = site.ref.queue, queue_of(site)
        request = Requested(ticket="run9", run="run9", who="me@here", lease_s=30.0, patience_s=15.0)
        await queue.acquire(name, request, timeout_s=5.0)
        (holder,) = (await queue.view(name)).lock.holders
        assert await breaker_of(site).recover(name, holder, reason="a test") is not None
        assert (await queue.view(name)).lock.holders == ()
        assert await site.versions.body(None) == state(1, "a")
