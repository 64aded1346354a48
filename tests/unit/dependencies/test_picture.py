import re
from xml.etree import ElementTree as ET

from interlock.dependencies import Edge, Graph, Kind, Node, build_graph
from interlock.dependencies.picture import MAX_MERMAID_EDGES, dot, html, mermaid, svg


def graph_of(count: int = 3) -> Graph:
    nodes = [
        Node(
            id=f'module.m["<&>"].genesyscloud_user.u{place}',
            root=".",
            address=f'module.m["<&>"].genesyscloud_user.u{place}',
            module="",
            mode="managed",
            type="genesyscloud_user",
            name=f"u{place}",
        )
        for place in range(count)
    ]
    edges = [
        Edge(
            source=nodes[place + 1].id,
            target=nodes[place].id,
            kind=Kind.NAME,
            hidden=place % 2 == 0,
            evidence="</script><b>",
        )
        for place in range(count - 1)
    ]
    return build_graph(nodes, edges)


def test_the_svg_is_well_formed_and_complete() -> None:
    root = ET.fromstring(svg(graph_of(500)))  # noqa: S314 - our own output
    groups = [element for element in root.iter() if element.tag.endswith("}g")]
    assert len(groups) == 500
    assert len([element for element in root.iter() if element.tag.endswith("}path")]) == 499


def test_no_two_nodes_lie_on_each_other() -> None:
    root = ET.fromstring(svg(graph_of(60)))  # noqa: S314 - our own output
    places = [
        (element.get("x"), element.get("y"))
        for group in root.iter()
        if group.tag.endswith("}g")
        for element in group
        if element.tag.endswith("}rect")
    ]
    assert len(set(places)) == 60


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = html(graph_of())
    assert not re.search(r'(?:src|href)="', page)
    assert "</script><b>" not in page
    assert "2 resources" not in page
    assert "3 resources, 1 hidden dependency" in page


def test_mermaid_says_what_it_leaves_out() -> None:
    text = mermaid(graph_of(MAX_MERMAID_EDGES + 10))
    assert text.startswith("flowchart LR\n")
    assert "9 further edges are not drawn" in text
    assert "-. name .->" in text


def test_a_name_in_mermaid_is_neither_html_nor_markdown_nor_an_entity() -> None:
    """Its labels may hold HTML: a folder with the name of an image was one where Mermaid is not strict."""
    names = ('"><img src=x onerror=alert(5)>', "`**x**`", "#lt;img#gt;", "a&amp;b")
    nodes = [
        Node(id=f"{name}//t.a", root=name, address="t.a", module="", mode="managed", type="t", name="a")
        for name in names
    ]
    for line in mermaid(build_graph(nodes, [])).splitlines()[1:]:
        label = line.partition('["')[2].removesuffix('"]')
        assert not set('"<>&`') & set(label), line
        assert set(re.findall(r"#\w*", label)) <= {"#quot", "#lt", "#gt", "#amp", "#35", "#96"}, line


def test_dot_quotes_names() -> None:
    assert '"module.m[\\"<&>\\"].genesyscloud_user.u0"' in dot(graph_of())


def test_an_empty_graph_can_be_drawn() -> None:
    empty = build_graph([], [])
    assert ET.fromstring(svg(empty)) is not None  # noqa: S314 - our own output
    assert "No hidden dependencies" in html(empty)
    assert mermaid(empty) == "flowchart LR\n"
    assert dot(empty).startswith("digraph")
