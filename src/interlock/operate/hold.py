"""Holding a state by hand for maintenance, on every backend whose lock outlives a command. A hand.

On Interlock's own backend it is a grant with a long lease. Elsewhere it is Terraform's own lock, so that plain
Terraform and runs of ours stay out alike; it is told from anybody else's by what we write into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock import __version__
from interlock.errors import LockHeld, UsageError, command
from interlock.recovery.terraform_lock import BY_HAND, HAND_ID, is_by_hand
from interlock.rights import Right
from interlock.settings.values import parse_duration
from interlock.site.holding import aloud
from interlock.site.kinds import Can, check_can
from interlock.site.opening import open_site
from interlock.site.which import check_heard_of, resolve
from interlock.terraform.lockinfo import build_lock_info

if TYPE_CHECKING:
    from interlock.existing import ExistingBackend
    from interlock.home.interface import Home
    from interlock.site.interface import Site

RETRY_S = 2.0  # between two attempts while somebody else holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is held.

    Attributes:
        state: The state's own name, by which every command knows it.
        id: Ticket or lock id.
        token: Fencing token; None where the backend does not fence.
    """

    state: str
    id: str
    token: int | None = None


async def acquire(
    text: str, home: Home, environ: Mapping[str, str], *, reason: str, lease: str, wait: str | None
) -> Held:
    """Hold a state for a person.

    Args:
        text: State name or root module.
        home: Where it is looked up.
        environ: Says where backends are.
        reason: Why; waiters see it.
        lease: After which recovery may ask whether the person is still there; only on our own backend.
        wait: Longest wait; None for the settings' own, which may be none.

    Raises:
        LockHeld: Somebody holds it for longer than `wait`.
        UsageError: The lock would end with this command.
    """
    ref = await resolve(text, home, environ)
    wait_s = parse_duration(wait) if wait is not None else home.settings.wait_s
    if ref.is_own:
        ticket, token = await hold_by_hand(home, ref.queue, reason=reason, lease_s=parse_duration(lease), wait_s=wait_s)
        return Held(state=ref.queue, id=ticket, token=token)
    check_can(ref, Can.HOLD, text)
    async with open_site(ref, home, text) as site:
        return await take_terraforms(site, reason, wait_s or 0.0)


async def take_terraforms(site: Site, reason: str, wait_s: float) -> Held:
    """Take Terraform's own lock of a state elsewhere, for a person.

    Raises:
        LockHeld: Somebody holds it for longer than `wait_s`.
    """
    home, backend = site.home, _terraforms(site)
    await home.check_may(Right.LOCK, site.ref.queue)
    clock = home.clock
    until_s = clock.monotonic() + wait_s
    info = build_lock_info(
        id=f"{HAND_ID}{home.ids.fresh()}",
        operation=BY_HAND,
        who=home.me,
        version=f"interlock-{__version__}",
        now=clock.now(),
        path=reason,
    )
    while True:
        try:
            await backend.take_lock(info)
        except LockHeld:
            if clock.monotonic() >= until_s:
                raise
            await clock.sleep(RETRY_S)
        else:
            return Held(state=site.ref.queue, id=info.id)


def _terraforms(site: Site) -> ExistingBackend:
    """Return the backend of a state elsewhere."""
    assert site.backend is not None, f"{site.ref.address} is in Interlock's own backend"
    return site.backend


async def release(text: str, home: Home, environ: Mapping[str, str]) -> Held:
    """Give back a state that was acquired by hand.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: It is not a lock that was acquired by hand.
    """
    ref = await resolve(text, home, environ)
    await check_heard_of(ref, home)
    if ref.is_own:
        return Held(state=ref.queue, id="", token=await release_by_hand(home, ref.queue))
    async with open_site(ref, home, text) as site:
        return await give_terraforms(site, text)


async def give_terraforms(site: Site, text: str) -> Held:
    """Give back Terraform's own lock that a person took, in this command or another; `text` is the state for people.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: It was not taken by hand.
    """
    await site.home.check_may(Right.LOCK, site.ref.queue)
    locks = await site.read_locks()
    if not locks:
        raise UsageError(f"{text} is not locked", fix=command("lock", "show", text))
    if any(not is_by_hand(lock) for lock in locks):
        raise LockHeld(
            f"{text} is held by {locks[0].who or 'somebody unknown'}",
            why="only a lock that was acquired by hand is released by hand",
            fix=command("lock", "explain", text),
        )
    for lock in locks:
        await _terraforms(site).delete_lock(lock)
    return Held(state=site.ref.queue, id=locks[0].id)


_BY_HAND = "by hand"


async def hold_by_hand(home: Home, state: str, *, reason: str, lease_s: float, wait_s: float | None) -> tuple[str, int]:
    """Acquire a state for a person; return ticket and token. It has no heartbeat, only a long lease."""
    from interlock.lock import Requested

    request = Requested(
        ticket=home.coordinator.new_ticket(),
        who=home.me,
        info=f"{_BY_HAND}: {reason}",
        lease_s=lease_s,
        patience_s=15.0,
    )
    grant = await home.coordinator.acquire(state, request, timeout_s=wait_s, on_change=aloud(home))
    return grant.ticket, grant.token


async def release_by_hand(home: Home, state: str) -> int:
    """Give back a state that was acquired by hand; return its token.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: A run or a plain Terraform holds it.
    """
    from interlock.errors import LockHeld

    holders = (await home.coordinator.view(state)).lock.holders
    if not holders:
        raise UsageError(f"state {state} is not locked", fix=command("lock", "show", state))
    holder = holders[0]
    if holder.run or not holder.info.startswith(_BY_HAND):
        raise LockHeld(
            f"state {state} is held by {holder.run or holder.who}",
            why="only a lock that was acquired by hand is released by hand",
            fix=command("runs", "cancel", holder.run) if holder.run else command("lock", "explain", state),
        )
    await home.coordinator.release(state, ticket=holder.ticket, token=holder.token)
    return holder.token
