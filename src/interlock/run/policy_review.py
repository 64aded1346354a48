"""What a run asks of the policies of its state: may it have its turn, may its plan go on, who must agree.

Knows policies, the requests for approval, the audit log and the journal. When it is asked, and what comes of the
answer, is the supervisor's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from interlock.address import parse_address
from interlock.amounts import amount
from interlock.errors import PolicyGate, command
from interlock.foreign_text import one_line
from interlock.instants import span
from interlock.policy.approval import Approval, KeptPlan, Kind, check_state, count_of, how_to_approve
from interlock.policy.judging import Result, judge, refusal
from interlock.policy.policy import Policies
from interlock.policy.reading import zone
from interlock.policy.summary import PlanSummary, Resource, summarise
from interlock.policy.windows import Held, find_hold
from interlock.run.entries import ApprovalAskedEntry, NoteEntry, PolicyEntry, PolicyRow
from interlock.run.order import Operation, Order, without_secrets
from interlock.terraform.plan import PlanFacts

if TYPE_CHECKING:
    from interlock.audit.interface import Audit
    from interlock.policy.books import Approvals
    from interlock.run.transcript import Journal

HELD_BACK = frozenset({Operation.APPLY, Operation.DESTROY, Operation.REFRESH, Operation.EXEC})
"""What windows and freezes hold back: whatever may change the state or the contact centre."""

_OWN = "interlock:"  # before the names of our own states, as `interlock.site.ref` has it
_APPROVED = frozenset({Operation.APPLY, Operation.DESTROY})
_IMPORT, _NOTHING = "import", "noop"
_ADDRESSES = 20  # of a refusal, in the audit log

Shown = Callable[[], Awaitable[bytes]]
"""Returns the plan as `terraform show -json` prints it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReview:
    """The policies of one run's state, and whom it asks.

    Attributes:
        policies: What holds.
        order: The run.
        journal: Its record.
        book: Requests for approval.
        audit: The log of decisions.
        person: Who ordered the run, by which nobody can call themselves another: see `interlock.host.person`.
        environ: Where programs are found.
    """

    policies: Policies
    order: Order
    journal: Journal
    book: Approvals
    audit: Audit
    person: str
    environ: Mapping[str, str]

    def hold(self, now: datetime) -> Held | None:
        """Return what holds this run back now; None when it may have its turn."""
        if self.order.operation not in HELD_BACK or not self.policies.each:
            return None
        return find_hold(self.policies.each, now, zone)

    @property
    def wait_s(self) -> float | None:
        """The longest wait in the queue that policies allow; None where they say none."""
        return self.policies.wait_s

    async def check(self, facts: PlanFacts, *, calls: int | None, agreed: frozenset[str], shown: Shown) -> None:
        """Let a plan pass.

        Args:
            facts: The plan.
            calls: API calls that it needs at least; None where nobody knows.
            agreed: Deletions to which reviewers agreed in the change.
            shown: See `Shown`.

        Raises:
            PolicyGate: A policy refuses it.
            UsageError: A check or a program cannot be asked.
        """
        plan = summary_of(facts, self.order, calls=calls)
        await self._refuse(plan, await self._results(plan, agreed, shown))

    async def check_removals(self, gone: tuple[str, ...]) -> None:
        """Let a command take these objects out of the state.

        Raises:
            PolicyGate: A policy refuses it.
        """
        resources = [Resource(address=address, type=_parts_of(address)[1], action="remove") for address in gone]
        plan = summarise(resources, state=self.order.state, operation=self.order.operation.value, who=self.order.who)
        await self._refuse(plan, judge(self.policies, replace(plan, destroyed=gone)))

    async def _results(self, plan: PlanSummary, agreed: frozenset[str], shown: Shown) -> tuple[Result, ...]:
        found = judge(self.policies, plan, agreed=agreed)
        if any(one.checks for one in self.policies.each):
            from interlock.policy.expressions import ask_checks

            found += await ask_checks(self.policies.each, plan)
        if any(one.programs for one in self.policies.each):
            from interlock.policy.programs import ask_programs

            found += await ask_programs(self.policies.each, await shown(), self.environ)
        return found

    async def _refuse(self, plan: PlanSummary, results: tuple[Result, ...]) -> None:
        """Tell the journal what was found, and the audit log what is refused.

        Raises:
            PolicyGate: Something is.
        """
        if results:
            rows = [PolicyRow(**msgspec.to_builtins(each)) for each in results]
            self.journal.tell(PolicyEntry(results=rows))
            self.journal.change(policies=[msgspec.to_builtins(each) for each in rows])
        error = refusal(results, state=plan.state)
        if error is None:
            return
        if self.order.operation is not Operation.PLAN:
            await self._write_down("policy-refused", _refused_facts(results))
        raise error

    # -- approvals --------------------------------------------------------------------------------------------------

    @property
    def asks_for_approval(self) -> bool:
        """Whether persons must approve what this run is about to do. A run of what was approved does nothing else."""
        if self.order.approval:
            return True
        return bool(self.policies.approvals) and self.order.operation in {*_APPROVED, Operation.EXEC}

    @property
    def may_ask(self) -> bool:
        """Whether a plan without approval may be kept for one: where no policy wants any, nobody would be asked."""
        return bool(self.policies.approvals)

    async def find_request(self, essence: str) -> str:
        """Return the open request to apply an equal plan, "" for none: a job that is started again asks no second time.

        Args:
            essence: See `plan_essence`.
        """
        found = await self.book.find_open(Kind.APPLY, self.order.state, essence)
        if found is None:
            return ""
        self.journal.change(approval=found.id)
        return found.id

    async def use(self, request: str, digest: str) -> None:
        """Use up an approval, before anything is changed.

        Args:
            request: The one that the run was ordered with, or that was found for its plan.
            digest: Of the kept plan; of any other, its essence.

        Raises:
            PlanStale: It is for another plan.
            PolicyGate: It is not approved, is over, or is for another state.
        """
        by = self.order.run
        asked = await self.book.get(request)
        check_state(asked, self.order.state)
        await self._check_enough(asked)
        approval = await self.book.use(request, by=by, digest=digest, before=self._before_used)
        text = f"approved by {', '.join(approval.approvers)} ({approval.id})"
        self.journal.tell(NoteEntry(text=text))

    async def _check_enough(self, approval: Approval) -> None:
        """Refuse what was approved by fewer, or by others, than the policies that hold now want.

        Raises:
            PolicyGate: Likewise.
        """
        count = count_of(approval, own=self.policies.own_approval and approval.own_approval).persons
        if count < self.policies.approvals:
            raise PolicyGate(
                f"{approval.id} is not approved by as many as policy {self.policies.asks_for} wants now",
                why=f"{self.policies.approvals} are wanted, {count} count; nothing was changed",
                fix=how_to_approve(approval),
                rule="approvals",
                policy=self.policies.asks_for,
                approval=approval.id,
            )

    async def ask(self, facts: PlanFacts, plan: bytes, *, digest: str, essence: str) -> PolicyGate:
        """Keep a plan and ask for its approval; return the end of this run, which holds nothing while others decide.

        Args:
            facts: What the plan does.
            plan: The file, with its label.
            digest: Its digest.
            essence: See `plan_essence`.
        """
        from interlock.store.blobs import blob_digest

        order, counts = without_secrets(self.order), facts.counts
        kept = KeptPlan(
            blob=blob_digest(plan),
            essence=essence,
            operation=order.operation.value,
            directory=order.directory,
            module=order.module,
            flags=order.extra,
            named=order.state if order.named else "",
            allow_destroy=order.allow_destroy,
            max_deletes=order.max_deletes,
            counts={} if counts is None else {"add": counts.add, "change": counts.change, "remove": counts.remove},
        )
        what = f"{order.operation.value} {order.state}: " + ", ".join(
            f"{n} to {word}" for word, n in kept.counts.items()
        )
        approval = self._request(Kind.APPLY, digest=digest, what=what, plan=kept)
        # The request first: a plan that no request names would stay in the store, with its secrets, for good.
        approval = await self._write_request(approval)
        await self.book.keep(plan, approval)
        if order.approval:
            await self.book.replace(order.approval, by=order.run)
        return self._waits(approval)

    async def check_command(self, *, lineage: str, serial: int) -> None:
        """Let a command change the state when persons approved exactly that, on exactly this version; else ask them.

        Raises:
            PolicyGate: It waits for approval.
        """
        told = (self.order.state, self.order.command, self.order.extra, lineage, serial)
        digest = hashlib.sha256(msgspec.json.encode(told)).hexdigest()
        found = await self.book.find_open(Kind.EXEC, self.order.state, digest)
        if found is None:
            what = one_line(" ".join(without_secrets(self.order).command))
            found = self._request(Kind.EXEC, digest=digest, what=f"{what} at serial {serial}")
            found = await self._write_request(found)
        try:
            await self.book.use(found.id, by=self.order.run, digest=digest, before=self._before_used)
        except PolicyGate as error:
            again = command("approvals", "show", found.id)
            raise PolicyGate(
                error.what, why=f"{error.why}; then repeat the command", fix=again, **error.facts
            ) from None

    def _request(self, kind: Kind, *, digest: str, what: str, plan: KeptPlan | None = None) -> Approval:
        now = self.book.now()
        return Approval(
            id=self.order.run,
            kind=kind,
            state=self.order.state,
            digest=digest,
            what=what,
            asked_by=self.person,
            asked_at=now,
            expires_at=now + span(self.policies.approval_s),
            needed=self.policies.approvals,
            own_approval=self.policies.own_approval,
            policy=self.policies.asks_for,
            job=self.order.job or "",
            plan=plan,
        )

    async def _write_request(self, asked: Approval) -> Approval:
        approval = await self.book.ask(asked, before=self._before_asked)
        self.journal.change(approval=approval.id)
        self.journal.tell(
            ApprovalAskedEntry(
                request=approval.id,
                digest=approval.digest,
                needed=approval.needed,
                policy=approval.policy,
                expires=str(msgspec.to_builtins(approval.expires_at)),
            )
        )
        return approval

    def _waits(self, approval: Approval) -> PolicyGate:
        persons = amount(approval.needed, "person")
        own = self.order.plan_file is not None and not self.order.approval
        again = "" if not own else f"the same {'job' if self.order.job else 'command'} again, or "
        return PolicyGate(
            f"the plan for {approval.state} waits for approval",
            why=f"policy {approval.policy} wants {persons}; the plan is kept, the lock given back, nothing was changed",
            fix=f"{how_to_approve(approval)}    then {again}{command('apply', '--run', approval.id)}",
            rule="approvals",
            policy=approval.policy,
            approval=approval.id,
        )

    async def _before_asked(self, asked: Approval, _version: int) -> None:
        facts = {"request": asked.id, "digest": asked.digest, "what": asked.what, "policy": asked.policy}
        await self._write_down("approval-asked", facts)

    async def _before_used(self, used: Approval, _version: int) -> None:
        facts = {"request": used.id, "digest": used.digest, "by": list(used.approvers)}
        await self._write_down("approval-used", facts)

    async def _write_down(self, action: str, facts: Mapping[str, object]) -> None:
        """Write to the audit log. Where it cannot be written nothing may go on: who let it pass would be lost."""
        subject = self.order.state if self.order.backend else f"{_OWN}{self.order.state}"
        said = {"run": self.order.run, "token": self.journal.summary.token, "job": self.order.job, **facts}
        await self.audit.announce(action, subject=subject, by=self.person, facts=said)  # type: ignore[arg-type]


