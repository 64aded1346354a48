from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.dependencies import Edge, Graph, Kind, Node, build_graph


def node(name: str) -> Node:
    return Node(id=name, root=".", address=name, module="", mode="managed", type="t", name=name)


def graph_of(*pairs: tuple[str, str]) -> Graph:
    names = sorted({name for pair in pairs for name in pair})
    return build_graph(map(node, names), [Edge(source=one, target=two, kind=Kind.REFERENCE) for one, two in pairs])


def test_waves_put_what_is_needed_first() -> None:
    graph = graph_of(("queue", "division"), ("queue", "skill"), ("flow", "queue"))
    assert graph.waves() == (("division", "skill"), ("queue",), ("flow",))


def test_the_shortest_circle_of_each_knot_is_shown() -> None:
    graph = graph_of(("a", "b"), ("b", "c"), ("c", "a"), ("b", "a"), ("x", "y"), ("y", "x"), ("z", "a"))
    assert graph.cycles() == (("a", "b"), ("x", "y"))


def test_a_knot_stands_in_one_wave() -> None:
    assert graph_of(("a", "b"), ("b", "a"), ("c", "a")).waves() == (("a", "b"), ("c",))


def test_the_longest_way_follows_the_weights() -> None:
    graph = graph_of(("end", "light"), ("end", "heavy"), ("light", "start"))
    weights = {"end": 1.0, "light": 1.0, "heavy": 10.0, "start": 1.0}
    assert graph.longest_way(weights.__getitem__) == ("heavy", "end")


def test_closures_look_both_ways() -> None:
    graph = graph_of(("a", "b"), ("b", "c"))
    assert graph.all_needs("a") == {"b", "c"}
    assert graph.all_needed_by("c") == {"a", "b"}
    assert graph.reaches("a", "c")
    assert not graph.reaches("c", "a")
    assert not graph.reaches("nobody", "c")
    assert graph.needs("nobody") == ()


def test_edges_to_unknown_nodes_and_to_oneself_are_left_out() -> None:
    edges = [Edge(source="a", target="b", kind=Kind.NAME), Edge(source="a", target="a", kind=Kind.NAME)]
    assert build_graph([node("a")], edges).edges == ()


def test_an_empty_graph_has_no_order() -> None:
    empty = build_graph([], [])
    assert (empty.waves(), empty.cycles(), empty.longest_way(lambda _: 1.0)) == ((), (), ())


pairs = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), min_size=1, max_size=20)


@settings(deadline=None)
@given(pairs)
def test_every_node_is_in_one_wave_after_what_it_needs_unless_they_are_knotted(found: list[tuple[str, str]]) -> None:
    graph = graph_of(*found)
    wave_of = {name: number for number, wave in enumerate(graph.waves()) for name in wave}
    assert sorted(wave_of) == sorted(graph.nodes)
    for edge in graph.edges:
        knotted = graph.reaches(edge.target, edge.source)
        assert wave_of[edge.target] < wave_of[edge.source] or (knotted and wave_of[edge.target] == wave_of[edge.source])


@settings(deadline=None)
@given(pairs)
def test_a_circle_is_a_circle(found: list[tuple[str, str]]) -> None:
    graph = graph_of(*found)
    for circle in graph.cycles():
        for one, two in zip(circle, (*circle[1:], circle[0]), strict=True):
            assert two in graph.needs(one)
