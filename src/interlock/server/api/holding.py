"""What the server's own policies hold back, whatever client asks, by the store's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.errors import command
from interlock.existing.terraform_lock import find_reference
from interlock.policy.policy import Policies, join
from interlock.policy.reading import zone
from interlock.policy.windows import Held, find_hold

if TYPE_CHECKING:
    from interlock.backend.asgi import PlainHold
    from interlock.backend.held_lock import Hold
    from interlock.home.interface import Home
    from interlock.terraform.lockinfo import LockInfo


def hold_of(home: Home) -> Hold:
    """Return what says whether windows and freezes hold changes of a state back."""

    async def hold(state: str) -> Held | None:
        return _in_time(join(await home.policies.all(), state), home)

    return hold


def plain_hold_of(home: Home) -> PlainHold:
    """Return what says whether a plain Terraform may change a state: also approvals hold it, since it asks for none.

    A run of ours that locks the address asks for approval itself.
    """
    in_time = hold_of(home)

    async def hold(state: str) -> Held | None:
        joined = join(await home.policies.all(), state)
        return _wants_approval(joined, state) or _in_time(joined, home)

    def hold_for(info: LockInfo) -> Hold:
        return hold if find_reference(info.info) is None else in_time

    return hold_for


def _in_time(policies: Policies, home: Home) -> Held | None:
    return find_hold(policies.each, home.clock.now(), zone)


def _wants_approval(policies: Policies, state: str) -> Held | None:
    if not policies.approvals:
        return None
    reason = f"it wants approvals, for which plain Terraform cannot ask: {command('apply', state)}"
    return Held(policy=policies.asks_for, reason=reason)
