"""What requests for approval can be asked, near the store or behind a server. Policies: `policy_book.PolicyKeeper`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from interlock.policy.approval import Approval, Decision, Kind
from interlock.store.before import Before, nothing_before


class Approvals(Protocol):
    """Requests for approval; `ApprovalBook` is the one over a store, and says what each raises.

    `before` is told a request as it is about to be written, unless whoever keeps it writes that down (`writes_down`).
    """

    @property
    def writes_down(self) -> bool:
        """Whether whoever keeps them writes each act to the audit log itself, as a server does."""
        ...

    def now(self) -> datetime:
        """Return the time by which requests become too old."""
        ...

    async def ask(self, approval: Approval, *, before: Before[Approval] = nothing_before) -> Approval:
        """Write a new request down; return it as it stands: a server may want more than was asked for."""
        ...

    async def keep(self, plan: bytes, approval: Approval) -> None:
        """Keep the plan file that a request names."""
        ...

    async def plan(self, approval: Approval) -> bytes:
        """Return the kept plan of a request."""
        ...

    async def get(self, name: str) -> Approval:
        """Return a request."""
        ...

    async def all(self) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
        """Return every request, the oldest first, and the names of those that cannot be read."""
        ...

    async def find_open(self, kind: Kind, state: str, digest: str) -> Approval | None:
        """Return the open request to do exactly this, or to apply a plan that is equal; None when there is none.

        Args:
            kind: What is asked for.
            state: The state's name.
            digest: Of what is to be done, or the essence of its plan.

        Returns:
            An approved one before any other, then the newest.
        """
        ...

    async def decide(
        self, name: str, decision: Decision, *, digest: str = "", before: Before[Approval] = nothing_before
    ) -> Approval:
        """Add what a person said."""
        ...

    async def use(self, name: str, *, by: str, digest: str, before: Before[Approval] = nothing_before) -> Approval:
        """Use a request up, before anything is changed."""
        ...

    async def replace(self, name: str, *, by: str) -> Approval:
        """Let another request take the place of this one."""
        ...
