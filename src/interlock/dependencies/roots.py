"""Which root module needs which: by remote state, by a lookup of what another one makes, by `depends_on`. Pure.

Knows: root modules, where each has its state, the addresses that each reads. Knows no backend: whoever asks says what
a `terraform_remote_state` reads.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from interlock.dependencies.clues import World, lookups
from interlock.dependencies.graph import Edge, Graph, Kind, Node, build_graph
from interlock.dependencies.site import Root, list_sites
from interlock.errors import UsageError
from interlock.hcl import Module
from interlock.source.tree import Span, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRead:
    """One `terraform_remote_state` of a root module or of a module below it.

    Attributes:
        data: How the configuration calls it: `data.terraform_remote_state.network`.
        address: The address of the state that it reads; empty when that cannot be told.
        span: Where it stands.
    """

    data: str
    address: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RootModule:
    """One root module among several.

    Attributes:
        name: What people call it: its name in interlock.yaml, else that of its state.
        module: Its configuration.
        address: Where its state is; empty when that cannot be told.
        reads: The states that it reads.
        depends_on: Roots that interlock.yaml says it needs.
    """

    name: str
    module: Module = field(repr=False)
    address: str = ""
    reads: tuple[RemoteRead, ...] = ()
    depends_on: tuple[str, ...] = ()


class Reason(Enum):
    """How we know that one root needs another."""

    REMOTE_STATE = "remote-state"
    LOOKUP = "lookup"
    DECLARED = "depends-on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`root` needs `on`.

    Attributes:
        why: What was seen, one clause.
    """

    root: str
    on: str
    reason: Reason
    why: str


def find_needs(roots: Sequence[RootModule], tree: Tree) -> tuple[Need, ...]:
    """Return what the roots need of each other, sorted; what they need of anything else is left out.

    Args:
        roots: All of them.
        tree: The files beside the configuration: a flow's name is in its YAML.

    Raises:
        UsageError: A `depends_on` names no state of interlock.yaml.
    """
    found = [*_by_remote_state(roots), *_by_lookup(roots, tree), *_declared(roots)]
    kept = {(need.root, need.on, need.reason): need for need in reversed(found) if need.root != need.on}
    return tuple(sorted(kept.values(), key=lambda need: (need.root, need.on, need.reason.value)))


def _by_remote_state(roots: Sequence[RootModule]) -> Iterator[Need]:
    owners: dict[str, list[str]] = {}
    for root in roots:
        if root.address:
            owners.setdefault(root.address, []).append(root.name)
    for root in roots:
        for read in root.reads:
            for owner in owners.get(read.address, ()):
                why = f"{read.data} ({_place(read.span)}) reads its state"
                yield Need(root=root.name, on=owner, reason=Reason.REMOTE_STATE, why=why)


def _by_lookup(roots: Sequence[RootModule], tree: Tree) -> Iterator[Need]:
    """Yield the roots that make what a data source of another one looks up by name."""
    given = {root.name: Root(module=root.module) for root in roots}
    names = {id(root): name for name, root in given.items()}
    sites = tuple(site for root in given.values() for site in list_sites(root))
    world = World(sites=sites, tree=tree)
    for site in sites:
        for clue in lookups.find(site, world):
            if clue.target.root is not site.root:
                why = f"{clue.evidence} ({_place(clue.span)})"
                yield Need(root=names[id(site.root)], on=names[id(clue.target.root)], reason=Reason.LOOKUP, why=why)


def _declared(roots: Sequence[RootModule]) -> Iterator[Need]:
    known = {root.name for root in roots}
    for root in roots:
        for name in root.depends_on:
            if name in known:
                yield Need(root=root.name, on=name, reason=Reason.DECLARED, why="interlock.yaml says so (depends_on)")


def check_declared(depends_on: Mapping[str, Sequence[str]], states: Iterable[str]) -> None:
    """Refuse a `depends_on` that names no state: the order that somebody wanted would not be kept.

    Raises:
        UsageError: See above.
    """
    known = sorted(states)
    for root, names in depends_on.items():
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"state {root} depends on {name}, and interlock.yaml has no state of that name",
                    why=f"the nearest is {near[0]}" if near else "depends_on lists names under `states`",
                    fix=f"correct states.{root}.depends_on in interlock.yaml",
                )


def _place(span: Span) -> str:
    return f"{span.path.rpartition('/')[2]}:{span.line}"


def order_of(names: Sequence[str], needs: Iterable[Need]) -> tuple[tuple[str, ...], ...]:
    """Return the roots in the order of work, as waves: each root needs only roots of earlier waves.

    Raises:
        UsageError: Roots need each other in a circle.
    """
    graph = graph_of(names, needs)
    cycles = graph.cycles()
    if cycles:
        raise _circle(cycles[0], graph)
    return graph.waves()


def graph_of(names: Sequence[str], needs: Iterable[Need]) -> Graph:
    """Return the roots as a graph; an edge leads from a root to one that it needs."""
    nodes = [Node(id=name, root=name, address=name, module="", mode="root", type="", name=name) for name in names]
    return build_graph(nodes, [Edge(source=n.root, target=n.on, kind=Kind.REFERENCE, evidence=n.why) for n in needs])


def _circle(cycle: Sequence[str], graph: Graph) -> UsageError:
    pairs = zip(cycle, (*cycle[1:], cycle[0]), strict=True)
    because = (f"{source} needs {target}: {graph.between(source, target)[0].evidence}" for source, target in pairs)
    return UsageError(
        f"roots need each other in a circle: {' -> '.join((*cycle, cycle[0]))}",
        why="; ".join(because),
        fix="take one of these references out, or name the folders one by one in the order that you want",
    )
