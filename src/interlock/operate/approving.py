"""Requests for approval, as persons and the API see and decide them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.policy.approval import Approval, Decision, Standing, Verdict, comment_line, standing
from interlock.site.ref import own_address

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.home.interface import Home
    from interlock.persons import Party

_ACTIONS = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected"}


async def decide(  # noqa: PLR0913 - what a decision is made of
    name: str,
    verdict: Verdict,
    home: Home,
    *,
    reason: str,
    who: str = "",
    account: str = "",
    party: Party | None = None,
    via: str = "cli",
    digest: str = "",
) -> Approval:
    """Write down what a person says of a request, and return it.

    Args:
        name: The request.
        verdict: Yes or no.
        home: Where it is.
        reason: Theirs.
        who: Who decides; by default the person of the home. Whoever calls this for others has proven who they are.
        account: Theirs at a code host; see `Decision.account`.
        party: See `Decision.party`.
        via: From where: `cli`, `api`, an address.
        digest: The digest that they saw, or its beginning; empty when they named none.

    Raises:
        UsageError: There is no such request, it is over, or the reason is missing.
        PolicyGate: They ordered it, or it is not known who they are, and another person must approve.
    """
    who = who or home.person
    now = home.clock.now()
    decision = Decision(who=who, verdict=verdict, reason=reason.strip(), at=now, via=via, account=account, party=party)

    async def before(after: Approval, _version: int) -> None:
        facts = {"request": name, "digest": after.digest, "reason": decision.reason, "via": via, "what": after.what}
        await home.audit.announce(_ACTIONS[verdict], subject=own_address(after.state), by=who, facts=facts)

    return await home.approvals.decide(name, decision, digest=digest, before=before)


async def requests(home: Home, *, state: str | None, everything: bool) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """Return the requests that can still be decided or acted on, or all; and the names of unreadable ones.

    Args:
        home: Where they are.
        state: Only those of this state; None for any.
        everything: Those that are over too.
    """
    found, unreadable = await home.approvals.all()
    now = home.clock.now()
    open_ones = {Standing.WAITING, Standing.APPROVED}
    shown = [one for one in found if everything or standing(one, now) in open_ones]
    return tuple(one for one in shown if state in (None, one.state)), unreadable


def as_document(approval: Approval, now: datetime) -> dict[str, object]:
    """Return a request as `--json` and the API show it: what it would do, and nothing of the plan's values."""
    plan = approval.plan
    return {
        "id": approval.id,
        "kind": approval.kind.value,
        "state": approval.state,
        "standing": standing(approval, now).value,
        "what": approval.what,
        "digest": approval.digest,
        "asked_by": approval.asked_by,
        "asked_at": approval.asked_at,
        "expires_at": approval.expires_at,
        "needed": approval.needed,
        "approvers": list(approval.approvers),
        "approved": approval.approved,
        "own_approval": approval.own_approval,
        "policy": approval.policy,
        "job": approval.job or None,
        "ordered_by": approval.ordered_by or None,
        "comment": comment_line(approval, Verdict.APPROVE) if approval.comments_on else None,
        "operation": plan.operation if plan is not None else None,
        "directory": plan.directory if plan is not None else None,
        "counts": dict(plan.counts) if plan is not None else None,
        "decisions": [
            {"who": one.who, "verdict": one.verdict.value, "reason": one.reason, "at": one.at, "via": one.via}
            for one in approval.decisions
        ],
        "used_by": approval.used_by or None,
        "used_at": approval.used_at,
        "replaced_by": approval.replaced_by or None,
    }
