"""From what was seen to what is to be thought of it: drift, noise, a run in flight, or decided already.

Knows: readings of a plan, published versions, causes, noise rules, decisions. Here values are masked, and from here on
nothing is in clear that must not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from interlock.address import parse_address
from interlock.drift.decisions import VERDICTS, Decision, find_decision
from interlock.drift.finding import MASK, Attribute, Cause, Finding, Kind, Verdict, digest_of
from interlock.drift.inventory import Inventory, Managed
from interlock.drift.noise import find_noise
from interlock.drift.reading import Difference, Drifted
from interlock.drift.wording import hcl_assignment, reference_names
from interlock.genesys.spellings import Spelling

VERSION = "(published version)"
"""The path of a flow's content."""
MAX_VALUE_CHARS = 4_000  # of one shown value; what is longer is cut, its digest is of the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the judgement rests on.

    Attributes:
        rules: Noise rules, the user's first.
        decisions: Of the state's ledger.
        salt: Of this scan.
        inventory: Of the state.
    """

    rules: tuple[Spelling, ...] = ()
    decisions: tuple[Decision, ...] = ()
    salt: str
    inventory: Inventory = field(default_factory=Inventory)


def classify(drifted: Iterable[Drifted], terms: Terms) -> list[Finding]:
    """Return the finding for each object that changed or is gone, in the order given; mere moves are none."""
    names = reference_names({key: each.address for key, each in terms.inventory.by_id.items()})
    return [_found(each, terms, names) for each in drifted if each.gone or each.differences]


def judge_flow(flow: Managed, *, ours: str | None, current: str, terms: Terms) -> Finding:
    """Return the finding for a flow whose published version is not the one that is ours.

    Args:
        flow: The flow.
        ours: The version that is ours; None when none was ever noted.
        current: The version that is published.
        terms: See `Terms`.
    """
    attribute = Attribute(path=VERSION, before=ours, after=current, digest=digest_of(current, terms.salt))
    finding = Finding(
        kind=Kind.CONTENT,
        address=flow.address,
        type=flow.type,
        object=flow.id,
        name=flow.name,
        attributes=(attribute,),
        dependents=_dependents(flow.address, terms.inventory),
    )
    return with_decisions(finding, terms.decisions)


def with_decisions(finding: Finding, decisions: Iterable[Decision]) -> Finding:
    """Return a finding whose values are in clear with what was decided about it."""
    made = tuple(decisions)
    attributes = tuple(
        _decided(each, find_decision(made, kind=finding.kind, obj=finding.object, path=each.path, value=each.after))
        for each in finding.attributes
    )
    return replace(finding, attributes=attributes)


def with_cause(finding: Finding, cause: Cause | None, *, began: datetime) -> Finding:
    """Return a finding with who caused it. What our own client did after `began` is a run in flight."""
    in_flight = cause is not None and cause.ours and cause.at >= began
    attributes = tuple(
        replace(each, verdict=Verdict.IN_FLIGHT, reason="a run with the same OAuth client changed it during the scan")
        if in_flight and each.verdict is Verdict.OPEN
        else each
        for each in finding.attributes
    )
    return replace(finding, cause=cause, attributes=attributes)


def judge_difference(difference: Difference, drifted: Drifted, terms: Terms) -> tuple[Verdict, str]:
    """Return what is to be thought of one difference, and why."""
    noise = find_noise(
        terms.rules,
        address=drifted.address,
        kind=drifted.type,
        path=difference.path,
        before=difference.before,
        after=difference.after,
    )
    if noise is not None:
        return Verdict.NOISE, noise
    decision = find_decision(
        terms.decisions, kind=Kind.CHANGED, obj=drifted.object, path=difference.path, value=difference.after
    )
    return (Verdict.OPEN, "") if decision is None else (VERDICTS[decision.choice], decision.told())


def judge_absence(drifted: Drifted, terms: Terms) -> tuple[Verdict, str]:
    """Return what is to be thought of an object that is gone, and why."""
    decision = find_decision(terms.decisions, kind=Kind.GONE, obj=drifted.object, path="", value=None)
    return (Verdict.OPEN, "") if decision is None else (VERDICTS[decision.choice], decision.told())


def _found(drifted: Drifted, terms: Terms, names: Mapping[str, str]) -> Finding:
    if drifted.gone:
        verdict, reason = judge_absence(drifted, terms)
        attributes: tuple[Attribute, ...] = (
            Attribute(path="", digest=digest_of(None, terms.salt), verdict=verdict, reason=reason),
        )
    else:
        attributes = tuple(_attribute(each, drifted, terms, names) for each in drifted.differences)
    return Finding(
        kind=Kind.GONE if drifted.gone else Kind.CHANGED,
        address=drifted.address,
        type=drifted.type,
        object=drifted.object,
        name=drifted.name,
        attributes=attributes,
        dependents=_dependents(drifted.address, terms.inventory),
    )


def _attribute(difference: Difference, drifted: Drifted, terms: Terms, names: Mapping[str, str]) -> Attribute:
    verdict, reason = judge_difference(difference, drifted, terms)
    hidden = difference.sensitive
    return Attribute(
        path=difference.path,
        before=MASK if hidden else _cut(difference.before),
        after=MASK if hidden else _cut(difference.after),
        sensitive=hidden,
        digest=digest_of(difference.after, terms.salt),
        verdict=verdict,
        reason=reason,
        suggestion="" if hidden else _suggestion(difference, names),
    )


def _suggestion(difference: Difference, names: Mapping[str, str]) -> str:
    """Return the assignment of the innermost attribute; a list of objects as nested blocks."""
    steps = [step for step in difference.steps if isinstance(step, str)]
    if not steps:
        return ""
    if difference.after is None:
        return f"# {steps[-1]}: take it out; the organisation has no value"
    return hcl_assignment(steps[-1], difference.after, names, as_blocks=True)[:MAX_VALUE_CHARS]


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else None
    return value if text is None or len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def _decided(attribute: Attribute, decision: Decision | None) -> Attribute:
    if decision is None:
        return attribute
    return replace(attribute, verdict=VERDICTS[decision.choice], reason=decision.told())


def _dependents(address: str, inventory: Inventory) -> int:
    try:
        return inventory.dependents.get(parse_address(address).config(), 0)
    except ValueError:
        return 0
