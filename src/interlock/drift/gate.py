"""Whether an apply may revert what changed outside Terraform: only where somebody decided `revert` for exactly that.

Knows: the plan, published versions of flows, decisions. An accepted value may not be reverted either: whoever accepted
it said that it stays, and the configuration has not followed yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from interlock.drift.classify import VERSION, Terms, judge_absence, judge_difference
from interlock.drift.decisions import find_decision
from interlock.drift.finding import Kind, Verdict, choices
from interlock.drift.reading import Difference, Drifted, Planned, ReadPlan
from interlock.errors import DriftGate, command

FLOW = "genesyscloud_flow"
_NAMED = 5  # refused attributes that are named; the rest is counted
_PASSES = frozenset({Verdict.REVERT, Verdict.NOISE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One attribute that the plan would revert without leave. `accepted`: somebody decided that it stays."""

    address: str
    path: str
    accepted: bool = False

    def told(self) -> str:
        """Return it for people."""
        what = f"{self.address} {self.path}".rstrip() if self.path else f"{self.address} (gone)"
        return f"{what}, which was accepted" if self.accepted else what


def planned_flows(plan: ReadPlan) -> dict[str, Planned]:
    """Return the flows that the plan would publish or delete, by id; the provider does not see what is in them."""
    return {each.object: each for each in plan.planned.values() if each.type == FLOW and each.object}


def judge_plan(
    plan: ReadPlan, terms: Terms, *, ours: Mapping[str, str], published: Mapping[str, str]
) -> tuple[Refused, ...]:
    """Return what the plan would revert without leave.

    Args:
        plan: The plan of an apply.
        terms: Rules and decisions.
        ours: Flow id to the published version that is ours.
        published: Flow id to the version that is published now, for the planned flows.
    """
    reverted = [refused for drifted in plan.drifted for refused in _reverted(drifted, plan, terms)]
    return (*reverted, *_overwritten(planned_flows(plan), terms, ours, published))


def check_plan(refused: Iterable[Refused], *, state: str) -> None:
    """Refuse a plan that reverts unreviewed drift.

    Raises:
        DriftGate: It does; the attributes are named.
    """
    found = list(refused)
    if not found:
        return
    rest = len(found) - _NAMED
    listed = "; ".join(each.told() for each in found[:_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
    undecided = [each for each in found if not each.accepted]
    first = (undecided or found)[0].address
    fix = (
        f"{command('drift', '--state', state)}    then: {choices(first, state)}"
        if undecided
        else f"change the configuration, or {command('drift', 'revert', first, '--state', state)}"
    )
    raise DriftGate(
        f"the apply would revert drift of state {state} that nobody has reviewed"
        if undecided
        else f"the apply would revert accepted drift of state {state}",
        why=listed,
        fix=fix,
        attributes=[{"address": each.address, "path": each.path, "accepted": each.accepted} for each in found],
    )


def _reverted(drifted: Drifted, plan: ReadPlan, terms: Terms) -> Iterator[Refused]:
    planned = plan.planned.get(drifted.address)
    if planned is None:
        return
    if drifted.gone:
        verdict, _ = judge_absence(drifted, terms)
        if "create" in planned.actions and verdict not in _PASSES:
            yield Refused(address=drifted.address, path="", accepted=verdict is Verdict.ACCEPTED)
        return
    for difference in drifted.differences:
        yield from _refused(difference, drifted, planned, terms)


def _refused(difference: Difference, drifted: Drifted, planned: Planned, terms: Terms) -> Iterator[Refused]:
    if planned.actions == {"forget"} or not planned.overwrites(difference):
        return
    verdict, _ = judge_difference(difference, drifted, terms)
    if verdict not in _PASSES:
        yield Refused(address=drifted.address, path=difference.path, accepted=verdict is Verdict.ACCEPTED)


def _overwritten(
    flows: Mapping[str, Planned], terms: Terms, ours: Mapping[str, str], published: Mapping[str, str]
) -> Iterator[Refused]:
    for identifier, planned in flows.items():
        current = published.get(identifier)
        if current is None or identifier not in ours or ours[identifier] == current or planned.actions == {"forget"}:
            continue
        decision = find_decision(terms.decisions, kind=Kind.CONTENT, obj=identifier, path=VERSION, value=current)
        if decision is None or decision.choice.value != "revert":
            yield Refused(address=planned.address, path=VERSION)
