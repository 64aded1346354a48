"""What breaks if this changes or goes, and which resources must not be worked on at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from interlock.dependencies.graph import Edge, Graph
from interlock.genesys import conflicts
from interlock.genesys.resources import find_force_delete

MAX_RACES: Final = 1000  # pairs that are listed; more are only a symptom of one mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """One resource that needs the changed one.

    Attributes:
        node: The resource.
        via: The edges from it to the changed one, nearest first; the first one that is hidden is where it breaks
            without a word from Terraform.
    """

    node: str
    via: tuple[Edge, ...]

    @property
    def is_silent(self) -> bool:
        """Terraform does not know that this one is affected."""
        return any(edge.hidden for edge in self.via)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What depends on one resource.

    Attributes:
        node: The resource.
        affected: Everything that needs it, nearest first.
        warning: What its deletion does beyond that; empty when the API protects it.
    """

    node: str
    affected: tuple[Affected, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Two resources that nothing keeps apart although the API demands an order."""

    first: str
    second: str
    why: str


def find_impact(graph: Graph, node: str) -> Impact:
    """Return what needs a resource, each with the shortest way that says why."""
    came: dict[str, tuple[Edge, ...]] = {node: ()}
    pending = deque([node])
    while pending:
        current = pending.popleft()
        for dependant in graph.needed_by(current):
            if dependant not in came:
                came[dependant] = (graph.between(dependant, current)[0], *came[current])
                pending.append(dependant)
    kind = graph.nodes[node].type if node in graph.nodes else ""
    forced = find_force_delete(kind)
    affected = tuple(Affected(node=name, via=via) for name, via in came.items() if name != node)
    return Impact(node=node, affected=affected, warning=forced.effect if forced is not None else "")


def find_races(graph: Graph) -> tuple[Race, ...]:
    """Return the pairs that the API orders and nothing else does.

    A hidden edge is a race because Terraform may work on both ends at once, or in the wrong order.
    """
    found: dict[tuple[str, str], Race] = {}
    for race in _races(graph):
        if len(found) < MAX_RACES:
            found.setdefault((race.first, race.second), race)
    return tuple(found.values())


def _races(graph: Graph) -> Iterator[Race]:
    for edge in graph.hidden:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        yield Race(first=edge.target, second=edge.source, why=_answer(target.type, source.type))


def _answer(target: str, source: str) -> str:
    """Say what the API answers when the two are deleted in the wrong order."""
    for conflict in conflicts():
        if conflict.resource == target and conflict.action == "delete" and conflict.other in {source, "*"}:
            statuses = ", ".join(map(str, conflict.statuses))
            return f"deleting the first while the second uses it is refused ({statuses}); {conflict.provider_retries}"
    if find_force_delete(target) is not None:
        return "the first is force-deleted even while the second uses it"
    return "created or deleted in the wrong order, the second fails or points at nothing"
