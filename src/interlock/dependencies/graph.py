"""What needs what: nodes, edges with their evidence, cycles, waves.

A node is a resource of the configuration, spelled without instance keys. With several root modules the folder of the
root stands in front: `infra/prod//genesyscloud_user.ada`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Final

from interlock.dependencies.digraph import Digraph
from interlock.source.tree import Span

MAX_NODES: Final = 100_000  # the largest state reported to us has 40,000 instances
MAX_SHORTEST: Final = 500  # nodes of one knot from which the shortest circle is looked for


class Kind(Enum):
    """How we know that one needs the other."""

    REFERENCE = "reference"
    """The configuration says so, and Terraform sees it."""
    LITERAL_ID = "literal-id"
    """An id is written by hand; the state says whose it is."""
    NAME = "name"
    """An attribute, or a text in it, holds the name of a managed object."""
    LOOKUP = "lookup"
    """A data source looks up an object that is managed here."""
    MODULE_INPUT = "module-input"
    """A literal id is passed into a module."""
    CONTENT = "content"
    """A file or document that the resource uploads names the object."""
    COUPLING = "coupling"
    """The API demands it although nothing names the object: a number lies in a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Bytes `start` to `end` of a file become `text`."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What to write so that Terraform sees the dependency.

    Attributes:
        advice: For people: the exact reference or `depends_on`.
        edits: The change of the files; empty when a person must do it.
    """

    advice: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One resource or data source of the configuration.

    Attributes:
        id: Unique in the graph.
        root: The root module's folder.
        address: Its address there, without instance keys.
        module: The module path, empty in the root.
        instances: How many instances the state or plan has; 1 when neither is known.
        actions: What the plan does to them; empty without a plan.
    """

    id: str
    root: str
    address: str
    module: str
    mode: str
    type: str
    name: str
    span: Span | None = None
    instances: int = 1
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`source` needs `target`.

    Attributes:
        evidence: Why we believe it, one sentence.
        span: Where it stands.
        hidden: Terraform does not see it, so it may work in the wrong order.
        fix: How to make it seen; None when it is seen.
    """

    source: str
    target: str
    kind: Kind
    evidence: str = ""
    span: Span | None = None
    hidden: bool = False
    fix: Fix | None = None


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes by id, and edges between them; edges to unknown nodes are not kept."""

    nodes: Mapping[str, Node] = field(repr=False)
    edges: tuple[Edge, ...] = field(repr=False)

    @property
    def hidden(self) -> tuple[Edge, ...]:
        """The edges that Terraform does not see."""
        return tuple(edge for edge in self.edges if edge.hidden)

    def between(self, source: str, target: str) -> tuple[Edge, ...]:
        """Return every edge from one node to another, seen ones first."""
        return tuple(sorted(self._by_pair.get((source, target), ()), key=lambda edge: edge.hidden))

    def needs(self, node: str) -> tuple[str, ...]:
        """Return what a node needs directly, sorted."""
        return self._named(node, self._pairs.successors)

    def needed_by(self, node: str) -> tuple[str, ...]:
        """Return what needs a node directly, sorted."""
        return self._named(node, self._pairs.predecessors)

    def all_needs(self, node: str) -> frozenset[str]:
        """Return everything that a node needs, directly or not."""
        return frozenset(self._named(node, self._pairs.descendants))

    def all_needed_by(self, node: str) -> frozenset[str]:
        """Return everything that needs a node, directly or not."""
        return frozenset(self._named(node, self._pairs.ancestors))

    def reaches(self, source: str, target: str) -> bool:
        """Say whether `source` needs `target`, directly or not."""
        return source in self._places and target in self.all_needs(source)

    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Return the shortest circle of every knot: nodes in order, each needs the next and the last the first."""
        knots = [
            [self._names[place] for place in knot]
            for knot in self._pairs.knots()
            if len(knot) > 1 or knot[0] in self._pairs.successors(knot[0])
        ]
        return tuple(sorted(self._shortest(sorted(knot)) for knot in knots))

    def waves(self) -> tuple[tuple[str, ...], ...]:
        """Return the nodes in the order of work: a wave needs only earlier ones; a knot's nodes stand in one wave."""
        turned, knot_of = self._condensed()
        generations = turned.generations()
        members: dict[int, list[str]] = {}
        for name, knot in knot_of.items():
            members.setdefault(knot, []).append(name)
        return tuple(tuple(sorted(name for knot in generation for name in members[knot])) for generation in generations)

    def longest_way(self, weight: Callable[[str], float]) -> tuple[str, ...]:
        """Return the chain of nodes whose weights sum up highest, first to last in the order of work."""
        best: dict[str, tuple[float, str]] = {}
        for wave in self.waves():
            for name in wave:
                before = [(best[need][0], need) for need in self.needs(name) if need in best and need != name]
                most, via = max(before, default=(0.0, ""))
                best[name] = (most + weight(name), via)
        way: list[str] = []
        current = max(sorted(best), key=lambda name: best[name][0], default="")
        while current and current not in way:
            way.append(current)
            current = best[current][1]
        return tuple(reversed(way))

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.nodes)}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.nodes)

    @cached_property
    def _pairs(self) -> Digraph:
        """The edges as pairs of places."""
        places = self._places
        return Digraph(len(places), ((places[edge.source], places[edge.target]) for edge in self.edges))

    @cached_property
    def _by_pair(self) -> Mapping[tuple[str, str], list[Edge]]:
        pairs: dict[tuple[str, str], list[Edge]] = {}
        for edge in self.edges:
            pairs.setdefault((edge.source, edge.target), []).append(edge)
        return pairs

    def _named(self, node: str, of: Callable[[int], Iterable[int]]) -> tuple[str, ...]:
        place = self._places.get(node)
        return () if place is None else tuple(sorted(self._names[found] for found in of(place)))

    def _shortest(self, knot: Sequence[str]) -> tuple[str, ...]:
        inside = frozenset(knot)
        found = (self._circle(start, inside) for start in knot[:MAX_SHORTEST])
        return min((circle for circle in found if circle), key=len, default=tuple(knot))

    def _circle(self, start: str, inside: frozenset[str]) -> tuple[str, ...]:
        """Return the shortest circle through `start`, found breadth first."""
        came: dict[str, str] = {}
        pending = deque([start])
        while pending:
            current = pending.popleft()
            for need in self.needs(current):
                if need == start:
                    return tuple(_way_back(came, current, start))
                if need in inside and need not in came:
                    came[need] = current
                    pending.append(need)
        return ()

    def _condensed(self) -> tuple[Digraph, Mapping[str, int]]:
        """Return the graph with each knot as one node and its arrows turned, and the knot of every name."""
        knots = self._pairs.knots()
        knot_of = {self._names[place]: number for number, knot in enumerate(knots) for place in knot}
        pairs = {(knot_of[edge.target], knot_of[edge.source]) for edge in self.edges}
        return Digraph(len(knots), ((one, other) for one, other in pairs if one != other)), knot_of


def _way_back(came: Mapping[str, str], current: str, start: str) -> Iterator[str]:
    way = [current]
    while way[-1] != start:
        way.append(came[way[-1]])
    return reversed(way)


def build_graph(nodes: Iterable[Node], edges: Iterable[Edge]) -> Graph:
    """Make a graph; edges whose ends are not among the nodes, and doubled ones, are left out."""
    known = {node.id: node for node in nodes}
    kept = {
        (edge.source, edge.target, edge.kind, edge.evidence): edge
        for edge in edges
        if edge.source in known and edge.target in known and edge.source != edge.target
    }
    return Graph(nodes=known, edges=tuple(kept.values()))
