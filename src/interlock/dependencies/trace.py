"""Builds the graph: Terraform's own references from the configuration, and what Terraform cannot see, with evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.address import parse_address
from interlock.dependencies.clues import FINDERS, Clue, World
from interlock.dependencies.fix import add_depends_on, replace_span
from interlock.dependencies.graph import Edge, Fix, Graph, Kind, Node, build_graph
from interlock.dependencies.site import Root, Site, list_sites
from interlock.hcl import Block, Module, Traversal, edges, target_of
from interlock.source.tree import Span, Tree

MAX_EDGES: Final = 1_000_000  # references of one tree; a bound on the work for hostile input


def trace(roots: Sequence[Root], tree: Tree) -> Graph:
    """Build the dependency graph.

    Args:
        roots: Root modules with their states and plans, as far as they are at hand.
        tree: The files beside the configuration (flow YAML, scripts).

    Returns:
        A graph of all resources and data sources. Edges that Terraform sees come first; hidden ones carry evidence and
        a fix. An edge that Terraform sees already, directly or not, is not repeated as hidden.
    """
    sites = tuple(site for root in roots for site in list_sites(root))
    ids = _Ids(many=len(roots) > 1)
    nodes = list(_nodes(sites, ids))
    seen = build_graph(nodes, (edge for root in roots for edge in _seen_edges(root, ids)))
    world = World(sites=sites, tree=tree)
    clues = (clue for site in sites for finder in FINDERS for clue in finder(site, world))
    return build_graph(nodes, [*seen.edges, *_hidden_edges(clues, seen, ids)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ids:
    """How nodes are called: by address, with the root's folder in front when there are several roots."""

    many: bool

    def of(self, root: Root, address: str) -> str:
        return f"{root.module.path}//{address}" if self.many else address


def _nodes(sites: Sequence[Site], ids: _Ids) -> Iterator[Node]:
    plans = {id(root): _actions(root) for root in {id(site.root): site.root for site in sites}.values()}
    for site in sites:
        actions = plans[id(site.root)].get(site.address, ())
        yield Node(
            id=ids.of(site.root, site.address),
            root=site.root.module.path,
            address=site.address,
            module=site.prefix.rstrip("."),
            mode=site.resource.mode,
            type=site.resource.type,
            name=site.resource.name,
            span=site.resource.block.header,
            instances=len(actions) or site.root.inventory.counts.get(site.address, 1),
            actions=actions,
        )


def _actions(root: Root) -> Mapping[str, tuple[str, ...]]:
    """Return what the plan does to the instances of each resource."""
    found: dict[str, list[str]] = {}
    for change in root.plan.changes if root.plan is not None else ():
        try:
            config = parse_address(change.address).config()
        except ValueError:
            continue
        found.setdefault(config, []).append(change.action.value)
    return {address: tuple(actions) for address, actions in found.items()}


def _seen_edges(root: Root, ids: _Ids) -> Iterator[Edge]:
    """Yield Terraform's own edges between resources; locals, variables, outputs and providers are looked through.

    What uses an output of a module that cannot be read may need everything that the module is given. Such an edge is
    kept for the order, but not where it closes a circle: Terraform accepted the configuration, so there it is wrong.
    """
    possible = tuple(_edges_through(root, ids, through_unread=True))
    if all(call.module is not None for module in root.module.walk() for call in module.calls):
        yield from possible
        return
    certain = {(edge.source, edge.target) for edge in _edges_through(root, ids, through_unread=False)}
    pairs = {(edge.source, edge.target) for edge in possible}
    for edge in possible:
        if (edge.source, edge.target) in certain or (edge.target, edge.source) not in pairs:
            yield edge


def _edges_through(root: Root, ids: _Ids, *, through_unread: bool) -> Iterator[Edge]:
    links: dict[str, dict[str, Span]] = {}
    for count, edge in enumerate(edges(root.module, through_unread=through_unread)):
        if count >= MAX_EDGES:
            break
        links.setdefault(edge.source, {}).setdefault(edge.target, edge.span)
    sites = tuple(list_sites(root))
    for source, target, span in _explicit_links(sites):
        links.setdefault(source, {}).setdefault(target, span)
    resources = {site.address for site in sites}
    behind: dict[str, frozenset[str]] = {}
    for source in sorted(resources & links.keys()):
        for target, span in links[source].items():
            through = "" if target in resources else f" through {target}"
            for resource in [target] if target in resources else sorted(_behind(target, links, resources, behind)):
                yield Edge(
                    source=ids.of(root, source),
                    target=ids.of(root, resource),
                    kind=Kind.REFERENCE,
                    evidence=f"{source} refers to {resource}{through}",
                    span=span,
                )


