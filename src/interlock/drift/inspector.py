"""One run's look at drift: scans under the run's lock and through its gateway, or holds its apply back. A hand.

What cannot be looked at is a note in the report, never a failure of the run: an audit log that may not be read must
not hide that a queue is gone. The gate is the other way round: what it cannot look at, it does not let pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from interlock.amounts import amount
from interlock.clock import Clock
from interlock.drift import audit, unmanaged
from interlock.drift.classify import Terms, classify, judge_flow, with_cause, with_decisions
from interlock.drift.decisions import Decision, Ledger, settle, with_flows
from interlock.drift.finding import Finding, Kind, Scan, Verdict
from interlock.drift.gate import check_plan, judge_plan, planned_flows
from interlock.drift.inventory import read_inventory
from interlock.drift.ledger import LedgerBook
from interlock.drift.organisation import Organisation
from interlock.drift.reading import read_plan
from interlock.drift.unmanaged import LeftBehind, Listed, Look
from interlock.drift.wording import reference_names
from interlock.errors import DriftGate, InterlockError
from interlock.genesys.listings import Listing, find_listing
from interlock.genesys.spellings import Spelling
from interlock.hcl.spelling import import_block
from interlock.ids import Ids
from interlock.state import EncryptedDocument, parse_state

MAX_FLOWS = 500
"""Flows whose published version one scan compares: one call each."""
MAX_GENERATED = 200
"""Objects for which Terraform generates configuration: some calls each, and its flags name every one."""
_DIVISIONS = "genesyscloud_auth_division"

Generate: TypeAlias = Callable[[str, tuple[str, ...]], Awaitable[tuple[str, bytes, str]]]
"""(import blocks, their addresses) -> generated file, JSON of the plan, and why it failed; empty where it did not."""
OpenOrganisation: TypeAlias = Callable[[], AbstractAsyncContextManager[Organisation | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Which run looks, by which rules, what it knows of runs, and what those left behind.

    `times` returns when runs could change the organisation, and since when such runs are known.
    """

    state: str
    run: str
    rules: tuple[Spelling, ...]
    look: Look = field(default_factory=Look)
    times: Callable[[], tuple[Sequence[audit.UnderWay], datetime | None]] = lambda: ((), None)
    left_behind: tuple[LeftBehind, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Work:
    """A scan that is being made."""

    ledger: Ledger
    terms: Terms
    began: datetime
    since: datetime | None
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    flows_seen: bool = False
    listed_wholly: frozenset[str] = frozenset()
    fresh_flows: dict[str, str] = field(default_factory=dict)
    elsewhere: int = 0
    times: Sequence[audit.UnderWay] = ()
    known_since: datetime | None = None


class Inspector:
    """See the module.

    Args:
        subject: Which run looks.
        book: Where decisions and scans are.
        states: Yields the other states of the store: name and body.
        written_at: Says when the run's own state was last written; None when that is not known.
        organisation: Opens the way to the organisation; gives None where there is none.
        clock: Time.
        ids: For salts.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        book: LedgerBook,
        states: Callable[[], AsyncIterator[tuple[str, bytes]]],
        written_at: Callable[[], Awaitable[datetime | None]],
        organisation: OpenOrganisation,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._subject = subject
        self._book = book
        self._states = states
        self._written_at = written_at
        self._organisation = organisation
        self._clock = clock
        self._ids = ids

    async def scan(self, shown: bytes, generate: Generate) -> Mapping[str, object]:
        """Look at everything, keep the result as the state's last scan, and return its counts and headline.

        Args:
            shown: The JSON of a refresh-only plan.
            generate: Lets Terraform write configuration.
        """
        work = await self._begin(shown)
        self._add_left_behind(work)
        async with self._organisation() as organisation:
            if organisation is None:
                work.notes.append("the organisation was not asked: the run has no gateway, so nobody can be named")
            else:
                await self._ask(organisation, work, generate)
        scan = self._finished(work)
        await self._book.keep(scan, lambda ledger: self._settled(ledger, work, scan))
        return {**scan.counts(), "notes": list(scan.notes)}

    async def check(self, shown: bytes) -> None:
        """Let a plan pass, or refuse it.

        Args:
            shown: The JSON of an apply's plan.

        Raises:
            DriftGate: It would revert what nobody decided to revert.
            InterlockError: What it would overwrite cannot be seen.
        """
        plan = await asyncio.to_thread(read_plan, shown)
        ledger = await self._book.read(self._subject.state)
        terms = Terms(rules=self._subject.rules, decisions=ledger.decisions, salt="")
        published: dict[str, str] = {}
        flows = [identifier for identifier in planned_flows(plan) if identifier in ledger.flows]
        if flows:
            async with self._organisation() as organisation:
                if organisation is None:
                    raise _unseen(flows)
                published = await _published(organisation, flows)
        refused = judge_plan(plan, terms, ours=ledger.flows, published=published)
        check_plan(refused, state=self._subject.state)

    async def published(self, flows: Iterable[str]) -> None:
        """Note the published versions of flows that this run has just published as ours."""
        async with self._organisation() as organisation:
            if organisation is not None:
                versions = await _published(organisation, list(flows)[:MAX_FLOWS])
                await self._book.change(self._subject.state, lambda ledger: with_flows(ledger, versions))

    async def _begin(self, shown: bytes) -> _Work:
        ledger = await self._book.read(self._subject.state)
        plan = await asyncio.to_thread(read_plan, shown)
        terms = Terms(
            rules=self._subject.rules, decisions=ledger.decisions, salt=self._ids.fresh(), inventory=plan.inventory
        )
        return _Work(
            ledger=ledger,
            terms=terms,
            began=self._clock.now(),
            since=await self._written_at(),
            findings=classify(plan.drifted, terms),
        )

    async def _ask(self, organisation: Organisation, work: _Work, generate: Generate) -> None:
        """Ask for each part; a part that fails is a note."""
        look = self._subject.look
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("flows were not compared", lambda: self._compare_flows(organisation, work)),
            ("nobody can be named", lambda: self._name_causes(organisation, work)),
        ]
        if look.types:
            parts.insert(1, ("unmanaged objects were not looked for", lambda: self._list(organisation, work)))
        if look.types or any(each.kind is Kind.UNMANAGED for each in work.findings):
            parts.append(("no configuration was generated", lambda: self._generate(work, generate)))
        for missed, ask in parts:
            try:
                await ask()
            except InterlockError as error:
                work.notes.append(f"{missed}: {error.what}{f' ({error.why})' if error.why else ''}")

    async def _compare_flows(self, organisation: Organisation, work: _Work) -> None:
        flows = work.terms.inventory.flows
        gone = {each.object for each in work.findings if each.kind is Kind.GONE}
        for flow in flows[:MAX_FLOWS]:
            current = None if flow.id in gone else await organisation.published(flow.id)
            ours = work.ledger.flows.get(flow.id)
            if current is None or current == ours:
                continue
            if ours is None:
                work.fresh_flows[flow.id] = current
            else:
                work.findings.append(judge_flow(flow, ours=ours, current=current, terms=work.terms))
        work.flows_seen = len(flows) <= MAX_FLOWS
        if not work.flows_seen:
            work.notes.append(f"{len(flows) - MAX_FLOWS} flows were not compared: a scan compares {MAX_FLOWS}")

    async def _list(self, organisation: Organisation, work: _Work) -> None:
        look = self._subject.look
        divisions = await _division_names(organisation)
        managed, elsewhere = work.terms.inventory.by_id, await self._managed_elsewhere(work)
        named = {each.object for each in work.findings}
        taken = {*work.terms.inventory.addresses, *(each.address for each in work.findings)}
        found: list[Listed] = []
        for kind in look.types:
            listing = find_listing(kind)
            if listing is not None:
                listed = unmanaged.read_listing(kind, listing, [each async for each in organisation.entities(listing)])
                found += [each for each in listed if unmanaged.is_wanted(each, look, divisions)]
        fresh = [each for each in found if each.id not in managed and each.id not in elsewhere | named]
        work.elsewhere = sum(each.id in elsewhere for each in found)
        for each in fresh[: unmanaged.MAX_LISTED]:
            finding = unmanaged.describe(each, taken=taken, divisions=divisions, salt=work.terms.salt)
            taken.add(finding.address)
            work.findings.append(with_decisions(finding, work.terms.decisions))
        if len(fresh) > unmanaged.MAX_LISTED:
            work.notes.append(f"{len(fresh) - unmanaged.MAX_LISTED} more unmanaged objects are not listed")
        elif not look.is_filtered:
            work.listed_wholly = frozenset(look.types)

    def _add_left_behind(self, work: _Work) -> None:
        """Name what runs made that no state holds. It needs no listing, so it is named in every scan."""
        taken = set(work.terms.inventory.addresses)
        for each in self._subject.left_behind:
            if each.listed.id not in work.terms.inventory.by_id:
                finding = unmanaged.describe_left(each, taken=taken, salt=work.terms.salt)
                taken.add(finding.address)
                work.findings.append(with_decisions(finding, work.terms.decisions))

    async def _managed_elsewhere(self, work: _Work) -> frozenset[str]:
        found: set[str] = set()
        encrypted: list[str] = []
        async for name, body in self._states():
            document = parse_state(body)
            if isinstance(document, EncryptedDocument):
                encrypted.append(name)
            else:
                found.update(read_inventory(document).by_id)
        if encrypted:
            named = ", ".join(sorted(encrypted))
            work.notes.append(f"encrypted, so what they manage may be listed as unmanaged: {named}")
        return frozenset(found)

    async def _name_causes(self, organisation: Organisation, work: _Work) -> None:
        wanted = {each.object for each in work.findings} | set(work.fresh_flows)
        if not wanted:
            return
        whole = any(each.kind is Kind.UNMANAGED for each in work.findings)
        since, until, cut = audit.interval(since=work.since, now=self._clock.now(), whole=whole)
        events: list[audit.Event] = []
        async for page in organisation.events(since, until):
            events += [event for event in page if event.entity in wanted]
        if cut and not whole:
            work.notes.append(f"the audit log was read {audit.MAX_DAYS} days back; older changes have no name")
        work.times, work.known_since = await asyncio.to_thread(self._subject.times)
        self._judge_fresh_flows(work, events, organisation.client)
        work.findings = [self._caused(each, work, events, organisation.client) for each in work.findings]

    def _judge_fresh_flows(self, work: _Work, events: list[audit.Event], client: str) -> None:
        """A flow that is seen for the first time drifted only if somebody else published it after the last apply."""
        for flow in work.terms.inventory.flows:
            current = work.fresh_flows.get(flow.id)
            if current is None:
                continue
            finding = self._caused(judge_flow(flow, ours=None, current=current, terms=work.terms), work, events, client)
            cause = finding.cause
            if cause is not None and not cause.ours and work.since is not None and cause.at > work.since:
                work.findings.append(finding)
                del work.fresh_flows[flow.id]

    def _caused(self, finding: Finding, work: _Work, events: list[audit.Event], client: str) -> Finding:
        roots = frozenset(each.path.partition(".")[0].partition("[")[0] for each in finding.shown)
        cause = audit.find_cause(
            events, obj=finding.object, kind=finding.kind, roots=roots, our_client=client, since=work.since
        )
        if cause is not None:
            cause = audit.place(cause, work.times, known_since=work.known_since)
        return with_cause(finding, cause, began=work.began)

    async def _generate(self, work: _Work, generate: Generate) -> None:
        chosen = [each for each in work.findings if _can_generate(each)][:MAX_GENERATED]
        if not chosen:
            return
        blocks = "\n".join(import_block(each.address, each.object) for each in chosen)
        text, shown, failure = await generate(blocks, tuple(each.address for each in chosen))
        if failure:
            work.notes.append(f"configuration could not be generated: {failure}")
        ids = {key: each.address for key, each in work.terms.inventory.by_id.items()}
        empty = await asyncio.to_thread(_empty_texts, shown) if shown else frozenset()
        texts = unmanaged.split_generated(text, names=reference_names(ids), empty=empty)
        work.findings = [
            replace(each, generated=texts.get(each.address, "")) if each.kind is Kind.UNMANAGED else each
            for each in work.findings
        ]

    def _finished(self, work: _Work) -> Scan:
        return Scan(
            state=self._subject.state,
            run=self._subject.run,
            at=work.began,
            since=work.since,
            salt=work.terms.salt,
            findings=tuple(work.findings),
            looked_for=self._subject.look.types,
            elsewhere=work.elsewhere,
            notes=tuple(work.notes),
        )

    def _settled(self, ledger: Ledger, work: _Work, scan: Scan) -> Ledger:
        def was_seen(decision: Decision) -> bool:
            match decision.kind:
                case Kind.UNMANAGED:
                    return decision.address.partition(".")[0] in work.listed_wholly
                case Kind.CONTENT:
                    return work.flows_seen
                case _:
                    return True

        known = {key: value for key, value in work.fresh_flows.items() if key not in ledger.flows}
        return with_flows(settle(ledger, scan.findings, was_seen=was_seen), known)


def _unseen(flows: list[str]) -> DriftGate:
    return DriftGate(
        f"{amount(len(flows), 'flow')} would be published over what nobody has looked at",
        why="the run has no gateway, so published versions cannot be compared",
        fix="repeat without --no-gateway, or without the drift gate",
    )


async def _published(organisation: Organisation, flows: Iterable[str]) -> dict[str, str]:
    versions = {flow: await organisation.published(flow) for flow in flows}
    return {flow: version for flow, version in versions.items() if version is not None}


async def _division_names(organisation: Organisation) -> dict[str, str]:
    listing: Listing | None = find_listing(_DIVISIONS)
    entities = [each async for each in organisation.entities(listing)] if listing is not None else []
    return {str(each.get("id")): str(each.get("name")) for each in entities if isinstance(each, dict)}


def _can_generate(finding: Finding) -> bool:
    if finding.kind is not Kind.UNMANAGED or finding.verdict is Verdict.ACCEPTED:
        return False
    listing = find_listing(finding.type)
    return listing is not None and listing.generates


def _empty_texts(shown: bytes) -> frozenset[tuple[str, str]]:
    """Return address and attribute wherever an imported object has an empty text and the generated file nothing."""
    found: set[tuple[str, str]] = set()
    for planned in read_plan(shown).planned.values():
        before = planned.before if isinstance(planned.before, dict) else {}
        after = planned.after if isinstance(planned.after, dict) else {}
        found |= {(planned.address, name) for name, value in before.items() if value == "" and after.get(name) is None}
    return frozenset(found)
