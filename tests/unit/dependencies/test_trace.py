from collections.abc import Callable, Mapping

import pytest

from interlock.dependencies import Edge, Graph, Inventory, Kind, Root, apply_fixes, trace
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree

Traced = Callable[..., Graph]
Stated = Callable[..., Inventory]

DIVISION_ID = "11111111-1111-4111-8111-111111111111"
USER_ID = "22222222-2222-4222-8222-222222222222"
DIVISION = 'resource "genesyscloud_auth_division" "support" {\n  name = "Support Division"\n}\n'


def hidden(graph: Graph) -> list[tuple[str, str, Kind]]:
    return [(edge.source, edge.target, edge.kind) for edge in graph.hidden]


def advice(edge: Edge) -> str:
    return edge.fix.advice if edge.fix is not None else ""


def fixed(texts: Mapping[str, str], inventory: Inventory) -> dict[str, str]:
    """Apply all fixes, round by round, and return the texts."""
    current = dict(texts)
    for _ in range(5):
        tree = MemoryTree(current)
        graph = trace([Root(module=read_module(tree, "."), inventory=inventory)], tree)
        changed, _ = apply_fixes({path: text.encode() for path, text in current.items()}, graph.hidden)
        current.update({path: text.decode() for path, text in changed.items()})
    return current


def test_references_are_seen_through_locals_variables_outputs_and_modules(traced: Traced) -> None:
    graph = traced(
        {
            "main.tf": DIVISION
            + 'locals { d = genesyscloud_auth_division.support.id }\nmodule "m" {\n  source = "./m"\n  d = local.d\n}\n'
            + 'resource "genesyscloud_routing_queue" "q" {\n  name = "Q"\n  division_id = module.m.d\n}\n',
            "m/main.tf": 'variable "d" {}\noutput "d" { value = var.d }\n',
        }
    )
    assert [(edge.source, edge.target, edge.hidden) for edge in graph.edges] == [
        ("genesyscloud_routing_queue.q", "genesyscloud_auth_division.support", False)
    ]


def test_depends_on_a_module_means_all_of_it(traced: Traced) -> None:
    graph = traced(
        {
            "main.tf": 'module "m" {\n  source = "./m"\n}\nresource "a_b" "x" {\n  depends_on = [module.m]\n}\n',
            "m/main.tf": 'resource "a_b" "y" {}\nmodule "n" {\n  source = "./n"\n}\n',
            "m/n/main.tf": 'resource "a_b" "z" {}\n',
        }
    )
    assert graph.needs("a_b.x") == ("module.m.a_b.y", "module.m.module.n.a_b.z")


def test_a_literal_id_is_matched_against_the_state(traced: Traced, stated: Stated) -> None:
    queue = f'resource "genesyscloud_routing_queue" "q" {{\n  name = "Q"\n  division_id = "{DIVISION_ID}"\n}}\n'
    inventory = stated(("genesyscloud_auth_division.support", DIVISION_ID, "Support Division"))
    graph = traced({"main.tf": DIVISION + queue}, inventory=inventory)
    (edge,) = graph.hidden
    assert (edge.source, edge.target, edge.kind) == (
        "genesyscloud_routing_queue.q",
        "genesyscloud_auth_division.support",
        Kind.LITERAL_ID,
    )
    assert advice(edge) == "write genesyscloud_auth_division.support.id"
    assert edge.span is not None
    assert (edge.span.line, edge.span.column) == (6, 17)
    assert DIVISION_ID in edge.evidence
    assert traced({"main.tf": DIVISION + queue}).hidden == ()


def test_fixing_a_literal_id_keeps_everything_else(stated: Stated) -> None:
    queue = (
        'resource "genesyscloud_routing_queue" "q" { # busy\n  name        = "Q"\n'
        f'  division_id = "{DIVISION_ID}" # here\n'
        f'\n  members {{\n    user_id = "{USER_ID}"\n  }}\n}}\n'
    )
    user = 'resource "genesyscloud_user" "u" {\n  for_each = toset(["a"])\n  name = each.key\n}\n'
    inventory = stated(
        ("genesyscloud_auth_division.support", DIVISION_ID, "Support Division"),
        ('genesyscloud_user.u["a"]', USER_ID, "a"),
    )
    expected = queue.replace(f'"{DIVISION_ID}"', "genesyscloud_auth_division.support.id")
    expected = expected.replace(f'"{USER_ID}"', 'genesyscloud_user.u["a"].id')
    assert fixed({"main.tf": DIVISION + user + queue}, inventory) == {"main.tf": DIVISION + user + expected}


def test_an_id_inside_a_longer_text_is_found_and_depends_on_is_written(stated: Stated) -> None:
    text = (
        DIVISION + 'resource "genesyscloud_integration" "i" {\n  config {\n'
        f'    properties = "{{\\"d\\":\\"{DIVISION_ID}\\"}}"\n  }}\n}}\n'
    )
    inventory = stated(("genesyscloud_auth_division.support", DIVISION_ID, "Support Division"))
    done = fixed({"main.tf": text}, inventory)["main.tf"]
    assert done.endswith("  }\n\n  depends_on = [genesyscloud_auth_division.support]\n}\n")


