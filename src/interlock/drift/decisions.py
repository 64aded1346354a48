"""What people decided about drift, and what is remembered of a state besides.

A decision names one attribute of one object and one new value, by digest: when the value changes again, it no longer
holds. Knows: findings. Knows nothing of where a ledger is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from interlock.drift.finding import Attribute, Finding, Kind, Scan, Verdict, digest_of
from interlock.errors import BackendUnavailable, UsageError, command, reason_of
from interlock.instants import spelled

SCHEMA = 1
MAX_DECISIONS = 1000
"""Decisions of one state; more drift than this is not decided attribute by attribute."""
MAX_FLOWS = 2000
"""Flows whose published versions are remembered for one state."""
MAX_REASON = 500


class Choice(Enum):
    """The ways to decide."""

    ACCEPT = "accept"
    """The new value stays; the configuration is to follow. An unmanaged object stays unmanaged."""
    REVERT = "revert"
    """The next apply may put the configured value back."""
    IMPORT = "import"
    """The unmanaged object is to come under management."""


VERDICTS = {Choice.ACCEPT: Verdict.ACCEPTED, Choice.REVERT: Verdict.REVERT, Choice.IMPORT: Verdict.IMPORT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision.

    Attributes:
        object: Id of the object in the organisation.
        path: The attribute; empty for the whole object.
        digest: Of the value that was decided about, under `salt`.
        who: Who decided.
        reason: In their words; empty for none.
    """

    choice: Choice
    kind: Kind
    address: str
    object: str
    path: str
    digest: str
    salt: str = field(repr=False)
    who: str
    at: datetime
    reason: str = ""

    def is_about(self, *, kind: Kind, obj: str, path: str, value: Any) -> bool:
        """Say whether this decides about exactly this object, attribute and new value."""
        same_place = (self.kind, self.object, self.path) == (kind, obj, path)
        return same_place and digest_of(value, self.salt) == self.digest

    def told(self) -> str:
        """Return who decided and when, for people."""
        because = f": {self.reason}" if self.reason else ""
        return f"{self.choice.value} by {self.who}, {spelled(self.at)}{because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanMark:
    """Where the last scan is kept."""

    blob: str
    run: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is remembered of one state.

    Attributes:
        scan: The last scan; None before the first.
        decisions: In order of time.
        flows: Flow id to the published version that is ours: the last that a run published, or somebody accepted.
    """

    schema: int = SCHEMA
    scan: ScanMark | None = None
    decisions: tuple[Decision, ...] = ()
    flows: Mapping[str, str] = field(default_factory=dict)


def find_decision(decisions: Iterable[Decision], *, kind: Kind, obj: str, path: str, value: object) -> Decision | None:
    """Return the newest decision about exactly this object, attribute and new value."""
    found = [each for each in decisions if each.is_about(kind=kind, obj=obj, path=path, value=value)]
    return found[-1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a person says.

    Attributes:
        paths: Only these attributes; empty for all.
        who: Who decides.
        at: Aware UTC instant.
        reason: In their words.
    """

    choice: Choice
    paths: frozenset[str] = frozenset()
    who: str
    at: datetime
    reason: str = ""


def decide(ledger: Ledger, finding: Finding, ruling: Ruling, *, salt: str) -> Ledger:
    """Return the ledger with one decision for each attribute of a finding that is not noise.

    Args:
        ledger: As it is.
        finding: Of the last scan.
        ruling: What was decided.
        salt: Of that scan.

    Raises:
        UsageError: The choice does not fit, no attribute has such a path, or there are too many decisions.
    """
    choice, paths = ruling.choice, ruling.paths
    _check_choice(finding, choice)
    chosen = [each for each in finding.shown if not paths or each.path in paths]
    if not chosen or paths - {each.path for each in chosen}:
        have = ", ".join(each.path or "(the whole object)" for each in finding.shown)
        raise UsageError(
            f"{finding.address} has no such drifted attribute", why=f"it has {have}", fix="interlock drift ls"
        )
    fresh = [
        Decision(
            choice=choice,
            kind=finding.kind,
            address=finding.address,
            object=finding.object,
            path=each.path,
            digest=each.digest,
            salt=salt,
            who=ruling.who,
            at=ruling.at,
            reason=ruling.reason[:MAX_REASON],
        )
        for each in chosen
    ]
    places = {(each.kind, each.object, each.path) for each in fresh}
    kept = [each for each in ledger.decisions if (each.kind, each.object, each.path) not in places]
    if len(kept) + len(fresh) > MAX_DECISIONS:
        raise UsageError(
            f"there are more than {MAX_DECISIONS} decisions about this state",
            fix="interlock drift    forgets the settled ones",
        )
    decided = replace(ledger, decisions=(*kept, *fresh))
    return _with_flow(decided, finding, chosen) if choice is Choice.ACCEPT else decided


