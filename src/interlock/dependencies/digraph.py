"""Directed graphs of numbered nodes: what is reached, knots, and generations. Pure.

A graph library did this before; its own dependency took a third of an installation's size (ADR 500).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class Digraph:
    """Nodes 0 to `count` - 1 and arrows between them, each once.

    Args:
        count: How many nodes.
        arrows: Pairs of source and target.
    """

    def __init__(self, count: int, arrows: Iterable[tuple[int, int]]) -> None:
        self._next: list[list[int]] = [[] for _ in range(count)]
        self._before: list[list[int]] = [[] for _ in range(count)]
        for source, target in sorted(set(arrows)):
            self._next[source].append(target)
            self._before[target].append(source)

    def successors(self, node: int) -> Sequence[int]:
        """Return where arrows from a node lead."""
        return self._next[node]

    def predecessors(self, node: int) -> Sequence[int]:
        """Return where arrows to a node come from."""
        return self._before[node]

    def descendants(self, node: int) -> set[int]:
        """Return what is reached from a node, without itself."""
        return _reached(self._next, node)

    def ancestors(self, node: int) -> set[int]:
        """Return what a node is reached from, without itself."""
        return _reached(self._before, node)

    def knots(self) -> list[list[int]]:
        """Return the strongly connected components; most have one node. Tarjan's algorithm, without recursion."""
        return list(_Knots(self._next).find())

    def generations(self) -> Iterator[list[int]]:
        """Yield the nodes of a graph without circles: each generation is reached only from earlier ones."""
        waits_for = [len(before) for before in self._before]
        ready = [node for node, count in enumerate(waits_for) if not count]
        while ready:
            yield ready
            following = []
            for node in ready:
                for target in self._next[node]:
                    waits_for[target] -= 1
                    if not waits_for[target]:
                        following.append(target)
            ready = following


def _reached(arrows: Sequence[Sequence[int]], start: int) -> set[int]:
    found: set[int] = set()
    pending = [start]
    while pending:
        for node in arrows[pending.pop()]:
            if node not in found:
                found.add(node)
                pending.append(node)
    return found - {start}


class _Knots:
    """One search for strongly connected components."""

    def __init__(self, arrows: Sequence[Sequence[int]]) -> None:
        self._arrows = arrows
        self._number = [-1] * len(arrows)  # in the order in which nodes are met
        self._low = [0] * len(arrows)  # the lowest number that is reached from there
        self._open: list[int] = []
        self._is_open = [False] * len(arrows)
        self._met = 0

    def find(self) -> Iterator[list[int]]:
        for start in range(len(self._arrows)):
            if self._number[start] < 0:
                yield from self._from(start)

    def _from(self, start: int) -> Iterator[list[int]]:
        way = [(start, iter(self._arrows[start]))]
        self._meet(start)
        while way:
            node, rest = way[-1]
            for target in rest:
                if self._number[target] < 0:
                    self._meet(target)
                    way.append((target, iter(self._arrows[target])))
                    break
                if self._is_open[target]:
                    self._low[node] = min(self._low[node], self._number[target])
            else:
                way.pop()
                if way:
                    above = way[-1][0]
                    self._low[above] = min(self._low[above], self._low[node])
                if self._low[node] == self._number[node]:
                    yield self._close(node)

    def _meet(self, node: int) -> None:
        self._number[node] = self._low[node] = self._met
        self._met += 1
        self._open.append(node)
        self._is_open[node] = True

    def _close(self, node: int) -> list[int]:
        knot: list[int] = []
        while not knot or knot[-1] != node:
            knot.append(self._open.pop())
            self._is_open[knot[-1]] = False
        return knot
