"""Whose request is next, across classes and runs.

Between classes: each has a weight, and the class that got least for its weight goes first. Inside a class: deficit
round robin between flows (a run, or a named client). Inside a flow: first come, first served, but a request whose own
endpoint has no room does not hold up the others. So nobody is starved, and a flow with a thousand requests costs
another flow one turn, not a thousand.

Changes in place, like the queue it is; one admission owns it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from interlock.lock import Priority

WEIGHTS: Mapping[Priority, float] = {Priority.APPLY: 8.0, Priority.PLAN: 3.0, Priority.DRIFT: 1.0}
"""Shares of the budget when all classes want more than there is: 8/12, 3/12, 1/12."""

_LAG_MAX = 8.0  # how far a class that could not go may fall behind and be owed, in requests per unit of weight
QUANTUM = 1.0

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Entry(Generic[Item]):
    """One waiting request: what `add` returns and `next` and `remove` take.

    Attributes:
        item: The request.
        flow: Whose it is.
        priority: The flow's class.
        group: What it needs beside a turn; entries of one group can all go, or none can.
        order: Place inside flow and group; lower goes first.
        cost: What it counts for in fairness.
        waiting: False once it was served or removed.
    """

    item: Item
    flow: str
    priority: Priority
    group: Hashable
    order: float
    cost: float = 1.0
    waiting: bool = True


_Heap = list[tuple[float, int, Entry[Item]]]


@dataclass(slots=True)
class _Flow(Generic[Item]):
    name: str
    groups: dict[Hashable, _Heap[Item]] = field(default_factory=dict)
    deficit: float = 0.0

    def head(self, may_go: Callable[[Hashable], bool]) -> Entry[Item] | None:
        """Return the first entry of any group that can go."""
        best: tuple[float, int, Entry[Item]] | None = None
        for group in list(self.groups):
            first = self._first(group)
            if first is not None and (best is None or first < best) and may_go(group):
                best = first
        return best[2] if best else None

    def _first(self, group: Hashable) -> tuple[float, int, Entry[Item]] | None:
        heap = self.groups[group]
        while heap and not heap[0][2].waiting:
            heapq.heappop(heap)
        if not heap:
            del self.groups[group]
            return None
        return heap[0]


@dataclass(slots=True)
class _Class(Generic[Item]):
    weight: float
    served: float = 0.0  # cost served, divided by the weight: the class's own time
    turns: deque[_Flow[Item]] = field(default_factory=deque)
    waiting: int = 0


class Turns(Generic[Item]):
    """Everybody who waits.

    Args:
        weights: Of each class.
    """

    def __init__(self, weights: Mapping[Priority, float] = WEIGHTS) -> None:
        self._classes: dict[Priority, _Class[Item]] = {each: _Class(weight=weights[each]) for each in Priority}
        self._flows: dict[tuple[Priority, str], _Flow[Item]] = {}
        self._waiting: dict[tuple[Priority, str], int] = {}
        self._serial = 0

    def __len__(self) -> int:
        """How many wait."""
        return sum(each.waiting for each in self._classes.values())

    def waiting(self, priority: Priority) -> int:
        """How many of a class wait."""
        return self._classes[priority].waiting

    def waiting_of(self, flow: str) -> int:
        """How many of a flow wait, over all classes."""
        return sum(self._waiting.get((each, flow), 0) for each in Priority)

    def weight(self, priority: Priority) -> float:
        """The weight of a class."""
        return self._classes[priority].weight

    def flows(self, priority: Priority) -> int:
        """How many flows of a class wait."""
        return sum(1 for key in self._waiting if key[0] is priority)

    def add(self, entry: Entry[Item]) -> None:
        """Let an entry wait."""
        key = (entry.priority, entry.flow)
        queue = self._classes[entry.priority]
        if queue.waiting == 0:
            self._catch_up(queue)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow(name=entry.flow)
            queue.turns.append(flow)
        self._serial += 1
        heapq.heappush(flow.groups.setdefault(entry.group, []), (entry.order, self._serial, entry))
        queue.waiting += 1
        self._waiting[key] = self._waiting.get(key, 0) + 1

    def remove(self, entry: Entry[Item]) -> None:
        """Let an entry wait no more (its client left, or its time is up); nothing happens when it is gone already."""
        if not entry.waiting:
            return
        self._done(entry)
        self._tidy(entry)

    def next(self, may_go: Callable[[Hashable], bool]) -> Entry[Item] | None:
        """Serve one: the entry whose turn it is among those whose group may go now; None when none may.

        Args:
            may_go: Says whether an entry of a group could go now; asked for the same instant throughout.
        """
        for queue in sorted(self._active(), key=_owed_first):
            entry = self._round(queue, may_go)
            if entry is not None:
                queue.served += entry.cost / queue.weight
                self._limit_lag(queue.served)
                return entry
        return None

    def entries(self) -> Iterator[Entry[Item]]:
        """Everybody who waits, in no order."""
        for flow in self._flows.values():
            for heap in flow.groups.values():
                yield from (entry for _, _, entry in heap if entry.waiting)

    def _round(self, queue: _Class[Item], may_go: Callable[[Hashable], bool]) -> Entry[Item] | None:
        """One pass over the flows of a class, or as many as the largest cost needs."""
        while True:
            someone = False
            for flow in list(queue.turns):
                head = flow.head(may_go)
                if head is None:
                    continue
                someone = True
                if flow.deficit < head.cost:
                    flow.deficit += QUANTUM
                if flow.deficit >= head.cost:
                    flow.deficit -= head.cost
                    self._serve(queue, flow, head)
                    return head
            if not someone:
                return None

    def _serve(self, queue: _Class[Item], flow: _Flow[Item], entry: Entry[Item]) -> None:
        self._done(entry)
        if flow.deficit < QUANTUM:
            queue.turns.remove(flow)
            queue.turns.append(flow)
        self._tidy(entry)

    def _done(self, entry: Entry[Item]) -> None:
        entry.waiting = False
        key = (entry.priority, entry.flow)
        self._classes[entry.priority].waiting -= 1
        self._waiting[key] -= 1

    def _tidy(self, entry: Entry[Item]) -> None:
        """Forget a flow in which nobody waits; an idle flow saves up nothing."""
        key = (entry.priority, entry.flow)
        if self._waiting.get(key) == 0:
            del self._waiting[key]
            self._classes[entry.priority].turns.remove(self._flows.pop(key))

    def _active(self) -> list[_Class[Item]]:
        return [each for each in self._classes.values() if each.waiting]

    def _catch_up(self, queue: _Class[Item]) -> None:
        """A class that was idle starts where the others are: idling earns no credit."""
        others = [each.served for each in self._active()]
        queue.served = max([queue.served, *([min(others)] if others else [])])

    def _limit_lag(self, served: float) -> None:
        for each in self._classes.values():
            each.served = max(each.served, served - _LAG_MAX)


def _owed_first(queue: _Class[Item]) -> tuple[float, float]:
    return (queue.served, -queue.weight)
