"""What must always hold of a lock, and of one step from a lock to the next.

Checked where a record is written and again where it is read. The promises are numbered as in docs/architecture.md:
P1 no two conflicting holders; P2 first come, first served; P4 fencing tokens only rise.
Nothing here depends on a tunable constant, so a record of another release is judged by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from interlock.errors import THIS_STATE, InterlockError, command
from interlock.lock.claim import conflicts
from interlock.lock.lock import Lock
from interlock.lock.ticket import Waiter, service_key


class LockBroken(InterlockError):
    """A lock breaks a promise: our own mistake, or a record that somebody changed by hand. Nothing was written."""

    code = "lock-broken"
    meaning = "error not listed below"


def assert_whole(lock: Lock) -> Lock:
    """Return the lock.

    Raises:
        LockBroken: It breaks a rule of `broken_rules`.
    """
    _refuse(tuple(broken_rules(lock)))
    return lock


def assert_follows(before: Lock, after: Lock) -> None:
    """Check a step before it is written.

    Raises:
        LockBroken: `after` breaks a rule of `broken_rules`, or must not follow `before`.
    """
    if before is not after:
        _refuse((*broken_rules(after), *broken_steps(before, after)))


def broken_rules(lock: Lock) -> Iterator[str]:
    """Yield every rule that this lock breaks."""
    tokens = [holder.token for holder in lock.holders]
    if len(lock.holders) > 1 and _any_conflict(lock):
        yield "P1: two holders have claims that conflict"
    if tokens and (max(tokens) > lock.token or min(tokens) < 1):
        yield "P4: a holder's token is not among those granted"
    if len(set(tokens)) < len(tokens):
        yield "P4: two holders have one token"
    yield from _broken_queue(lock.waiters, lock.arrivals)
    parties = (*lock.holders, *lock.waiters)
    if len({party.ticket for party in parties}) < len(parties):
        yield "a ticket appears twice"
    lock_ids = [party.lock_id for party in parties if party.lock_id is not None]
    if len(set(lock_ids)) < len(lock_ids):
        yield "two parties have one lock id"
    if lock.token < 0 or lock.arrivals < 0:
        yield "a counter is below zero"


def broken_steps(before: Lock, after: Lock) -> Iterator[str]:
    """Yield every rule that the step from `before` to `after` breaks."""
    if after.token < before.token:
        yield "P4: the highest token fell"
    if after.arrivals < before.arrivals:
        yield "P2: the arrival counter fell"
    known = {(holder.ticket, holder.token) for holder in before.holders}
    if any(holder.token <= before.token and (holder.ticket, holder.token) not in known for holder in after.holders):
        yield "P4: a new grant carries an old token"
    if after.waiters and not _keeps_order(before.waiters, after.waiters):
        yield "P2: waiters changed places"


def _broken_queue(waiters: Sequence[Waiter], arrivals: int) -> Iterator[str]:
    if not waiters:
        return
    numbers = [waiter.arrival for waiter in waiters]
    if any(one >= other for one, other in pairwise(map(service_key, waiters))):
        yield "P2: waiters are out of order"
    if len(set(numbers)) < len(numbers) or max(numbers) > arrivals:
        yield "P2: an arrival number is used twice, or was never given out"


def _keeps_order(before: Sequence[Waiter], after: Sequence[Waiter]) -> bool:
    """Say whether those who waited before and wait now stand as they stood, leaving out the newly bumped."""
    ranks = {waiter.ticket: waiter.bumped for waiter in before}
    stayed = [waiter.ticket for waiter in after if ranks.get(waiter.ticket) == waiter.bumped]
    here = set(stayed)
    return stayed == [waiter.ticket for waiter in before if waiter.ticket in here]


def _any_conflict(lock: Lock) -> bool:
    claims = [holder.claim for holder in lock.holders]
    return any(conflicts(claim, other) for n, claim in enumerate(claims) for other in claims[:n])


def _refuse(broken: tuple[str, ...]) -> None:
    if broken:
        raise LockBroken(
            "a lock record breaks a promise",
            why="; ".join(broken),
            fix=f"{command('lock', 'show', THIS_STATE)}, then report this with its output; nothing was written",
        )