def test_an_id_passed_into_a_module_is_replaced_where_it_is_passed(stated: Stated) -> None:
    texts = {
        "main.tf": DIVISION + f'module "q" {{\n  source      = "./q"\n  division_id = "{DIVISION_ID}"\n}}\n',
        "q/main.tf": 'variable "division_id" {}\nresource "genesyscloud_routing_queue" "q" {\n'
        '  name        = "Q"\n  division_id = var.division_id\n}\n',
    }
    inventory = stated(("genesyscloud_auth_division.support", DIVISION_ID, "Support Division"))
    tree = MemoryTree(texts)
    graph = trace([Root(module=read_module(tree, "."), inventory=inventory)], tree)
    assert hidden(graph) == [
        ("module.q.genesyscloud_routing_queue.q", "genesyscloud_auth_division.support", Kind.MODULE_INPUT)
    ]
    done = fixed(texts, inventory)
    assert "  division_id = genesyscloud_auth_division.support.id\n" in done["main.tf"]
    assert done["q/main.tf"] == texts["q/main.tf"]


def test_a_lookup_of_a_managed_object_gives_way_to_the_resource(traced: Traced, stated: Stated) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_routing_skill" "b" {\n  name = "Billing"\n}\n\n'
        'data "genesyscloud_routing_skill" "b" {\n  name = "Billing"\n}\n\n'
        'output "s" {\n  value = data.genesyscloud_routing_skill.b.id\n}\n'
    }
    assert hidden(traced(texts)) == [("data.genesyscloud_routing_skill.b", "genesyscloud_routing_skill.b", Kind.LOOKUP)]
    assert fixed(texts, stated()) == {
        "main.tf": 'resource "genesyscloud_routing_skill" "b" {\n  name = "Billing"\n}\n\n'
        'output "s" {\n  value = genesyscloud_routing_skill.b.id\n}\n'
    }


def test_a_name_in_substitutions_becomes_a_reference(traced: Traced, stated: Stated) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_routing_queue" "q" {\n  name = "Support"\n}\n'
        'resource "genesyscloud_flow" "f" {\n'
        '  filepath = "f.yaml"\n  substitutions = { queue = "Support", x = "Hi" }\n}\n'
    }
    assert hidden(traced(texts)) == [("genesyscloud_flow.f", "genesyscloud_routing_queue.q", Kind.NAME)]
    assert "{ queue = genesyscloud_routing_queue.q.name, x" in fixed(texts, stated())["main.tf"]


def test_names_in_a_flow_count_under_a_key_of_their_kind(traced: Traced) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_routing_queue" "q" {\n  name = "Support"\n}\n'
        'resource "genesyscloud_routing_wrapupcode" "w" {\n  name = "Done"\n}\n'
        'resource "genesyscloud_flow" "f" {\n  filepath = "${path.module}/flows/f.yaml"\n}\n',
        "flows/f.yaml": "tasks:\n  - transferToAcd:\n      targetQueue:\n        lit:\n          name: Support\n"
        "  - playAudio:\n      prompt: Done\n",
    }
    (edge,) = traced(texts).hidden
    assert (edge.target, edge.kind) == ("genesyscloud_routing_queue.q", Kind.CONTENT)
    assert edge.evidence == 'flows/f.yaml:5 names "Support", which is genesyscloud_routing_queue.q'
    assert advice(edge) == "add depends_on = [genesyscloud_routing_queue.q] to genesyscloud_flow.f"


def test_a_number_in_a_pool_needs_the_pool(traced: Traced) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_telephony_providers_edges_did_pool" "p" {\n'
        '  start_phone_number = "+13175550000"\n  end_phone_number = "+13175550009"\n}\n'
        'resource "genesyscloud_architect_ivr" "in" {\n  name = "A"\n  dnis = ["+13175550004"]\n}\n'
        'resource "genesyscloud_architect_ivr" "out" {\n  name = "B"\n  dnis = ["+13175550010"]\n}\n'
    }
    assert hidden(traced(texts)) == [
        (
            "genesyscloud_architect_ivr.in",
            "genesyscloud_telephony_providers_edges_did_pool.p",
            Kind.COUPLING,
        )
    ]


def test_what_terraform_sees_already_is_not_hidden(traced: Traced, stated: Stated) -> None:
    text = (
        DIVISION + f'resource "genesyscloud_routing_queue" "q" {{\n  name = "Q"\n  division_id = "{DIVISION_ID}"\n'
        "  depends_on = [genesyscloud_auth_division.support]\n}\n"
    )
    inventory = stated(("genesyscloud_auth_division.support", DIVISION_ID, "x"))
    assert traced({"main.tf": text}, inventory=inventory).hidden == ()


