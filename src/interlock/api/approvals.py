"""Requests for approval as both ends of the API spell them. Pure."""

from __future__ import annotations

from msgspec import Struct

from interlock.policy.approval import Approval, Kind

PAGE_MAX = 200


class ToldApprovals(Struct, frozen=True, kw_only=True):
    """Requests for approval of the states that the token may see.

    Attributes:
        approvals: The oldest first.
        unreadable: Names of those that cannot be read; nothing can be done on them.
        next: Where the next page begins; empty for none.
    """

    approvals: tuple[Approval, ...]
    unreadable: tuple[str, ...] = ()
    next: str = ""


class ToldApproval(Struct, frozen=True, kw_only=True):
    """One request, as it stands.

    Attributes:
        approval: The request; None when there is none.
    """

    approval: Approval | None


class Decided(Struct, frozen=True, kw_only=True):
    """What somebody says of a request.

    Attributes:
        verdict: `approve` or `reject`.
        reason: Theirs, one line.
        digest: Of what they saw, or its beginning; empty when they name none.
    """

    verdict: str
    reason: str
    digest: str = ""


class Use(Struct, frozen=True, kw_only=True):
    """A run is about to act on a request.

    Attributes:
        by: The run.
        digest: Of what it is about to do.
    """

    by: str
    digest: str


class ReplacedBy(Struct, frozen=True, kw_only=True):
    """Another request takes the place of one.

    Attributes:
        by: The other one.
    """

    by: str


class Sought(Struct, frozen=True, kw_only=True):
    """Asks for an open request to do exactly this.

    Attributes:
        state: The state's name.
        kind: What is asked for.
        digest: Of what is to be done.
    """

    state: str
    kind: Kind
    digest: str