def _explicit_links(sites: Sequence[Site]) -> Iterator[tuple[str, str, Span]]:
    """Yield what `depends_on` says of whole modules, of a resource and of the calls that lead to it.

    A whole module is a node of its own, spelled with a final dot, that leads to every resource inside.
    """
    for site in sites:
        for level in range(len(site.chain)):
            prefix = "".join(f"module.{call.name}." for _, call in site.chain[: level + 1])
            yield prefix, site.address, site.resource.block.header
        yield from _wanted(site.address, site.prefix, site.resource.depends_on)
        prefix = ""
        for _, call in site.chain:
            yield from _wanted(site.address, prefix, call.depends_on)
            prefix += f"module.{call.name}."


def _wanted(address: str, prefix: str, wanted: Sequence[Traversal]) -> Iterator[tuple[str, str, Span]]:
    for traversal in wanted:
        found = target_of(traversal)
        if found is not None:
            whole = found[0].startswith("module.")
            yield address, f"{prefix}{found[0]}{'.' if whole else ''}", traversal.span


def _behind(
    name: str, links: Mapping[str, Mapping[str, Span]], resources: set[str], known: dict[str, frozenset[str]]
) -> frozenset[str]:
    """Return the resources that a local, variable, output or provider leads to; each is worked out once."""
    if name in known:
        return known[name]
    found: set[str] = set()
    passed = {name}
    pending = [name]
    while pending:
        for target in links.get(pending.pop(), ()):
            if target in resources:
                found.add(target)
            elif target in known:
                found |= known[target]
            elif target not in passed:
                passed.add(target)
                pending.append(target)
    known[name] = frozenset(found)
    return known[name]


def _hidden_edges(clues: Iterator[Clue], seen: Graph, ids: _Ids) -> Iterator[Edge]:
    reach = _Reach(seen)
    for clue in clues:
        source, target = ids.of(clue.source.root, clue.source.address), ids.of(clue.target.root, clue.target.address)
        if source == target or target in reach.of(source):
            continue
        closes = reach.leads(target, source)
        if not closes:
            reach.add(source, target)
        yield Edge(
            source=source,
            target=target,
            kind=clue.kind,
            evidence=clue.evidence,
            span=clue.span,
            hidden=True,
            fix=_circle(clue) if closes else _fix(clue),
        )


class _Reach:
    """What leads where: what Terraform sees, and the hidden edges that were given a fix so far.

    Two hidden edges that run against each other must not both be written.
    """

    def __init__(self, seen: Graph) -> None:
        self._seen = seen
        self._known: dict[str, frozenset[str]] = {}
        self._added: dict[str, set[str]] = {}

    def of(self, node: str) -> frozenset[str]:
        """Return everything that Terraform sees a node need."""
        if node not in self._known:
            self._known[node] = self._seen.all_needs(node)
        return self._known[node]

    def add(self, source: str, target: str) -> None:
        self._added.setdefault(source, set()).add(target)

    def leads(self, start: str, goal: str) -> bool:
        """Say whether `start` needs `goal`, hidden edges with a fix included."""
        passed: set[str] = set()
        pending = [start]
        while pending:
            node = pending.pop()
            around = self.of(node) | {node}
            if goal in around:
                return True
            fresh = (around & self._added.keys()) - passed
            passed |= fresh
            pending.extend(target for source in sorted(fresh) for target in sorted(self._added[source]))
        return False


def _circle(clue: Clue) -> Fix:
    return Fix(
        advice=(
            f"{clue.target.address} already needs {clue.source.address}: a reference would close a circle, so take one "
            "of the two apart"
        )
    )


def _fix(clue: Clue) -> Fix:
    """Say what to write. The nearest place that can name both ends is where it is written."""
    source, target = clue.source, clue.target
    if source.root is not target.root:
        return Fix(
            advice=(
                f"{target.address} is managed by {target.root.module.path}: apply that first, and read it here as "
                "a data source"
            )
        )
    if clue.edits:
        return Fix(advice=f"use {target.expression('id')} instead of {source.resource.key}.id", edits=clue.edits)
    if clue.written and _is_home(clue):
        return Fix(advice=f"write {clue.written}", edits=(replace_span(clue.span, clue.written),))
    return _depends_on(source, target)


def _is_home(clue: Clue) -> bool:
    """Say whether the target can be named where the clue stands: in the source's module, or where that is called."""
    calls = clue.source.chain[:-1] if clue.kind is Kind.MODULE_INPUT else clue.source.chain
    return _path(calls) == _path(clue.target.chain)


def _path(chain: Sequence[tuple[Module, object]]) -> tuple[str, ...]:
    return tuple(getattr(call, "name", "") for _, call in chain)


def _depends_on(source: Site, target: Site) -> Fix:
    ours, theirs = _path(source.chain), _path(target.chain)
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common] == theirs[common]:
        common += 1
    module = source.chain[common][0] if common < len(ours) else source.module
    block: Block = source.chain[common][1].block if common < len(ours) else source.resource.block
    holder = f"module.{ours[common]}" if common < len(ours) else source.resource.key
    named = f"module.{theirs[common]}" if common < len(theirs) else target.resource.key
    if holder == named:
        return Fix(advice=f"pass the id of {target.address} to {source.address}")
    advice = f"add depends_on = [{named}] to {holder}"
    return Fix(advice=advice, edits=add_depends_on(module, block, named))
