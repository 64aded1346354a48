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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interlock.audit.announcing import announcing
from interlock.errors import InterlockError, LeaseLost, PolicyGate, StateInvalid, UsageError, command
from interlock.lock import Paused, Resumed, holder_of
from interlock.operate.policies import policies_of
from interlock.rights import Right
from interlock.site.act_entries import change_pause
from interlock.site.holding import is_review
from interlock.site.moved import (
    address_arriving_from,
    address_moved_to,
    address_moving_to,
    moved_to,
    moving_to,
    name_of,
)
from interlock.state import Document, content_digest, parse_state, refusing, verify_state

if TYPE_CHECKING:
    from interlock.audit.entry import Fact
    from interlock.coordinator import Coordinator
    from interlock.lock import Pause
    from interlock.run.surroundings import Seat
    from interlock.site.arriving import Brought
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
        brought: What became of its earlier versions; None where not both places keep ours.
        before: Another command had moved it when this one's turn came.
    """

    serial: int
    lineage: str
    resources: int | None
    sha256: str
    brought: Brought | None = None
    before: bool = False


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
        raise _damaged(source, target, "; ".join(finding.message for finding in found[:3]))
    await _check_no_review(source, target)
    for each in (source, target):
        await _check_not_held_back(each)
    return await _judge(source, target, body)


async def _check_no_review(source: Site, target: Site) -> None:
    """Refuse to wait for a review that only the place where the state is can end.

    Raises:
        StateInvalid: There is one.
    """
    pause = await _pause(source)
    if pause is not None and is_review(pause):
        raise StateInvalid(
            f"the state at {name_of(source, target)} is under review",
            why=pause.reason,
            fix=f"{_near(source, target)}{command('state', 'accept', source.subject)}",
        )


async def _check_not_held_back(site: Site) -> None:
    """Refuse to wait at a server for the end of a freeze, or for a window, with one place closed meanwhile.

    Raises:
        PolicyGate: The server would let nobody change the state now.
    """
    if not site.ref.is_own or site.home.team_runs is None:
        return
    held = (await policies_of(site.ref.queue, site.home))[1]
    if held is not None:
        raise PolicyGate(
            f"{site.ref.queue} is not moved now",
            why=f"{held.text}; {site.home.place} allows no change of it now",
            fix=command("policies", "show", site.ref.queue),
        )


async def _made_before(source: Site, target: Site) -> Move | None:
    """Return the move that emptied the source; else the command that would finish the rest of it finds nothing."""
    if await _moved(source) != name_of(target, source) or await _moved(target) or await _moving(target):
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
    if marked and (marked != name_of(target, source) or there is None or back):
        raise _is_elsewhere(source, target, marked)
    for left, other in ((source, target), (target, source)):
        if (going := await _moving(left)) and (going != name_of(other, left) or left is target):
            raise _is_elsewhere(left, other, going, has_begun=True)
        if (coming := await _arriving(left)) and (coming != name_of(other, left) or left is source):
            raise _is_on_its_way(left, other, coming)
    if back and back != name_of(source, target):
        raise _is_elsewhere(target, source, back)
    is_stored = there is not None and is_same(body, there)
    if marked:
        if not is_stored:
            await _check_is_old(source, target, body)
        return Move(content=content_of(body), stored=True, done=True)
    await _check_may_replace(source, target, body, there)
    return Move(content=content_of(body), stored=is_stored)


async def move(
    source: Site, target: Site, *, settle: Callable[[], Awaitable[None]] | None = None, history: bool = True
) -> Content:
    """Move a state, under the lock of the source; return what was moved.

    Args:
        source: Where it is.
        target: Where it is to be.
        settle: Done at the end, while the source is still locked.
        history: Take earlier versions along, where both places keep them.

    Raises:
        StateInvalid: The source is damaged, or what was read back is not what was written; the source has no mark then.
        LockHeld: Somebody works on one of the two.
        LeaseLost: The source was somebody else's meanwhile; it has no mark then.
        UsageError: The state is somewhere else already, or the target has content that is not the source's.
        AuthenticationFailed: Our token may not close it, or not close or open the target; nothing was changed then.
    """
    address = name_of(target, source)
    await _check_may_close(source, target, history=history)
    async with source.held(f"moving it to {address}", through=moving_to(address)) as seat:
        body = await source.versions.current()
        if body is None or (found := refusing(verify_state(body))):
            why = "; ".join(each.message for each in found) if body else "it was deleted meanwhile"
            raise _damaged(source, target, why)
        if (await _judge(source, target, body)).done:  # another command was quicker
            await _settled(settle)
            return replace(content_of(body), before=True)
        await _check_two_stores(source, target, seat)
        await _close(source, target, body, seat)
        try:
            brought = await _store(source, target, body, history=history)
        except BaseException:
            await _reopen(source, target, body, seat)
            raise
        await _mark(source, target, body, seat)
        await _settled(settle)
    return replace(content_of(body), brought=brought)


async def _check_may_close(source: Site, target: Site, *, history: bool) -> None:
    """Refuse what a server would refuse only when the source is closed already, and might not be opened again.

    Raises:
        AuthenticationFailed: Our token may not do it.
    """
    await source.home.check_may(Right.FREEZE, source.ref.queue)
    marked = await _moved(target) or await _arriving(target)
    if marked or (history and keeps_history(source, target)):
        await target.home.check_may(Right.FREEZE, target.ref.queue)


async def is_begun(source: Site) -> bool:
    """Say whether a state is closed since it is being moved; also where its place cannot be asked."""
    with suppress(InterlockError):
        return bool(await _moving(source))
    return True


async def _settled(settle: Callable[[], Awaitable[None]] | None) -> None:
    if settle is not None:
        await settle()


async def _check_two_stores(source: Site, target: Site, seat: Seat | None) -> None:
    """Refuse to move a state to where it is: a server may keep its states in the very store of this machine.

    Both places have one queue then, which the move would close for good.

    Raises:
        UsageError: They are one.
    """
    if seat is None or not keeps_history(source, target):
        return
    there = (await target.own.home.coordinator.view(target.ref.queue)).lock
    if holder_of(there, ticket=seat.ticket, token=seat.token) is not None:
        raise UsageError(
            f"{source.ref.queue} is not moved: {source.home.place} and {target.home.place} are one store",
            why="the server keeps its states in the store of this machine, so the state is at the server already",
            fix=command("state", "show", source.ref.queue),
        )


async def _close(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    """Let nobody in any more where the state is, before it is anywhere else.

    Raises:
        LeaseLost: The source was somebody else's meanwhile.
        PolicyGate: Somebody paused the state meanwhile, and that pause stands.
    """
    if source.coordinator is None or seat is None:
        return
    mark = moving_to(name_of(target, source))
    queue, me = source.coordinator, source.home.me
    await _tell(source, queue, Paused(by=me, reason=mark, while_held=seat.ticket))
    try:
        await _check_is_ours(source, target, body, seat, mark)
    except InterlockError:
        await _tell(source, queue, Resumed(by=me, reason=mark, while_held=seat.ticket))
        raise


def keeps_history(source: Site, target: Site) -> bool:
    """Say whether earlier versions can be brought along: both places keep ours, and not in one chain."""
    return source.ref.is_own and target.ref.is_own and source.home is not target.home


async def _store(source: Site, target: Site, body: bytes, *, history: bool) -> Brought | None:
    from interlock.site.arriving import receive

    came_from = name_of(source, target)
    brought = None
    if history and keeps_history(source, target):
        brought = await receive(target.own, source.own, body, came_from=came_from)
    else:
        await target.versions.push(body, force=False, note=f"moved from {came_from}", back_from=came_from)
    read = await target.versions.current()
    if read is None or not is_same(read, body):
        raise StateInvalid(
            f"{name_of(target, source)} does not hold what {name_of(source, target)} has",
            why="it was read back and compared; the source was not touched",
            fix=f"repeat the command; compare: {command('state', 'verify', target.ref.queue)}",
        )
    return brought


async def _reopen(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    """Open the source again after a failure, if the target can be seen not to have the state; else it stays closed."""
    if source.coordinator is None or seat is None:
        return
    with suppress(InterlockError):
        there = await target.versions.current()
        if there is None or not is_same(there, body):
            mark = moving_to(name_of(target, source))
            ended = Resumed(by=source.home.me, reason=mark, while_held=seat.ticket)
            await _tell(source, source.coordinator, ended)


async def _mark(source: Site, target: Site, body: bytes, seat: Seat | None) -> None:
    address, content, me = name_of(target, source), content_of(body), source.home.me
    facts: dict[str, Fact] = {"to": address, "serial": content.serial, "sha256": content.sha256}
    async with announcing(source.home.audit, by=me) as announce:
        await announce(STATE_MOVED, subject=source.ref.address, facts=facts)
        if source.coordinator is not None and seat is not None:
            mark, before = moved_to(address), moving_to(address)
            paused = Paused(by=me, reason=mark, instead_of=before, while_held=seat.ticket)
            await _tell(source, source.coordinator, paused)
            await _check_is_ours(source, target, body, seat, mark)


async def _tell(source: Site, queue: Coordinator, event: Paused | Resumed) -> None:
    await change_pause(queue, source.ref.queue, event, home=source.home, subject=source.ref.address)


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
            f"{name_of(source, target)} was not left: it was somebody else's meanwhile",
            why="this command was stopped for longer than its lease; what it stored at the target may be old",
            fix=f"repeat the command; compare first: {command('state', 'show', target.ref.queue)}",
        )
    if lock.pause is None or lock.pause.reason != mark:
        by = f"{lock.pause.by} paused it: {lock.pause.reason}" if lock.pause is not None else "somebody resumed it"
        raise PolicyGate(
            f"{name_of(source, target)} was not left: its queue was changed meanwhile",
            why=f"{by}; a state has one pause, and that one stands",
            fix=f"{_near(source, target)}{command('queue', 'resume', source.ref.queue)}    then repeat the command",
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
    elif address == name_of(other, left):
        why = f"{other.ref.address} of this store ({other.home.place}) is not the one to which it was moved"
        if not other.ref.is_own:
            why = f"what is at {address} now is not what was moved there"
    else:
        why = f"a copy at {name_of(other, left)} would be a second state of the same objects"
    resume = command("queue", "resume", left.ref.queue)
    return UsageError(
        f"the state at {name_of(left, other)} {'is being moved' if has_begun else 'was moved'} to {address} already",
        why=f"{why}; the queue of {left.ref.queue} says who moved it",
        fix=f"{_near(left, other)}{command('queue', 'ls', left.ref.queue)}    if that place is lost for good: {resume}",
    )


def _is_on_its_way(left: Site, other: Site, address: str) -> UsageError:
    """Return the refusal to take along, or to mix, what is not all there yet."""
    return UsageError(
        f"the state at {name_of(left, other)} is being moved there from {address}, and not all of it is there",
        why="that move was begun and is not done",
        fix=f"repeat that move; the queue says who began it: {_near(left, other)}"
        f"{command('queue', 'ls', left.ref.queue)}",
    )


def _near(site: Site, other: Site) -> str:
    """Return what leads a person's next command to the store of this machine, where a server's is in use."""
    is_past = site.ref.is_own and site.home.team_runs is None and other.home.team_runs is not None
    return f"{command('logout')}    then: " if is_past else ""


async def _check_may_replace(source: Site, target: Site, body: bytes, there: bytes | None) -> None:
    """Refuse to write over what does not come from the source: it would be lost for those who work there.

    Raises:
        UsageError: It does not, as far as can be seen.
    """
    if there is None or is_same(body, there):
        return
    # What was moved away from us nobody writes; of a backend only our queue is stopped, and plain Terraform goes on.
    came_from = name_of(source, target)
    if target.backend is None and came_from in {await _moved(target), await _arriving(target)}:
        return
    if not await _has_version(source, there):
        raise UsageError(
            f"{name_of(target, source)} has content already, and it is not an earlier version of "
            f"{name_of(source, target)}",
            why="one would replace the other",
            fix=_decide(source, target),
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


def _decide(source: Site, target: Site) -> str:
    """Return what a person looks at, and does, where two states have one name."""
    if source.home is target.home:
        return f"{command('state', 'show', target.ref.queue)}    {_keep(source, target)}"
    name = source.ref.queue
    if target.home.team_runs is None:
        return f"{command('state', 'export', name, '--as', f'{name}-2')}    keeps both"
    both = command("state", "import", name, "--as", f"{name}-2")
    return f"{command('state', 'show', target.ref.queue)}    to keep both: {both}"


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


async def _pause(site: Site) -> Pause | None:
    """Return what pauses a state's queue; None for one that has no queue."""
    return None if site.coordinator is None else (await site.coordinator.view(site.ref.queue)).lock.pause


