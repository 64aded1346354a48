"""Endpoints about requests for approval.

Who asks and who decides is what the token says, never what a client says of itself. A client may ask for more than the
server's policies want, and never for less.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct
from msgspec.structs import replace

from interlock.api.approvals import (
    PAGE_MAX,
    Decided,
    ReplacedBy,
    Sought,
    ToldApproval,
    ToldApprovals,
    Use,
)
from interlock.audit.entry import Fact
from interlock.errors import UsageError
from interlock.instants import span
from interlock.operate import approving
from interlock.policy.approval import Approval, Kind, Verdict, of_party
from interlock.policy.policy import join
from interlock.rights import Right
from interlock.rights.callers import Caller, may_do, party_of, person_of
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, OfState, Sent, acts, from_to, reads
from interlock.site.ref import own_address
from interlock.state import MAX_STATE_BYTES
from interlock.store.blobs import BlobMissing

if TYPE_CHECKING:
    from interlock.home.interface import Home


class Named(Struct, frozen=True, kw_only=True):
    """Asks about one request.

    Attributes:
        id: Its name.
    """

    id: str


class SomeApprovals(Struct, frozen=True, kw_only=True):
    """Asks for requests.

    Attributes:
        of_state: Of this state; empty for any that the token may see.
        all: Those that are over too.
        after: The request after which the page begins.
        limit: Most on the page.
    """

    of_state: str = ""
    all: bool = False
    after: str = ""
    limit: Annotated[int, from_to(1, PAGE_MAX)] = PAGE_MAX


_OF_TWO = frozenset({Kind.FORCE_UNLOCK, Kind.RESTORE})

CommentsOn = Callable[[str, Sequence[str]], Awaitable[str]]
"""Tells the code host where a comment of another person decides a request: for a state, ordered with accounts."""


async def no_comments(_state: str, _ordered_by: Sequence[str]) -> str:
    """Let no comment decide anything, as where no hooks are kept."""
    return ""


class _Approvals:
    """Does what clients ask."""

    def __init__(self, home: Home, comments_on: CommentsOn) -> None:
        self._home = home
        self._comments_on = comments_on

    async def list(self, call: Call[SomeApprovals, NoBody]) -> ToldApprovals:
        """Requests for approval of the states that the token may see."""
        query = call.query
        _check_page(query.limit)
        found, unreadable = await approving.requests(self._home, state=query.of_state or None, everything=query.all)
        seen = [one for one in found if may_do(call.caller, Right.READ_STATE, one.state)]
        place = next((n + 1 for n, one in enumerate(seen) if one.id == query.after), 0) if query.after else 0
        page = seen[place : place + query.limit]
        more = len(seen) > place + len(page)
        sees_all = may_do(call.caller, Right.ADMINISTER, "**")
        return ToldApprovals(
            approvals=tuple(page), unreadable=unreadable if sees_all else (), next=page[-1].id if more else ""
        )

    async def show(self, call: Call[Named, NoBody]) -> ToldApproval:
        """One request: what it would do, who asks, who said what."""
        return ToldApproval(approval=await self._seen(call.caller, call.query.id, Right.READ_STATE))

    async def find(self, call: Call[NoQuery, Sought]) -> ToldApproval:
        """The open request to do exactly this, if there is one."""
        sought = call.body
        call.caller.check(Right.PLAN, sought.state)
        found = await self._home.approvals.find_open(sought.kind, sought.state, sought.digest)
        return ToldApproval(approval=found)

    async def ask(self, call: Call[OfState, Approval]) -> ToldApproval:
        """Ask for approval; the server's policies say of how many at least.

        It is written down as the token's. Of two persons each may do the act: else who approves it would do it alone,
        on the word of somebody who may only plan.
        """
        asked, state, who = call.body, call.query.state, person_of(call.caller)
        if asked.kind in _OF_TWO:
            call.caller.check(_acting(asked), state)
        if asked.state != state or asked.decisions or asked.used_by or asked.replaced_by:
            raise UsageError("this is not a new request for that state")
        if asked.expires_at <= asked.asked_at:
            raise UsageError("nothing was asked", why="the request would be over before it begins")
        joined, now = join(await self._home.policies.all(), state), self._home.approvals.now()
        wants = joined.two_persons if asked.kind in _OF_TWO else bool(joined.approvals)
        needed = 1 if asked.kind in _OF_TWO else joined.approvals
        lasts = min(asked.expires_at - asked.asked_at, span(joined.approval_s))
        party = party_of(call.caller)
        request = replace(
            of_party(asked, party),
            comments_on=await self._comments_on(state, party.accounts),
            asked_by=who,
            asked_at=now,
            expires_at=now + lasts,
            needed=max(asked.needed, needed, 1),
            own_approval=asked.own_approval and (joined.own_approval or not wants),
        )
        there = await self._existing(asked.id)
        if there is not None:  # the answer to the same question was lost
            _check_same(there, request)
            return ToldApproval(approval=there)

        async def before(made: Approval, _version: int) -> None:
            said = {"what": made.what, "policy": made.policy}
            await self._write_down("approval-asked", made, who, call.address, said)

        return ToldApproval(approval=await self._home.approvals.ask(request, before=before))

    async def keep(self, call: Call[Named, bytes]) -> None:
        """Keep the plan that a request names."""
        approval = await self._seen(call.caller, call.query.id, Right.PLAN)
        if approval.asked_by != person_of(call.caller):
            raise UsageError(f"request {approval.id} is another's")
        await self._home.approvals.keep(call.body, approval)

    async def plan(self, call: Call[Named, NoBody]) -> Sent:
        """The plan that was approved, for the run that applies it; it may hold secrets."""
        approval = await self._seen(call.caller, call.query.id, Right.APPLY)
        try:
            return Sent(body=await self._home.approvals.plan(approval))
        except BlobMissing:
            return Sent(body=b"", status=204)

    async def decide(self, call: Call[Named, Decided]) -> ToldApproval:
        """Approve or reject exactly this, and why."""
        approval = await self._seen(call.caller, call.query.id, Right.APPROVE)
        said, verdict = call.body, _verdict(call.body.verdict)
        via = f"api {call.address}".strip()
        after = await approving.decide(
            approval.id,
            verdict,
            self._home,
            reason=said.reason,
            who=person_of(call.caller),
            party=party_of(call.caller),
            via=via,
            digest=said.digest,
        )
        return ToldApproval(approval=after)

    async def use(self, call: Call[Named, Use]) -> ToldApproval:
        """Use a request up, before anything is changed; once."""
        approval = await self._seen(call.caller, call.query.id, _acting(await self._home.approvals.get(call.query.id)))

        async def before(used: Approval, _version: int) -> None:
            facts: dict[str, Fact] = {"run": used.used_by, "by": list(used.approvers)}
            await self._write_down("approval-used", used, person_of(call.caller), call.address, facts)

        said = call.body
        return ToldApproval(
            approval=await self._home.approvals.use(approval.id, by=said.by, digest=said.digest, before=before)
        )

    async def replace(self, call: Call[Named, ReplacedBy]) -> ToldApproval:
        """Let another request take the place of one."""
        approval = await self._seen(call.caller, call.query.id, Right.APPLY)
        other = await self._seen(call.caller, call.body.by, Right.APPLY)
        if other.state != approval.state:
            raise UsageError("the two requests are for different states")
        return ToldApproval(approval=await self._home.approvals.replace(approval.id, by=other.id))

    async def _write_down(
        self, action: str, approval: Approval, who: str, address: str, facts: Mapping[str, Fact]
    ) -> None:
        said = {"request": approval.id, "digest": approval.digest, "via": f"api {address}".strip(), **facts}
        await self._home.audit.announce(action, subject=own_address(approval.state), by=who, facts=said)

    async def _existing(self, name: str) -> Approval | None:
        try:
            return await self._home.approvals.get(name)
        except UsageError:
            return None

    async def _seen(self, caller: Caller, name: str, right: Right) -> Approval:
        """Return a request that the caller may do this on; one that they may not even see is not there for them.

        Raises:
            UsageError: There is none that they may see.
            Forbidden: They may see it, and no more.
        """
        found = await self._home.approvals.get(name)
        if not may_do(caller, Right.READ_STATE, found.state):
            raise UsageError(f"there is no request {name[:40]!a} for approval", fix="interlock approvals ls")
        caller.check(right, found.state)
        return found


def _acting(approval: Approval) -> Right:
    """Return the right that acting on a request needs."""
    match approval.kind:
        case Kind.FORCE_UNLOCK:
            return Right.FORCE_UNLOCK
        case Kind.RESTORE:
            return Right.RESTORE
        case Kind.APPLY | Kind.EXEC:
            return Right.APPLY


def _verdict(text: str) -> Verdict:
    try:
        return Verdict(text)
    except ValueError:
        raise UsageError(f"{text[:40]!a} is not a decision", fix="send approve or reject") from None


def _check_same(before: Approval, asked: Approval) -> None:
    same = (before.state, before.digest, before.asked_by) == (asked.state, asked.digest, asked.asked_by)
    if not same:
        raise UsageError(f"there is a request {before.id[:40]!a} already", fix="interlock approvals ls")


def _check_page(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError("nothing was listed", why=f"a page has 1 to {PAGE_MAX} rows")


def approval_endpoints(home: Home, comments_on: CommentsOn = no_comments) -> list[AnyEndpoint]:
    """Return the rows."""
    does = _Approvals(home, comments_on)
    return [
        reads("/approvals", does.list, right=None, query=SomeApprovals, answer=ToldApprovals),
        reads("/approvals/one", does.show, right=None, query=Named, answer=ToldApproval),
        acts("/approvals/find", does.find, right=None, query=NoQuery, body=Sought, answer=ToldApproval),
        acts("/approvals", does.ask, right=Right.PLAN, query=OfState, body=Approval, answer=ToldApproval),
        acts(
            "/approvals/plan",
            does.keep,
            method="PUT",
            right=None,
            query=Named,
            body=bytes,
            answer=None,
            limit_bytes=MAX_STATE_BYTES,
        ),
        reads("/approvals/plan", does.plan, right=None, query=Named, answer=bytes | None),
        acts("/approvals/decide", does.decide, right=None, query=Named, body=Decided, answer=ToldApproval),
        acts("/approvals/use", does.use, right=None, query=Named, body=Use, answer=ToldApproval),
        acts("/approvals/replace", does.replace, right=None, query=Named, body=ReplacedBy, answer=ToldApproval),
    ]