def summary_of(facts: PlanFacts, order: Order, *, calls: int | None) -> PlanSummary:
    """Return the summary of a plan that policies are asked about."""
    resources = [
        Resource(
            address=change.resource.address,
            type=_parts_of(change.resource.address)[1] or change.resource.type,
            name=change.resource.name,
            module=_parts_of(change.resource.address)[0] or change.resource.module,
            action=_IMPORT if change.importing and change.action.value == _NOTHING else change.action.value,
            previous=change.previous.address if change.previous is not None else "",
            reason=change.reason,
        )
        for change in facts.changes
    ]
    return summarise(
        resources,
        state=order.state,
        operation=order.operation.value,
        who=order.who,
        ci=order.in_ci,
        outputs=facts.changed_outputs,
        drift=tuple(each.resource.address for each in facts.drift),
        calls=calls,
    )


def _refused_facts(results: tuple[Result, ...]) -> dict[str, object]:
    wrong = [each for each in results if not each.passed]
    addresses = [address for each in wrong for address in each.addresses]
    return {
        "rules": [f"{each.policy}/{each.rule} ({each.layer}): {each.what}" for each in wrong],
        "addresses": addresses[:_ADDRESSES],
    }


def _parts_of(address: str) -> tuple[str, str]:
    """Return module and type: the changes of a saved plan come without, and no check may pass for that."""
    try:
        found = parse_address(address)
    except ValueError:  # a whole module, or what a newer Terraform spells
        return "", ""
    return found.module, found.type
