"""Laws of the dependency tracer: any text is read, and a fix never hides or breaks what was there."""

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.dependencies import Budget, Root, apply_fixes, find_races, plan_order, trace
from interlock.dependencies.picture import dot, html, mermaid, svg
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree

NAMES = st.sampled_from(["Support", "Sales", "Billing"])
KINDS = st.sampled_from(
    ["genesyscloud_routing_queue", "genesyscloud_routing_skill", "genesyscloud_routing_wrapupcode", "genesyscloud_user"]
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, str]:
    """Objects with names, flows and lookups that name them, in one folder and a module."""
    objects = [
        f'resource "{draw(KINDS)}" "r{place}" {{\n  name = "{draw(NAMES)}"\n}}\n'
        for place in range(draw(st.integers(1, 5)))
    ]
    flows = [
        f'resource "genesyscloud_flow" "f{place}" {{\n  filepath = "f.yaml" # kept\n'
        f'  substitutions = {{ a = "{draw(NAMES)}" }}\n}}\n'
        for place in range(draw(st.integers(0, 3)))
    ]
    lookups = [
        f'data "{draw(KINDS)}" "d{place}" {{\n  name = "{draw(NAMES)}"\n}}\n'
        for place in range(draw(st.integers(0, 2)))
    ]
    blocks = [*objects, *flows, *lookups]
    calls = 'module "m" {\n  source = "./m"\n}\n' if draw(st.booleans()) else ""
    inner = f'resource "{draw(KINDS)}" "inner" {{\n  name = "{draw(NAMES)}"\n}}\n'
    flow = f"targetQueue: {draw(NAMES)}\nskill:\n  name: {draw(NAMES)}\n"
    return {"main.tf": "\n".join(blocks) + calls, "m/main.tf": inner, "f.yaml": flow}


@settings(deadline=None, max_examples=60)
@given(configurations())
def test_fixes_leave_a_readable_configuration_with_fewer_hidden_edges(texts: dict[str, str]) -> None:
    tree = MemoryTree(texts)
    before = trace([Root(module=read_module(tree, "."))], tree)
    changed, done = apply_fixes({path: text.encode() for path, text in texts.items()}, before.hidden)
    assert bool(changed) == bool(done)
    mended = MemoryTree({**texts, **{path: text.decode() for path, text in changed.items()}})
    module = read_module(mended, ".")
    assert all(not each.problems for each in module.walk())
    after = trace([Root(module=module)], mended)
    assert len(after.hidden) <= len(before.hidden) - len({(edge.source, edge.target) for edge in done})
    assert not after.cycles()
    managed = {name for name, node in before.nodes.items() if node.mode == "managed"}
    assert managed <= set(after.nodes)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["main.tf", "x.tf", "f.yaml", "m/a.tf"]), st.text(max_size=300)))
def test_any_text_is_traced_ordered_and_drawn(texts: dict[str, str]) -> None:
    tree = MemoryTree(texts)
    graph = trace([Root(module=read_module(tree, "."))], tree)
    assert plan_order(graph, Budget()).parallelism >= 1
    assert find_races(graph) is not None
    assert all((mermaid(graph), dot(graph), svg(graph), html(graph)))