def test_a_fix_that_would_close_a_circle_is_not_made(traced: Traced, stated: Stated) -> None:
    text = (
        f'resource "genesyscloud_auth_division" "d" {{\n  name = "D"\n  description = "{USER_ID}"\n}}\n'
        'resource "genesyscloud_user" "u" {\n  name = "U"\n  division_id = genesyscloud_auth_division.d.id\n}\n'
    )
    graph = traced({"main.tf": text}, inventory=stated(("genesyscloud_user.u", USER_ID, "U")))
    (edge,) = graph.hidden
    assert "circle" in advice(edge)
    assert edge.fix is not None
    assert not edge.fix.edits
    assert graph.cycles() == (("genesyscloud_auth_division.d", "genesyscloud_user.u"),)


def test_two_hidden_edges_against_each_other_are_not_both_written(stated: Stated) -> None:
    text = (
        f'resource "genesyscloud_auth_division" "d" {{\n  name = "D"\n  description = "{USER_ID}"\n}}\n'
        f'resource "genesyscloud_user" "u" {{\n  name = "U"\n  division_id = "{DIVISION_ID}"\n}}\n'
    )
    inventory = stated(("genesyscloud_user.u", USER_ID, "U"), ("genesyscloud_auth_division.d", DIVISION_ID, "D"))
    done = fixed({"main.tf": text}, inventory)["main.tf"]
    assert "genesyscloud_user.u.id" in done
    assert f'division_id = "{DIVISION_ID}"' in done


def test_two_roots_show_what_one_needs_of_the_other(traced: Traced) -> None:
    graph = traced(
        {
            "a/main.tf": 'resource "genesyscloud_routing_skill" "s" {\n  name = "Billing"\n}\n',
            "b/main.tf": 'data "genesyscloud_routing_skill" "s" {\n  name = "Billing"\n}\n',
        },
        folders=("a", "b"),
    )
    (edge,) = graph.hidden
    assert (edge.source, edge.target) == ("b//data.genesyscloud_routing_skill.s", "a//genesyscloud_routing_skill.s")
    assert "apply that first" in advice(edge)


def test_a_name_that_two_share_proves_nothing(traced: Traced) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_routing_queue" "q" {\n  name = "Same"\n}\n'
        'resource "genesyscloud_routing_queue" "r" {\n  name = "Same"\n}\n'
        'resource "genesyscloud_flow" "f" {\n  filepath = "f.yaml"\n  substitutions = { queue = "Same" }\n}\n'
    }
    assert hidden(traced(texts)) == []


@pytest.mark.parametrize(
    "text",
    ["", "resource", 'resource "a" "b" {', "\x00", 'module "m" {\n  source = "./m"\n}\n', "locals { a = local.a }"],
)
def test_a_broken_configuration_gives_what_could_be_read(traced: Traced, text: str) -> None:
    assert traced({"main.tf": text, "m/main.tf": 'module "n" {\n  source = "../m"\n}\n'}).hidden == ()


def test_a_block_on_one_line_is_opened_up(stated: Stated) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_routing_queue" "q" {\n  name = "Support"\n}\n'
        'resource "genesyscloud_flow" "f" { filepath = "f.yaml" }\n',
        "f.yaml": "queue: Support\n",
    }
    assert fixed(texts, stated())["main.tf"].endswith(
        'resource "genesyscloud_flow" "f" {\n  filepath = "f.yaml"\n\n'
        "  depends_on = [genesyscloud_routing_queue.q]\n}\n"
    )


FLOW = (
    'resource "genesyscloud_flow" "main" {\n  filepath = "${path.module}/flows/main.yaml"\n}\n'
    'resource "genesyscloud_flow" "other" {\n  filepath = "flows/other.yaml"\n}\n'
    'data "genesyscloud_flow" "main" {\n  name = "Main Flow"\n}\n'
)


def test_the_name_of_a_flow_stands_in_its_yaml(traced: Traced) -> None:
    graph = traced(
        {
            "main.tf": FLOW,
            "flows/main.yaml": "inboundCall:\n  name: Main Flow\n",
            "flows/other.yaml": "inboundCall:\n  name: Other\n  x:\n    targetFlow:\n      name: Main Flow\n",
        }
    )
    assert set(hidden(graph)) == {
        ("genesyscloud_flow.other", "genesyscloud_flow.main", Kind.CONTENT),
        ("data.genesyscloud_flow.main", "genesyscloud_flow.main", Kind.LOOKUP),
    }


def test_a_flow_without_its_file_has_no_name(traced: Traced) -> None:
    assert hidden(traced({"main.tf": FLOW})) == []


def test_a_module_that_cannot_be_read_orders_without_closing_circles(traced: Traced) -> None:
    source = "git::https://git.example.net/m.git"
    graph = traced(
        {
            "main.tf": f'module "m" {{\n  source = "{source}"\n  a = a_b.a.id\n  b = a_b.b.id\n}}\n'
            'resource "a_b" "a" {\n  x = module.m.one\n}\nresource "a_b" "b" {\n  x = module.m.two\n}\n'
            'resource "a_b" "after" {\n  x = module.m.three\n}\n'
        }
    )
    assert {(edge.source, edge.target) for edge in graph.edges} == {("a_b.after", "a_b.a"), ("a_b.after", "a_b.b")}
