"""Things that need each other, so that none can be first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice

from interlock.hcl import Edge, Module, edges
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

MAX_EDGES = 300_000  # of one root module; modules that call modules twice each grow without bound
_MAX_SHOWN = 8  # links of a cycle in one message

Links = Mapping[str, Mapping[str, Edge]]


def check(sources: Sources) -> Iterator[Finding]:
    """Yield one finding for each group of things that need each other, with its shortest cycle."""
    for root in sources.modules:
        links = _links(root)
        for group in _groups(links):
            cycle = _shortest(links, group)
            if cycle:
                yield RULE.finding(cycle[0].span, f"a cycle: {_spell(cycle)}", fix=_advice(cycle))


def _links(root: Module) -> Links:
    links: dict[str, dict[str, Edge]] = {}
    for edge in islice(edges(root, through_unread=False), MAX_EDGES):
        links.setdefault(edge.source, {}).setdefault(edge.target, edge)
    return links


def _groups(links: Links) -> Iterator[frozenset[str]]:
    """Yield the strongly connected groups with a cycle (Tarjan's algorithm, written without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for start in links:
        if start in index:
            continue
        work = [(start, iter(links[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, targets = work[-1]
            following = next(targets, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = _pop(stack, on_stack, node)
                    if len(group) > 1 or node in links.get(node, {}):
                        yield group
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(links.get(following, {}))))
            elif following in on_stack:
                low[node] = min(low[node], index[following])


def _pop(stack: list[str], on_stack: set[str], node: str) -> frozenset[str]:
    group: set[str] = set()
    while node not in group:
        group.add(stack.pop())
    on_stack -= group
    return frozenset(group)


def _shortest(links: Links, group: frozenset[str]) -> list[Edge]:
    """Return the shortest cycle of a group, beginning at the first of its nodes in spelling."""
    best: list[Edge] = []
    for start in islice(sorted(group), _MAX_SHOWN):
        cycle = _cycle_through(links, group, start)
        if cycle and (not best or len(cycle) < len(best)):
            best = cycle
    return best


def _cycle_through(links: Links, group: frozenset[str], start: str) -> list[Edge]:
    came: dict[str, Edge] = {}
    pending = deque([start])
    while pending:
        node = pending.popleft()
        for target, edge in links.get(node, {}).items():
            if target == start:
                return _back(came, edge, start)
            if target in group and target not in came:
                came[target] = edge
                pending.append(target)
    return []


def _back(came: Mapping[str, Edge], last: Edge, start: str) -> list[Edge]:
    cycle = [last]
    while cycle[-1].source != start:
        cycle.append(came[cycle[-1].source])
    return _from_the_top(cycle[::-1])


def _from_the_top(cycle: list[Edge]) -> list[Edge]:
    """Turn a cycle so that it begins in the outermost folder, at the first place there."""
    first = min(range(len(cycle)), key=lambda at: (cycle[at].span.path.count("/"), cycle[at].span.order()))
    return cycle[first:] + cycle[:first]


def _spell(cycle: list[Edge]) -> str:
    if len(cycle) == 1:
        return f"{cycle[0].source} needs itself"
    names = [edge.source for edge in cycle]
    shown = [*names[:_MAX_SHOWN], "..."] if len(names) > _MAX_SHOWN else names
    return " needs ".join([*shown, names[0]])


def _advice(cycle: list[Edge]) -> str:
    places = ", ".join(dict.fromkeys(f"{edge.span.path}:{edge.span.line}" for edge in cycle[:_MAX_SHOWN]))
    return f"take one of these references away, or move what it needs into a resource of its own: {places}"


RULE = Rule(
    name="dependency-cycle",
    severity=Severity.ERROR,
    subject=Subject.RESOURCES,
    what="Resources, locals, outputs or providers need each other in a circle, through references and `depends_on`.",
    why=(
        "Terraform refuses such a plan and lists everything in the circle in no order. Here the shortest circle is "
        "shown, with the place of each link."
    ),
    fix="take one of the references away",
    bad={
        "main.tf": """\
resource "genesyscloud_flow" "main" {
  filepath   = "main.yaml"
  depends_on = [genesyscloud_flow.transfer]
}

resource "genesyscloud_flow" "transfer" {
  filepath      = "transfer.yaml"
  substitutions = { main = genesyscloud_flow.main.name }
}
"""
    },
    good={
        "main.tf": """\
resource "genesyscloud_flow" "main" {
  filepath   = "main.yaml"
  depends_on = [genesyscloud_flow.transfer]
}

resource "genesyscloud_flow" "transfer" {
  filepath = "transfer.yaml"
}
"""
    },
    check=check,
)
