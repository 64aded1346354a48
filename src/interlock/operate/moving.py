"""One state, moved from one place to another: checked, stored, read back, marked. A hand.

The places are `Site`s, so every backend can be left and entered by the same steps. Nothing is deleted: the source keeps
its bytes and gets a mark, by which runs refuse it and a second move knows the first. It is closed with another mark
before anything is stored at the target, so at no moment are two places open. Whatever breaks off in between is done
again by the same command: what is stored already is not stored twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import InterlockError, LeaseLost, PolicyGate, StateInvalid, UsageError, command
from interlock.lock import holder_of
from interlock.site.moved import address_moved_to, address_moving_to, moved_to, moving_to
from interlock.state import Document, content_digest, parse_state, refusing, verify_state

if TYPE_CHECKING:
    from interlock.audit.entry import Fact
    from interlock.run.surroundings import Seat
    from interlock.site.interface import Site

STATE_MOVED = "state-moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is moved of a state.

    Attributes:
        serial: Its serial.
        lineage: Its lineage.
        resources: How many instances it has; None when it is encrypted.
        sha256: Of its bytes.
    """

    serial: int
    lineage: str
    resources: int | None
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move that was looked at, or was made.

    Attributes:
        content: What is moved.
        stored: The target has this content already.
        done: The source has its mark already, too.
        gone: Nothing is left at the source, as of a file that was put aside.
    """

    content: Content
    stored: bool = False
    done: bool = False
    gone: bool = False


async def plan_move(source: Site, target: Site) -> Move | None:
    """Look at what would be moved; nothing is changed.

    Returns:
        The move; None when the source has no state, and none was moved from there to the target.

    Raises:
        StateInvalid: The source is damaged, or its backend's digest or history speaks against it.
        UsageError: The target has content that is not the source's.
    """
    body = await source.versions.current()
    if body is None:
        return await _made_before(source, target)
    found = refusing(await source.versions.findings(None))
    if found:
        raise _damaged(source, "; ".join(finding.message for finding in found[:3]))
    return await _judge(source, target, body)


async def _made_before(source: Site, target: Site) -> Move | None:
    """Return the move that emptied the source; else the command that would finish the rest of it finds nothing."""
    if await _moved(source) != target.ref.address or await _moved(target) or await _moving(target):
        return None
    there = await target.versions.current()
    return None if there is None else Move(content=content_of(there), stored=True, done=True, gone=True)


async def _judge(source: Site, target: Site, body: bytes) -> Move:
    """Return what there is to do, or refuse it.

    Raises:
        UsageError: The state is somewhere else already, or one content would replace another.
    """
    there = await target.versions.current()
    marked, back = await _moved(source), await _moved(target)
    if marked and (marked != target.ref.address or there is None or back):
        raise _is_elsewhere(source, target, marked)
    for left, other in ((source, target), (target, source)):
        if (going := await _moving(left)) and (going != other.ref.address or left is target):
            raise _is_elsewhere(left, other, going, has_begun=True)
    if back and back != source.ref.address:
        raise _is_elsewhere(target, source, back)
    is_stored = there is not None and is_same(body, there)
    if marked:
        if not is_stored:
            await _check_is_old(source, target, body)
        return Move(content=content_of(body), stored=True, done=True)
    await _check_may_replace(source, target, body, there)
    return Move(content=content_of(body), stored=is_stored)


async def move(source: Site, target: Site, *, settle: Callable[[], Awaitable[None]] | None = None) -> Content:
    """Move a state, under the lock of the source; return what was moved.

    Args:
        source: Where it is.
        target: Where it is to be.
        settle: Done at the end, while the source is still locked.

    Raises:
        StateInvalid: The source is damaged, or what was read back is not what was written; the source has no mark then.
        LockHeld: Somebody works on one of the two.
        LeaseLost: The source was somebody else's meanwhile; it has no mark then.
        UsageError: The state is somewhere else already, or the target has content that is not the source's.
    """
    address = target.ref.address
    async with source.held(f"moving it to {address}", through=moving_to(address)) as seat:
        body = await source.versions.current()
        if body is None or (found := refusing(verify_state(body))):
            raise _damaged(source, "; ".join(each.message for each in found) if body else "it was deleted meanwhile")
        if (await _judge(source, target, body)).done:  # another command was quicker
            await _settled(settle)
            return content_of(body)
        await _close(source, target, body, seat)
        try:
            await _store(source, target, body)
        except BaseException:
            await _reopen(source, target, body, seat)
            raise
        await _mark(source, target, body, seat)
        await _settled(settle)
    return content_of(body)


async def _settled(settle: Callable[[], Awaitable[None]] | None) -> None:
    if settle is not None:
        await settle()


async def _close(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    """Let nobody in any more where the state is, before it is anywhere else.

    Raises:
        LeaseLost: The source was somebody else's meanwhile.
        PolicyGate: Somebody paused the state meanwhile, and that pause stands.
    """
    if source.coordinator is None or seat is None:
        return
    mark = moving_to(target.ref.address)
    queue, name, me = source.coordinator, source.ref.queue, source.home.me
    await queue.pause(name, by=me, reason=mark, while_held=seat.ticket)
    try:
        await _check_is_ours(source, target, body, seat, mark)
    except InterlockError:
        await queue.resume(name, by=me, reason=mark, while_held=seat.ticket)
        raise


async def _store(source: Site, target: Site, body: bytes) -> None:
    note = f"moved from {source.ref.address}"
    await target.versions.push(body, force=False, note=note, back_from=source.ref.address)
    read = await target.versions.current()
    if read is None or not is_same(read, body):
        raise StateInvalid(
            f"{target.ref.address} does not hold what {source.ref.address} has",
            why="it was read back and compared; the source was not touched",
            fix=f"repeat the command; compare: {command('state', 'verify', target.ref.queue)}",
        )


async def _reopen(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    """Open the source again after a failure, if the target can be seen not to have the state; else it stays closed."""
    if source.coordinator is None or seat is None:
        return
    with suppress(InterlockError):
        there = await target.versions.current()
        if there is None or not is_same(there, body):
            mark = moving_to(target.ref.address)
            await source.coordinator.resume(source.ref.queue, by=source.home.me, reason=mark, while_held=seat.ticket)


async def _mark(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    address = target.ref.address
    if source.coordinator is not None and seat is not None:
        queue, name, me = source.coordinator, source.ref.queue, source.home.me
        mark, before = moved_to(address), moving_to(address)
        await queue.pause(name, by=me, reason=mark, instead_of=before, while_held=seat.ticket)
        await _check_is_ours(source, target, body, seat, mark)
    content = content_of(body)
    facts: dict[str, Fact] = {"to": address, "serial": content.serial, "sha256": content.sha256}
    await source.home.audit.append(STATE_MOVED, subject=source.ref.address, by=source.home.me, facts=facts)


async def _check_is_ours(source: Site, target: Site, body: bytes, seat: Seat, mark: str) -> None:
    """See, now that nobody is granted any more, that what was moved is the newest and that the mark is there.

    A command that was stopped for longer than its lease, as by a suspended machine, may have been passed by a run.

    Raises:
        LeaseLost: It was.
        PolicyGate: Somebody paused the state meanwhile, and that pause stands.
    """
    assert source.coordinator is not None, "it has a queue"
    lock = (await source.coordinator.view(source.ref.queue)).lock
    is_held = holder_of(lock, ticket=seat.ticket, token=seat.token) is not None
    now = await source.versions.current()
    if not is_held or now is None or not is_same(now, body):
        raise LeaseLost(
            f"{source.ref.address} was not left: it was somebody else's meanwhile",
            why="this command was stopped for longer than its lease; what it stored at the target may be old",
            fix=f"repeat the command; compare first: {command('state', 'show', target.ref.queue)}",
        )
    if lock.pause is None or lock.pause.reason != mark:
        by = f"{lock.pause.by} paused it: {lock.pause.reason}" if lock.pause is not None else "somebody resumed it"
        raise PolicyGate(
            f"{source.ref.address} was not left: its queue was changed meanwhile",
            why=f"{by}; a state has one pause, and that one stands",
            fix=f"{command('queue', 'resume', source.ref.queue)}    then repeat the command",
        )


def _is_elsewhere(left: Site, other: Site, address: str, *, has_begun: bool = False) -> UsageError:
    """Return the refusal to make a second state of one that was moved to another place, or to another store.

    Args:
        left: The place that it left.
        other: Where it is to be, or comes from.
        address: Where it was moved.
        has_begun: That move was begun, and is not done.
    """
    if has_begun:
        why = "that move was begun and is not done, so the other place may have it"
    elif address == other.ref.address:
        why = f"{address} of this store ({other.home.place}) is not the one to which it was moved"
        if not other.ref.is_own:
            why = f"what is at {address} now is not what was moved there"
    else:
        why = f"a copy at {other.ref.address} would be a second state of the same objects"
    resume = command("queue", "resume", left.ref.queue)
    return UsageError(
        f"the state at {left.ref.address} {'is being moved' if has_begun else 'was moved'} to {address} already",
        why=f"{why}; the queue of {left.ref.queue} says who moved it",
        fix=f"{command('queue', 'ls', left.ref.queue)}    if that place is lost for good: {resume}",
    )


async def _check_may_replace(source: Site, target: Site, body: bytes, there: bytes | None) -> None:
    """Refuse to write over what does not come from the source: it would be lost for those who work there.

    Raises:
        UsageError: It does not, as far as can be seen.
    """
    if there is None or is_same(body, there):
        return
    # What was moved away from us nobody writes; of a backend only our queue is stopped, and plain Terraform goes on.
    if target.backend is None and await _moved(target) == source.ref.address:
        return
    if not await _has_version(source, there):
        raise UsageError(
            f"{target.ref.address} has content already, and it is not an earlier version of {source.ref.address}",
            why="one would replace the other",
            fix=f"{command('state', 'show', target.ref.queue)}    {_keep(source, target)}",
        )


async def _check_is_old(source: Site, target: Site, body: bytes) -> None:
    """Refuse to call a state moved that was written since at the place which it left.

    Raises:
        UsageError: It was.
    """
    # What we marked ourselves nobody wrote since, and a target without versions could not say so.
    if source.backend is not None and not await _has_version(target, body):
        raise UsageError(
            f"{source.ref.address} was written after its state was moved to {target.ref.address}",
            why="a Terraform that does not know of the move worked there; both have changes now",
            fix=f"{command('state', 'show', target.ref.queue)}    {_keep(source, target)}",
        )


def _keep(source: Site, target: Site) -> str:
    """Return how a person decides between two contents of one state."""
    pull = f"{command('state', 'pull', source.ref.queue)} > state.json"
    push = command("state", "push", "--force", "--state", target.ref.queue, "state.json")
    return f"or keep the one of {source.ref.address}: {pull}; {push}"


async def _has_version(site: Site, body: bytes) -> bool:
    serial = parse_state(body).serial
    with suppress(InterlockError):  # it keeps no such version, or none that can be read
        return is_same(await site.versions.body(f"serial:{serial}"), body)
    return False


async def _moved(site: Site) -> str:
    """Return where a state was moved, as its queue says; empty when it was not, or has no queue."""
    if site.coordinator is None:
        return ""
    return address_moved_to((await site.coordinator.view(site.ref.queue)).lock.pause)


async def _moving(site: Site) -> str:
    """Return where a state is being moved, as its queue says; empty when it is not, or has no queue."""
    if site.coordinator is None:
        return ""
    return address_moving_to((await site.coordinator.view(site.ref.queue)).lock.pause)


def content_of(body: bytes) -> Content:
    """Return what tells a state apart, for people and for the audit log."""
    document = parse_state(body)
    count = document.instance_count() if isinstance(document, Document) else None
    digest = hashlib.sha256(body).hexdigest()
    return Content(serial=document.serial, lineage=document.lineage, resources=count, sha256=digest)


def is_same(one: bytes, other: bytes) -> bool:
    """Say whether two stored states have the same content; of encrypted ones only the same bytes are known to."""
    if one == other:
        return True
    documents = [parse_state(one), parse_state(other)]
    plain = [each for each in documents if isinstance(each, Document)]
    return len(plain) == len(documents) and content_digest(plain[0]) == content_digest(plain[1])


def _damaged(site: Site, why: str) -> StateInvalid:
    return StateInvalid(
        f"the state at {site.ref.address} cannot be moved", why=why, fix=command("state", "verify", site.subject)
    )
