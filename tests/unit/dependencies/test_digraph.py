"""The small graph code against plain definitions, on random graphs."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.dependencies.digraph import Digraph

NODES = 8
ARROWS = st.sets(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=20)


def reached(arrows: set[tuple[int, int]], start: int) -> set[int]:
    found: set[int] = set()
    while True:
        more = {b for a, b in arrows if a == start or a in found} - found
        if not more:
            return found
        found |= more


@given(ARROWS)
def test_what_is_reached_is_what_a_way_leads_to(arrows: set[tuple[int, int]]) -> None:
    graph = Digraph(NODES, arrows)
    for node in range(NODES):
        assert graph.descendants(node) == reached(arrows, node) - {node}
        assert graph.ancestors(node) == {other for other in range(NODES) if node in reached(arrows, other)} - {node}
        assert set(graph.successors(node)) == {b for a, b in arrows if a == node}
        assert set(graph.predecessors(node)) == {a for a, b in arrows if b == node}


@given(ARROWS)
def test_two_nodes_are_in_one_knot_when_each_reaches_the_other(arrows: set[tuple[int, int]]) -> None:
    knots = Digraph(NODES, arrows).knots()
    assert sorted(node for knot in knots for node in knot) == list(range(NODES))
    knot_of = {node: number for number, knot in enumerate(knots) for node in knot}
    for one in range(NODES):
        for other in range(NODES):
            mutual = one == other or (other in reached(arrows, one) and one in reached(arrows, other))
            assert (knot_of[one] == knot_of[other]) is mutual


@given(ARROWS)
def test_a_generation_is_reached_from_earlier_ones_alone(arrows: set[tuple[int, int]]) -> None:
    forward = {(a, b) for a, b in arrows if a < b}
    generations = list(Digraph(NODES, forward).generations())
    when = {node: number for number, generation in enumerate(generations) for node in generation}
    assert sorted(when) == list(range(NODES))
    for source, target in forward:
        assert when[source] < when[target]
    for node, number in when.items():
        assert number == max((when[a] + 1 for a, b in forward if b == node), default=0)


def test_a_long_chain_takes_no_recursion() -> None:
    count = 50_000
    graph = Digraph(count, [(node, node + 1) for node in range(count - 1)])
    assert len(graph.knots()) == count
    assert len(list(graph.generations())) == count
