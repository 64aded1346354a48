"""Requests for approval at a server, as its clients have them. A hand: nothing is judged here."""

from __future__ import annotations

from datetime import datetime

from interlock.api.approvals import (
    Decided,
    ReplacedBy,
    Sought,
    ToldApproval,
    ToldApprovals,
    Use,
)
from interlock.clock import Clock
from interlock.home.line import BULK_S, Line
from interlock.policy.approval import Approval, Decision, Kind
from interlock.store.before import Before, nothing_before
from interlock.store.blobs import BlobMissing

_NOTHING = 204


class ServerApprovals:
    """See `Approvals`.

    Args:
        line: The way to the server.
        clock: By which a client looks whether a request is too old; the server has the last word.
    """

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line = line
        self._clock = clock

    @property
    def writes_down(self) -> bool:
        """See `Approvals.writes_down`: the server writes down what a token did."""
        return True

    def now(self) -> datetime:
        """See `Approvals.now`."""
        return self._clock.now()

    async def ask(self, approval: Approval, *, before: Before[Approval] = nothing_before) -> Approval:
        """See `Approvals.ask`."""
        del before
        return await self._one("POST", "/approvals", {"state": approval.state}, approval)

    async def keep(self, plan: bytes, approval: Approval) -> None:
        """See `Approvals.keep`."""
        await self._line.ask("PUT", "/approvals/plan", {"id": approval.id}, body=plan, wait_s=BULK_S)

    async def plan(self, approval: Approval) -> bytes:
        """See `Approvals.plan`."""
        reply = await self._line.ask("GET", "/approvals/plan", {"id": approval.id}, wait_s=BULK_S)
        if reply.status == _NOTHING:
            raise BlobMissing(approval.plan.blob if approval.plan is not None else "")
        return reply.body

    async def get(self, name: str) -> Approval:
        """See `Approvals.get`."""
        return await self._one("GET", "/approvals/one", {"id": name}, None)

    async def all(self) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
        """See `Approvals.all`: those that the token may see."""
        found: list[Approval] = []
        after = ""
        while True:
            query = {"all": "true", "after": after or None}
            page: ToldApprovals = await self._line.ask_for(ToldApprovals, "GET", "/approvals", query)
            found += page.approvals
            if not page.next:
                return tuple(found), page.unreadable
            after = page.next

    async def find_open(self, kind: Kind, state: str, digest: str) -> Approval | None:
        """See `Approvals.find_open`."""
        sought = Sought(state=state, kind=kind, digest=digest)
        told: ToldApproval = await self._line.ask_for(ToldApproval, "POST", "/approvals/find", sends=sought)
        return told.approval

    async def decide(
        self, name: str, decision: Decision, *, digest: str = "", before: Before[Approval] = nothing_before
    ) -> Approval:
        """See `Approvals.decide`. Who it is, and when, the server says."""
        del before
        said = Decided(verdict=decision.verdict.value, reason=decision.reason, digest=digest)
        return await self._one("POST", "/approvals/decide", {"id": name}, said)

    async def use(self, name: str, *, by: str, digest: str, before: Before[Approval] = nothing_before) -> Approval:
        """See `Approvals.use`. Asked again with the same run when the answer was lost: it is used once."""
        del before
        return await self._one("POST", "/approvals/use", {"id": name}, Use(by=by, digest=digest))

    async def replace(self, name: str, *, by: str) -> Approval:
        """See `Approvals.replace`."""
        return await self._one("POST", "/approvals/replace", {"id": name}, ReplacedBy(by=by))

    async def _one(self, method: str, path: str, query: dict[str, object], sends: object) -> Approval:
        told: ToldApproval = await self._line.ask_for(ToldApproval, method, path, query, sends=sends)
        assert told.approval is not None, "the server answers with a request, or refuses"
        return told.approval
