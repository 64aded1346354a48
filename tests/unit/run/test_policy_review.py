"""What policies are told of a plan, however it was read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.errors import PlanStale, PolicyGate
from interlock.home.embedded import EmbeddedHome
from interlock.policy import Policy, join
from interlock.policy.approval import Approval, Decision, Kind, Verdict
from interlock.policy.summary import ACTIONS
from interlock.run.order import Operation, Order
from interlock.run.policy_review import PolicyReview, summary_of
from interlock.run.summary import Summary
from interlock.run.transcript import Journal
from interlock.terraform.events import Action, PlannedChange, Resource
from interlock.terraform.plan import PlanFacts
from interlock.testing.clock import START, FakeClock
from interlock.testing.home import memory_home

ORDER = Order(run="r1", operation=Operation.APPLY, directory="d", state="prod", who="ann", home="h")


def planned(address: str, action: Action, **more: str) -> PlannedChange:
    return PlannedChange(resource=Resource(address=address), action=action, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "module", "kind"),
    [
        ("terraform_data.a", "", "terraform_data"),
        ('module.core.genesyscloud_flow.a["x.y"]', "module.core", "genesyscloud_flow"),
        ('module.a["b.c"].module.d.x.y[0]', 'module.a["b.c"].module.d', "x"),
    ],
)
def test_module_and_type_are_known_from_the_address_alone(address: str, module: str, kind: str) -> None:
    """A saved plan's changes come without them, and a check about them must not pass for that."""
    (found,) = summary_of(PlanFacts(changes=(planned(address, Action.DELETE),)), ORDER, calls=None).resources
    assert (found.module, found.type) == (module, kind)


def test_every_action_is_one_of_the_documented_words() -> None:
    changes = tuple(planned(f"x.a{n}", action, importing="id") for n, action in enumerate(Action))
    summary = summary_of(PlanFacts(changes=changes), ORDER, calls=None)
    assert {one.action for one in summary.resources} <= {*ACTIONS, "other"}
    assert set(summary.counts) == {*ACTIONS, "other"}


class Bench:
    """A run's review in a home in memory; `after` is the review of a later run."""

    def __init__(self, folder: Path) -> None:
        self.home: EmbeddedHome = memory_home(folder)
        self.folder = folder

    def review(self, run: str = "r2", *, ordered: dict[str, Any] | None = None, **said: Any) -> PolicyReview:
        place = self.folder / run
        place.mkdir(parents=True, exist_ok=True)
        order = replace(ORDER, run=run, **(ordered or {}))
        summary = Summary(
            run=run, state="prod", operation="apply", who="ann", directory="d", phase="queued", started_at=START
        )
        return PolicyReview(
            policies=join([Policy(name="production", **said)], "prod"),
            order=order,
            journal=Journal(place, summary, FakeClock(), lambda: None),
            book=self.home.approvals,
            audit=self.home.audit,
            person="ann@host",
            environ={},
        )

    async def approved(self, *by: str) -> None:
        now = self.home.clock.now()
        request = Approval(
            id="r1", kind=Kind.APPLY, state="prod", digest="d", what="apply", asked_by="ann@host", asked_at=now,
            expires_at=now + timedelta(days=7), needed=1, own_approval=True,
        )  # fmt: skip
        await self.home.approvals.ask(request)
        for who in by:
            await self.says("r1", who)

    async def says(self, name: str, who: str) -> None:
        said = Decision(who=who, verdict=Verdict.APPROVE, reason="fine", at=self.home.clock.now())
        await self.home.approvals.decide(name, said)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("by", "said", "missing"),
    [
        (("ben@host",), {"approvals": 2}, True),
        (("ben@host", "cid@host"), {"approvals": 2}, False),
        (("ann@host",), {"approvals": 1}, True),
        (("ann@host",), {"approvals": 1, "own_approval": True}, False),
        (("ben@host",), {"approvals": 1}, False),
    ],
)
async def test_an_approval_must_be_enough_for_the_policies_that_hold_when_it_is_used(
    bench: Bench, by: tuple[str, ...], said: dict[str, Any], missing: bool
) -> None:
    await bench.approved(*by)
    review = bench.review(ordered={"approval": "r1"}, **said)
    if not missing:
        await review.use("r1", "d")
        return
    with pytest.raises(PolicyGate, match="not approved by as many") as refusal:
        await review.use("r1", "d")
    assert refusal.value.fix.startswith("interlock approve r1 --reason")
    assert (await bench.home.approvals.get("r1")).used_by == ""


@pytest.mark.promise("P8")
async def test_what_was_approved_is_applied_also_when_no_policy_asks_any_more_and_nothing_else(bench: Bench) -> None:
    await bench.approved("ben@host")
    review = bench.review(ordered={"approval": "r1"})
    assert review.asks_for_approval
    with pytest.raises(PlanStale):
        await review.use("r1", "another plan")
    await review.use("r1", "d")


@pytest.mark.promise("P8")
async def test_a_command_that_changes_the_state_is_approved_for_one_version_of_it(bench: Bench) -> None:
    ordered = {"operation": Operation.EXEC, "command": ("state", "rm", "x.a")}

    async def tries(run: str, serial: int, **more: Any) -> str:
        review = bench.review(run, ordered={**ordered, **more}, approvals=1)
        try:
            await review.check_command(lineage="l", serial=serial)
        except PolicyGate as error:
            return str(error.facts["approval"])
        return ""

    asked = await tries("r1", 4)
    assert asked == "r1"
    assert await tries("r2", 4) == "r1", "the same question is asked once"
    await bench.says("r1", "ben@host")
    assert await tries("r3", 5) == "r3", "another version is another question"
    assert await tries("r4", 4, command=("state", "rm", "x.b")) == "r4"
    assert await tries("r5", 4) == ""
    assert await tries("r6", 4) == "r6", "it was used"