def find_meant(scan: Scan, words: Iterable[str], choice: Choice) -> list[Finding]:
    """Return the findings that a person means.

    Args:
        scan: The last one.
        words: Addresses, ids or names of objects; none for everything open to which the choice can apply.
        choice: What is to be decided about them.

    Raises:
        UsageError: A word means nothing, or there is nothing to decide.
    """
    wanted = list(dict.fromkeys(words))
    if not wanted:
        fitting = [each for each in scan.open if (each.kind is Kind.UNMANAGED) == (choice is Choice.IMPORT)]
        if not fitting:
            raise UsageError(f"nothing of state {scan.state} is open to {choice.value}", fix="interlock drift ls")
        return fitting
    found: list[Finding] = []
    for word in wanted:
        meant = [each for each in scan.findings if each.shown and word in (each.address, each.object, each.name)]
        if not meant:
            raise UsageError(
                f"the last scan found nothing at {word}", fix=command("drift", "ls", "--state", scan.state)
            )
        found += [each for each in meant if each not in found]
    return found


def with_ledger(scan: Scan, ledger: Ledger) -> Scan:
    """Return a stored scan with the decisions that were made about it since."""
    made = {
        (each.kind, each.object, each.path, each.digest): each for each in ledger.decisions if each.salt == scan.salt
    }

    def judged(finding: Finding, attribute: Attribute) -> Attribute:
        decision = made.get((finding.kind, finding.object, attribute.path, attribute.digest))
        if decision is None or attribute.verdict is Verdict.NOISE:
            return attribute
        return replace(attribute, verdict=VERDICTS[decision.choice], reason=decision.told())

    findings = tuple(
        replace(finding, attributes=tuple(judged(finding, each) for each in finding.attributes))
        for finding in scan.findings
    )
    return replace(scan, findings=findings)


def settle(ledger: Ledger, findings: Iterable[Finding], *, was_seen: Callable[[Decision], bool]) -> Ledger:
    """Forget the decisions about what is no longer there: reverted, taken over, or changed again.

    Args:
        ledger: As it is.
        findings: Of a scan that was classified with the decisions of this ledger.
        was_seen: Says whether the scan looked at what a decision is about; what it did not look at stays.
    """
    current = {(each.kind, each.object, part.path) for each in findings for part in each.attributes if part.reason}
    kept = [each for each in ledger.decisions if (each.kind, each.object, each.path) in current or not was_seen(each)]
    return replace(ledger, decisions=tuple(kept))


def with_flows(ledger: Ledger, versions: Mapping[str, str]) -> Ledger:
    """Return the ledger with these published versions as ours; the oldest entries make room."""
    flows = {**{key: value for key, value in ledger.flows.items() if key not in versions}, **versions}
    return replace(ledger, flows=dict(list(flows.items())[-MAX_FLOWS:]))


def encode_ledger(ledger: Ledger) -> bytes:
    """Return a ledger in its stored form."""
    return msgspec.json.encode(ledger)


def decode_ledger(stored: bytes) -> Ledger:
    """Read a stored ledger.

    Raises:
        BackendUnavailable: It is none. Unreadable is not empty: decisions gate applies.
        UsageError: A newer Interlock wrote it.
    """
    try:
        ledger = msgspec.json.decode(stored, type=Ledger)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackendUnavailable(
            "the decisions about drift cannot be read", why=reason_of(error), fix="interlock doctor"
        ) from error
    if ledger.schema > SCHEMA:
        raise UsageError("a newer Interlock wrote the decisions about drift", fix="upgrade Interlock")
    return ledger


def _check_choice(finding: Finding, choice: Choice) -> None:
    if finding.kind is Kind.UNMANAGED and choice is Choice.REVERT:
        raise UsageError(
            f"{finding.name or finding.object} is not Interlock's to delete",
            why="no configuration ever made it",
            fix=f"{command('drift', 'import', finding.object)}    then apply, then remove its block and apply again",
        )
    if finding.kind is not Kind.UNMANAGED and choice is Choice.IMPORT:
        raise UsageError(
            f"{finding.address} is managed already",
            why="only what exists in the organisation alone can be imported",
            fix=f"{command('drift', 'accept', finding.address)}    or: {command('drift', 'revert', finding.address)}",
        )


def _with_flow(ledger: Ledger, finding: Finding, chosen: list[Attribute]) -> Ledger:
    """An accepted published version is ours from now on."""
    if finding.kind is not Kind.CONTENT:
        return ledger
    return with_flows(ledger, {finding.object: str(chosen[0].after)})