async def _moved(site: Site) -> str:
    """Return where a state was moved; empty when it was not."""
    return address_moved_to(await _pause(site))


async def _moving(site: Site) -> str:
    """Return where a state is being moved; empty when it is not."""
    return address_moving_to(await _pause(site))


async def _arriving(site: Site) -> str:
    """Return from where a state is still being moved here; empty when it is not."""
    return address_arriving_from(await _pause(site))


def content_of(body: bytes) -> Content:
    """Return what tells a state apart, for people and for the audit log."""
    document = parse_state(body)
    count = document.instance_count() if isinstance(document, Document) else None
    digest = hashlib.sha256(body).hexdigest()
    return Content(serial=document.serial, lineage=document.lineage, resources=count, sha256=digest)


def is_same(one: bytes, other: bytes) -> bool:
    """Say whether two stored states are one state with one content; of encrypted ones only the same bytes are known to.

    Two of another lineage are two states, however alike they are: all empty ones are.
    """
    if one == other:
        return True
    documents = [parse_state(one), parse_state(other)]
    plain = [each for each in documents if isinstance(each, Document)]
    if len(plain) != len(documents) or plain[0].lineage != plain[1].lineage:
        return False
    return content_digest(plain[0]) == content_digest(plain[1])


def _damaged(site: Site, other: Site, why: str) -> StateInvalid:
    return StateInvalid(
        f"the state at {name_of(site, other)} cannot be moved",
        why=why,
        fix=f"{_near(site, other)}{command('state', 'verify', site.subject)}",
    )
