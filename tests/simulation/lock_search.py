"""Every order of events at a small scope: the lock, the protocol around it, and three clients that meet every mishap.

A breadth-first search over whole worlds. What is searched is the real code: `decide()`, and the steps of a LOCK
request that the server performs too (`backend/lock_request.py`). What is modelled is the rest: clients that ask,
repeat, give up, unlock; a network that loses, doubles, delays and reorders what they send and what they are told;
connections that close at any step; a store that fails before or after it wrote; a server that dies between two steps.
A broken promise is reported with the shortest way to it.

    python -m tests.simulation.lock_search [MINUTES]    searches larger scopes; says what it visited, and what not
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
import msgspec.structs
from msgspec import structs

from interlock.backend.lock_request import Ask, Listen, LockRequest, Phase, Reply, Step, Tell
from interlock.backend.protocol import Held, Take, Taken
from interlock.coordinator import standing_of
from interlock.lock import (
    NEW_LOCK,
    Announce,
    Bumped,
    Decision,
    Elapsed,
    Event,
    Grant,
    Lock,
    Notice,
    Priority,
    Released,
    Requested,
    StillWaiting,
    Withdrawn,
    decide,
    holder_of,
    waiter_of,
)
from interlock.lock.invariants import broken_rules, broken_steps
from interlock.lock.ticket import NOBODY_SAID, is_doubtful
from interlock.terraform.lockinfo import LockInfo

TOLD_EVERY = 10_000  # worlds: some seconds
NOW = datetime(2026, 1, 1, tzinfo=UTC)  # the world's instant never moves: when time passes, the record grows older
TICK_S = 9.0  # longer than the patience with a client that asked once, and than that with a broken connection


class Way(Enum):
    """How a client asks."""

    POLLS = "polls"
    WAITS = "waits"
    PLANS = "plans"
    """A supervised run of a lower class: it waits in its own process, not in a request."""


class At(Enum):
    """Where a client is with its lock id."""

    REST = "rest"
    ASKING = "asking"
    CUT = "cut"
    """It was refused, or its connection broke: it asks again, or gives up."""
    HOLDING = "holding"
    UNLOCKING = "unlocking"


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its number, how many lock ids it used up, where it is, and how often it has asked."""

    name: str
    way: Way
    used: int = 0
    at: At = At.REST
    tries: int = 0

    @property
    def lock_id(self) -> str:
        return f"{self.name}{self.used}"

    def next_id(self) -> Client:
        return replace(self, used=self.used + 1, at=At.REST, tries=0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A LOCK request that the server works on. `listened`: its client reads the answer (a copy has none)."""

    lock_id: str
    number: int
    request: LockRequest
    step: Step
    listened: bool
    closed: bool = False

    def __hash__(self) -> int:
        return hash((self.lock_id, self.number, self.request.phase, type(self.step), self.listened, self.closed))


@dataclass(frozen=True, slots=True)
class Scope:
    """What may happen how often in one history."""

    ways: tuple[Way, ...]
    ids: int = 2
    tries: int = 2
    faults: int = 1
    ticks: int = 1
    bumps: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """Everything there is. `excused`: a grant may have been lost to somebody who is gone, so one may be stranded."""

    clients: tuple[Client, ...]
    lock: Lock = NEW_LOCK
    attempts: tuple[Attempt, ...] = ()
    unlocks: tuple[str, ...] = ()
    ended: frozenset[str] = frozenset()
    bumped: frozenset[str] = frozenset()
    faults: int = 0
    ticks: int = 0
    bumps: int = 0
    excused: bool = False


class Broken(Exception):
    """A promise was broken by the latest event."""


Move = tuple[str, World]


@dataclass(frozen=True)
class Found:
    """The outcome of a search: how many worlds there are, and the shortest way to a broken promise."""

    worlds: int
    events: int
    promise: str = ""
    way: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.promise:
            return f"{self.worlds} worlds, {self.events} events: every promise holds"
        steps = "\n".join(f"  {n}. {label}" for n, label in enumerate(self.way, start=1))
        return f"{self.promise}\n{steps}\n({self.worlds} worlds were visited)"


def search(
    scope: Scope, *, most: int = sys.maxsize, reduce: bool = True, told: Callable[[int, int, int], None] | None = None
) -> Found:
    """Visit every world that can be reached within the scope, nearest first; stop at the first broken promise.

    Args:
        scope: What may happen how often.
        most: Worlds at most.
        reduce: Visit one of the worlds that differ only in the names of clients that ask alike; see `canonical`.
        told: Told after every so many worlds: worlds, events, how many wait to be looked at.
    """
    same = canonical if reduce else _as_it_is
    first = first_world(scope)
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    ahead, events = deque([first]), 0
    visited = 0
    while ahead:
        world = ahead.popleft()
        visited += 1
        if told is not None and visited % TOLD_EVERY == 0:
            told(len(came_from), events, len(ahead))
        for move in moves(world, scope):
            label, after = "", world
            try:
                label, after = move()
                check(world, after)
            except Broken as broken:
                return Found(len(came_from), events, str(broken), (*_way_to(world, came_from), label or broken.args[1]))
            events += 1
            after = same(after)
            if after not in came_from:
                if len(came_from) >= most:
                    raise AssertionError(f"more than {most} worlds: choose a smaller scope")
                came_from[after] = (world, label)
                ahead.append(after)
    return Found(len(came_from), events)


def first_world(scope: Scope) -> World:
    """Return the world in which nothing has happened yet."""
    clients = tuple(Client(name, way) for name, way in zip("abc", scope.ways, strict=False))
    return World(clients=clients, faults=scope.faults, ticks=scope.ticks, bumps=scope.bumps)


def _way_to(world: World, came_from: dict[World, tuple[World, str] | None]) -> tuple[str, ...]:
    labels: list[str] = []
    while (step := came_from[world]) is not None:
        world, label = step
        labels.append(label)
    return tuple(reversed(labels))


# -- which worlds are the same ----------------------------------------------------------------------------------------

_NAME = re.compile(r"\b([abc])(?=\d)")  # of a client, in its lock ids and what is made from them


def canonical(world: World) -> World:
    """Return the world in which clients that ask alike are named in the order of where they are.

    Nothing looks at a name but to compare it with another (a test tries that), so what may happen to two clients that
    ask alike may happen to them with their names exchanged, and one of the two histories need not be searched.
    """
    places = sorted(range(len(world.clients)), key=lambda n: (world.clients[n].way.value, _place(world, n), n))
    clients = tuple(world.clients[n] for n in places)
    names = [client.name for client in world.clients]
    if [client.name for client in clients] == names:
        return world
    spelling = tuple((client.name, name) for client, name in zip(clients, names, strict=True))
    return _renamed_world(replace(world, clients=clients), spelling)


def _as_it_is(world: World) -> World:
    return world


def _place(world: World, n: int) -> tuple[object, ...]:
    """Return where a client is, without its name; worlds may share it, then both are visited."""
    client, name = world.clients[n], world.clients[n].name
    lock = world.lock
    return (
        client.used,
        client.at.value,
        client.tries,
        tuple(place for place, holder in enumerate(lock.holders) if holder.ticket[0] == name),
        tuple(place for place, waiter in enumerate(lock.waiters) if waiter.ticket[0] == name),
        tuple(place for place, gone in enumerate(lock.departed) if gone.ticket[0] == name),
        tuple(sorted(_sight(attempt) for attempt in world.attempts if attempt.lock_id[0] == name)),
        tuple(lock_id[1:] for lock_id in world.unlocks if lock_id[0] == name),
        tuple(sorted(lock_id[1:] for lock_id in world.ended if lock_id[0] == name)),
        tuple(sorted(lock_id[1:] for lock_id in world.bumped if lock_id[0] == name)),
    )


def _sight(attempt: Attempt) -> tuple[str, int, str, str, bool, bool]:
    phase, step = attempt.request.phase.value, type(attempt.step).__name__
    return (attempt.lock_id[1:], attempt.number, phase, step, attempt.listened, attempt.closed)


Spelling = tuple[tuple[str, str], ...]
"""Old and new name of each client."""


_UNHASHABLE = (LockInfo, Held, Take, Taken)
"""A lock document has a mapping of what Terraform may add to it; so has what holds one."""


def _renamed_world(world: World, spelling: Spelling) -> World:
    names = dict(spelling)
    return replace(
        world,
        clients=tuple(replace(client, name=names[client.name]) for client in world.clients),
        lock=_renamed(world.lock, spelling),
        attempts=_sorted(tuple(_renamed(attempt, spelling) for attempt in world.attempts)),
        unlocks=tuple(_renamed(lock_id, spelling) for lock_id in world.unlocks),
        ended=frozenset(_renamed(lock_id, spelling) for lock_id in world.ended),
        bumped=frozenset(_renamed(lock_id, spelling) for lock_id in world.bumped),
    )


def _renamed(part: Any, spelling: Spelling) -> Any:
    """Return a part of a world with the clients' names exchanged in every text of it."""
    if isinstance(part, str):
        return _renamed_often(part, spelling)
    if isinstance(part, msgspec.Struct):
        return (_renamed_once if type(part) in _UNHASHABLE else _renamed_often)(part, spelling)
    if isinstance(part, tuple):
        return tuple(_renamed(one, spelling) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{each.name: _renamed(getattr(part, each.name), spelling) for each in fields(part)})
    assert not part or not isinstance(part, Mapping | set | frozenset | list), (
        "it may hold names, and nobody exchanges them"
    )
    return part


@lru_cache(maxsize=1 << 16)
def _renamed_often(part: str | msgspec.Struct, spelling: Spelling) -> Any:
    """Do so for what occurs in many worlds."""
    if isinstance(part, str):
        names = dict(spelling)
        return _NAME.sub(lambda found: names[found[1]], part)
    return _renamed_once(part, spelling)


def _renamed_once(part: msgspec.Struct, spelling: Spelling) -> Any:
    changed = {name: _renamed(getattr(part, name), spelling) for name in part.__struct_fields__}
    return msgspec.structs.replace(part, **changed)


# -- what must hold ---------------------------------------------------------------------------------------------------


def check(before: World, after: World) -> None:
    """Judge one event. Raises `Broken`."""
    if after.lock is not before.lock:
        for rule in (*broken_rules(after.lock), *broken_steps(before.lock, after.lock)):
            raise Broken(rule)
        _check_order(before, after)
    holding = {holder.ticket for holder in after.lock.holders}
    told = [client.lock_id for client in after.clients if client.at is At.HOLDING]
    if len(told) > 1:
        raise Broken(f"P1: {told[0]} and {told[1]} were both told that they hold the lock")
    if not holding.issuperset(told):
        raise Broken(f"P4: the lock was taken from {told[0]}, which was told that it holds it and has not unlocked")
    if after.ended & holding:
        raise Broken(f"P1: {min(after.ended & holding)} holds again after it unlocked")
    if not holding:
        _check_nobody_waits_at_a_free_lock(after)
    if not after.excused:
        _check_nothing_is_stranded(after, holding)


def _check_order(before: World, after: World) -> None:
    """P2: whoever is granted overtakes nobody of its class that was there and stood before it."""
    was_holding = {holder.ticket for holder in before.lock.holders}
    waited = {waiter.ticket: n for n, waiter in enumerate(before.lock.waiters)}
    for holder in after.lock.holders:
        if holder.ticket in was_holding:
            continue
        place = waited.get(holder.ticket, len(waited))
        for waiter in before.lock.waiters[:place]:
            stays = waiter_of(after.lock, ticket=waiter.ticket) is not None
            # Silent for half its patience is not there, though nobody has noted that yet. Else a request whose last
            # question takes its server nine seconds, while a copy of it is cut off, counts as overtaken: the question
            # is the sign of life, and it has not come.
            is_there = waiter.doubted_at is None and not is_doubtful(waiter, NOW)
            if stays and is_there and waiter.priority is holder.priority:
                raise Broken(f"P2: {holder.ticket} was granted before {waiter.ticket}, which came first and is there")
    for n, waiter in enumerate(after.lock.waiters):
        if waiter.ticket in after.bumped and any(w.ticket not in after.bumped for w in after.lock.waiters[:n]):
            raise Broken(f"P2: {waiter.ticket} was bumped, and {after.lock.waiters[0].ticket} passes it")


def _check_nobody_waits_at_a_free_lock(world: World) -> None:
    for attempt in world.attempts:
        waits = waiter_of(world.lock, ticket=attempt.lock_id) is not None
        if attempt.request.phase is Phase.LISTENING and not attempt.closed and waits:
            raise Broken(f"P2: nobody holds, {attempt.lock_id} is there and waits")
    for client in world.clients:
        if client.way is Way.PLANS and client.at is At.ASKING:
            waiter = waiter_of(world.lock, ticket=client.lock_id)
            if waiter is not None and waiter.doubted_at is None:
                raise Broken(f"P2: nobody holds, {client.lock_id} is there and waits")


def _check_nothing_is_stranded(world: World, holding: set[str]) -> None:
    known = {client.lock_id for client in world.clients if client.at in (At.HOLDING, At.UNLOCKING)}
    known |= {client.lock_id for client in world.clients if client.way is Way.PLANS and client.at is At.ASKING}
    known |= {attempt.lock_id for attempt in world.attempts}
    if holding - known:
        raise Broken(f"P2: {min(holding - known)} holds, nobody was told, and nobody will be")


# -- what may happen --------------------------------------------------------------------------------------------------


def moves(world: World, scope: Scope) -> Iterator[Callable[[], Move]]:
    """Yield everything that may happen next."""
    for n, client in enumerate(world.clients):
        yield from _by_client(world, scope, n, client)
    for attempt in world.attempts:
        yield from _by_server(world, attempt)
        if not attempt.closed and (world.faults or not attempt.listened):
            yield partial(_close, world, attempt)
    for lock_id in dict.fromkeys(world.unlocks):
        yield partial(_unlock, world, lock_id)
    if world.ticks:
        yield lambda: ("time passes", _later(world))
    if world.lock.waiters:
        yield lambda: ("the server looks for silent waiters", _told(world, Elapsed())[0])
    if world.bumps:
        for waiter in world.lock.waiters:
            yield partial(_bump, world, waiter.ticket)
    if world.faults:
        yield from _mishaps(world)


def _mishaps(world: World) -> Iterator[Callable[[], Move]]:
    less = replace(world, faults=world.faults - 1)
    for client in world.clients:
        for used in range(client.used + (client.at is not At.REST)):
            lock_id = f"{client.name}{used}"
            yield partial(_copy, less, lock_id, client.way)
    for lock_id in dict.fromkeys(world.unlocks):
        yield partial(_double_unlock, less, lock_id)
    if world.attempts:
        clients = tuple(
            replace(client, at=At.CUT) if client.at is At.ASKING and client.way is not Way.PLANS else client
            for client in world.clients
        )
        yield lambda: ("the server dies and comes back", replace(less, attempts=(), clients=clients, excused=True))


def _copy(world: World, lock_id: str, way: Way) -> Move:
    if way is Way.PLANS:
        return f"{lock_id}'s request arrives again", _told(world, _plan(lock_id))[0]
    return f"a copy of {lock_id}'s LOCK arrives", _with_attempt(
        world, lock_id, way, number=10 + world.faults, listened=False
    )


def _double_unlock(world: World, lock_id: str) -> Move:
    return f"{lock_id}'s UNLOCK is doubled", replace(world, unlocks=(*world.unlocks, lock_id))


def _by_client(world: World, scope: Scope, n: int, client: Client) -> Iterator[Callable[[], Move]]:
    match client.at:
        case At.REST if client.used < scope.ids:
            if client.way is Way.PLANS:
                yield lambda: _run_asks(world, n)
            else:
                yield lambda: _send(world, n)
        case At.CUT:
            if client.tries < scope.tries:
                yield lambda: _send(world, n)
            yield lambda: (f"{client.lock_id} gives up", _with_client(world, n, client.next_id()))
        case At.HOLDING:
            yield lambda: (
                f"{client.lock_id} sends UNLOCK",
                replace(
                    _with_client(world, n, replace(client, at=At.UNLOCKING)), unlocks=(*world.unlocks, client.lock_id)
                ),
            )
        case At.ASKING if client.way is Way.PLANS:
            if holder_of(world.lock, ticket=client.lock_id) is not None:
                yield lambda: (
                    f"{client.lock_id} hears of its grant",
                    _with_client(world, n, replace(client, at=At.HOLDING)),
                )
            yield lambda: _run_leaves(world, n)


def _send(world: World, n: int) -> Move:
    client = world.clients[n]
    asking = replace(client, at=At.ASKING, tries=client.tries + 1)
    after = _with_client(world, n, asking)
    again = " again" if client.tries else ""
    return f"{client.lock_id} sends LOCK{again}", _with_attempt(
        after, client.lock_id, client.way, number=asking.tries, listened=True
    )


def _with_attempt(world: World, lock_id: str, way: Way, *, number: int, listened: bool) -> World:
    wish = Take(info=LockInfo(id=lock_id, who=lock_id), wait_s=600.0 if way is Way.WAITS else 0.0)
    request, step = LockRequest(wish=wish, who="", attempt=f"{lock_id}.{number}").begin(world.lock, now=NOW)
    attempt = Attempt(lock_id, number, request, step, listened)
    return replace(world, attempts=_sorted((*world.attempts, attempt)))


def _by_server(world: World, attempt: Attempt) -> Iterator[Callable[[], Move]]:
    """Yield what the server may do next with one request."""
    name = f"{attempt.lock_id}{'' if attempt.listened else ' (copy)'}"
    match attempt.step:
        case Ask(request=request):
            yield lambda: _ask(world, attempt, request)
            if world.faults:
                less = replace(world, faults=world.faults - 1, excused=True)
                yield lambda: (f"the store fails {name}", _failed(less, attempt))
                yield lambda: (
                    f"the store hears {name}, its reply is lost",
                    _failed(_told(less, request)[0], attempt),
                )
        case Listen():
            if attempt.closed:
                yield lambda: (f"the server finds {name} gone", _go_on(world, attempt, *attempt.request.closed()))
            elif (holder := holder_of(world.lock, ticket=attempt.lock_id)) is not None:
                counted = attempt.request.attempt in holder.attempts or NOBODY_SAID in holder.attempts
                lost = attempt.request.waited(world.lock, now=NOW, moved=False)
                after = attempt.request.granted() if counted else lost
                yield lambda: (f"{name} hears of its grant", _go_on(world, attempt, *after))
            elif waiter_of(world.lock, ticket=attempt.lock_id) is None:
                yield lambda: (f"{name} hears that it ended", _learn(_over(world, attempt), attempt, holds=False))
            else:
                waited = attempt.request.waited(world.lock, now=NOW, moved=False)
                yield lambda: (f"{name} waited long enough", _go_on(world, attempt, *waited))
        case Tell(event=event):
            yield lambda: (f"{name} is left", _over(_told(world, event)[0], attempt))
        case Reply(outcome=outcome):
            yield from _answers(world, attempt, outcome, name)


def _ask(world: World, attempt: Attempt, request: Requested) -> Move:
    after, decision = _told(world, request)
    if decision.refused is not None:
        return f"{attempt.lock_id} is refused for good", _learn(_over(after, attempt), attempt, holds=False)
    lock = after.lock
    party = holder_of(lock, ticket=request.ticket) or waiter_of(lock, ticket=request.ticket)
    assert party is not None
    standing = standing_of("s", lock, party.ticket)
    speaks = not attempt.closed
    label = f"the lock hears {attempt.lock_id} ({attempt.request.phase.value})"
    if speaks and not world.lock.holders and standing.token is None:
        raise Broken(f"P2: nobody holds, {attempt.lock_id} speaks and is not granted", label)
    return label, _go_on(after, attempt, *attempt.request.stood(standing, gone=attempt.closed))


def _answers(world: World, attempt: Attempt, outcome: Taken | Held, name: str) -> Iterator[Callable[[], Move]]:
    code, holds = (200, True) if isinstance(outcome, Taken) else (423, False)
    if attempt.closed:
        yield lambda: (f"{code} to {name} is sent into nothing", replace(_over(world, attempt), excused=True))
        if holds:
            yield lambda: (f"{code} to {name} cannot be sent", _go_on(world, attempt, *attempt.request.closed()))
        return
    yield lambda: (f"{name} is told {code}", _learn(_over(world, attempt), attempt, holds=holds))
    if world.faults and attempt.listened:
        less = replace(world, faults=world.faults - 1, excused=True)
        yield lambda: (f"{code} to {name} is lost", _learn(_over(less, attempt), attempt, holds=False))


def _failed(world: World, attempt: Attempt) -> World:
    """Answer 503, and call the attempt off as the server does."""
    _, step = attempt.request.closed()
    return _learn(_over(_told(world, step.event)[0], attempt), attempt, holds=False)


def _learn(world: World, attempt: Attempt, *, holds: bool) -> World:
    """Let the client of this attempt hear its answer: it holds, or it does not."""
    for n, client in enumerate(world.clients):
        if client.lock_id == attempt.lock_id and client.at is At.ASKING and attempt.listened and not attempt.closed:
            return _with_client(world, n, replace(client, at=At.HOLDING if holds else At.CUT))
    return replace(world, excused=True) if holds else world


def _close(world: World, attempt: Attempt) -> Move:
    after = _with(world, attempt, replace(attempt, closed=True))
    if not attempt.listened:
        return f"the connection of {attempt.lock_id}'s copy closes", after
    return f"{attempt.lock_id}'s connection closes", replace(
        _learn(after, attempt, holds=False), faults=world.faults - 1
    )


def _unlock(world: World, lock_id: str) -> Move:
    way = next(client.way for client in world.clients if client.name == lock_id[0])
    after, _ = _told(world, Released(ticket=lock_id, lock_id=None if way is Way.PLANS else lock_id))
    unlocks = list(world.unlocks)
    unlocks.remove(lock_id)
    after = replace(after, unlocks=tuple(unlocks), ended=after.ended | {lock_id})
    for n, client in enumerate(world.clients):
        if client.lock_id == lock_id and client.at is At.UNLOCKING:
            after = _with_client(after, n, client.next_id())
    return f"{lock_id} is unlocked", after


def _bump(world: World, ticket: str) -> Move:
    after, decision = _told(replace(world, bumps=world.bumps - 1), Bumped(ticket=ticket))
    return f"{ticket} is bumped", after if decision.refused else replace(after, bumped=after.bumped | {ticket})


def _plan(lock_id: str) -> Requested:
    return Requested(ticket=lock_id, who="", priority=Priority.PLAN, lease_s=60.0, patience_s=15.0, attempt=lock_id)


def _run_asks(world: World, n: int) -> Move:
    client = world.clients[n]
    after, _ = _told(world, _plan(client.lock_id))
    return f"run {client.lock_id} asks", _with_client(after, n, replace(client, at=At.ASKING))


def _run_leaves(world: World, n: int) -> Move:
    client = world.clients[n]
    after, _ = _told(world, Withdrawn(ticket=client.lock_id, attempt=client.lock_id))
    return f"run {client.lock_id} leaves", _with_client(after, n, client.next_id())


# -- small changes of a world -----------------------------------------------------------------------------------------


def _told(world: World, event: Event) -> tuple[World, Decision]:
    decision = decide(world.lock, event, now=NOW)
    for effect in decision.effects:
        if isinstance(effect, Grant):
            assert holder_of(decision.lock, ticket=effect.ticket, token=effect.token)
    # Silent for its whole patience it lost its place, and with that the promise to whoever bumped it.
    dropped = {each.ticket for each in decision.effects if isinstance(each, Announce) and each.notice is Notice.DROPPED}
    return replace(world, lock=decision.lock, bumped=world.bumped - dropped), decision


def _go_on(world: World, attempt: Attempt, request: LockRequest, step: Step) -> World:
    return _with(world, attempt, replace(attempt, request=request, step=step))


def _with(world: World, old: Attempt, new: Attempt) -> World:
    return replace(world, attempts=_sorted(tuple(new if one is old else one for one in world.attempts)))


def _over(world: World, attempt: Attempt) -> World:
    return replace(world, attempts=tuple(one for one in world.attempts if one is not attempt))


def _sorted(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return tuple(sorted(attempts, key=lambda one: (one.lock_id, one.number)))


def _with_client(world: World, n: int, client: Client) -> World:
    return replace(world, clients=(*world.clients[:n], client, *world.clients[n + 1 :]))


def _later(world: World) -> World:
    """Let time pass; whoever waits in a living process shows its sign of life meanwhile."""
    waiting = {attempt.lock_id for attempt in world.attempts if attempt.request.phase is Phase.LISTENING}
    waiting |= {client.lock_id for client in world.clients if client.way is Way.PLANS and client.at is At.ASKING}
    older = replace(world, lock=_older(world.lock), ticks=world.ticks - 1)
    return _told(older, StillWaiting(tickets=frozenset(waiting)))[0]


def _older(lock: Lock) -> Lock:
    """Return the lock as it is when `TICK_S` have passed."""
    by = timedelta(seconds=TICK_S)
    waiters = tuple(
        structs.replace(
            waiter,
            joined_at=waiter.joined_at - by,
            seen_at=waiter.seen_at - by,
            doubted_at=waiter.doubted_at - by if waiter.doubted_at else None,
        )
        for waiter in lock.waiters
    )
    return structs.replace(lock, waiters=waiters)


SCOPES: Final = (
    # small ones first: each is finished before the next begins, and what was finished is said
    Scope(ways=(Way.POLLS,) * 3, ids=1, tries=2, faults=1),
    Scope(ways=(Way.WAITS,) * 3, ids=1, tries=1, faults=1),
    Scope(ways=(Way.PLANS, Way.POLLS, Way.WAITS), ids=1, tries=1, faults=1, bumps=1),
    Scope(ways=(Way.WAITS, Way.POLLS, Way.POLLS), ids=1, tries=2, faults=1),
    Scope(ways=(Way.POLLS,) * 2, ids=2, tries=2, faults=1),
    # nobody has seen the end of these
    Scope(ways=(Way.WAITS,) * 2, ids=2, tries=2, faults=1),
    Scope(ways=(Way.POLLS,) * 2, ids=2, tries=1, faults=2),
    Scope(ways=(Way.POLLS,) * 2, ids=2, tries=2, faults=2),
    Scope(ways=(Way.WAITS,) * 2, ids=2, tries=2, faults=2),
    Scope(ways=(Way.POLLS,) * 3, ids=2, tries=1, faults=1),
    Scope(ways=(Way.POLLS,) * 3, ids=2, tries=2, faults=2),
)


class _OutOfTime(Exception):
    pass


def _main(minutes: float) -> int:
    """Search one scope after the other until the time is up; return 1 when a promise is broken."""
    until_s = time.monotonic() + 60 * minutes
    for number, scope in enumerate(SCOPES):
        began_s = time.monotonic()
        print(f"{number + 1} of {len(SCOPES)}: {_spelled(scope)}", flush=True)  # noqa: T201 - this is a command
        try:
            found = search(scope, told=partial(_tell, began_s, until_s))
        except _OutOfTime:
            left = len(SCOPES) - number
            print(f"{minutes:g} minutes are over: {number} scopes were searched wholly, {left} were not")  # noqa: T201
            return 0
        print(f"  {found} ({time.monotonic() - began_s:.0f} s)", flush=True)  # noqa: T201
        if found.promise:
            return 1
    return 0


def _spelled(scope: Scope) -> str:
    ways = ", ".join(way.value for way in scope.ways)
    return f"{ways}; ids {scope.ids}, tries {scope.tries}, mishaps {scope.faults}, promotions {scope.bumps}"


def _tell(began_s: float, until_s: float, worlds: int, events: int, ahead: int) -> None:
    now_s = time.monotonic()
    print(f"  {now_s - began_s:.0f} s: {worlds} worlds, {events} events, {ahead} to look at", flush=True)  # noqa: T201
    if now_s > until_s:
        raise _OutOfTime


if __name__ == "__main__":
    sys.exit(_main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
