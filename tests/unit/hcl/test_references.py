import pytest

from interlock.hcl import (
    Body,
    Literal,
    Traversal,
    constant_text,
    edges,
    elements,
    find_values,
    parse,
    read_module,
    references,
    target_of,
)
from interlock.source.tree import MemoryTree


def body(text: str) -> Body:
    return parse("main.tf", text.encode()).body


@pytest.mark.parametrize(
    ("text", "target", "attribute"),
    [
        ("aws_x.y.id", "aws_x.y", ("id",)),
        ('aws_x.y["k"].id', "aws_x.y", ("id",)),
        ("data.aws_x.y.id", "data.aws_x.y", ("id",)),
        ("data.aws_x.y[0].id", "data.aws_x.y", ("id",)),
        ("module.m.out", "module.m", ("out",)),
        ("module.m", "module.m", ()),
        ("var.v.a", "var.v", ("a",)),
        ("local.l", "local.l", ()),
        ("ephemeral.a.b.c", "ephemeral.a.b", ("c",)),
        ("aws_x.y[*].id", "aws_x.y", ()),
    ],
)
def test_traversals_name_parts_of_the_module(text: str, target: str, attribute: tuple[str, ...]) -> None:
    found = body(f"x = {text}\n").get("x")
    assert isinstance(found, Traversal)
    assert target_of(found) == (target, attribute)


@pytest.mark.parametrize("text", ["each.value", "count.index", "path.module", "self.id", "terraform.workspace", "bare"])
def test_other_names_are_no_part_of_the_module(text: str) -> None:
    found = body(f"x = {text}\n").get("x")
    assert isinstance(found, Traversal)
    assert target_of(found) is None


def test_references_say_where_in_the_body_they_stand() -> None:
    found = body(
        "a = aws_x.y.id\nrule {\n  b = local.c\n}\n"
        'dynamic "rule" {\n  for_each = var.m\n  content {\n    d = rule.value\n    e = var.f\n  }\n}\n'
    )
    assert {(item.target, item.path) for item in references(found)} == {
        ("aws_x.y", "a"),
        ("local.c", "rule.b"),
        ("var.m", "rule.for_each"),
        ("var.f", "rule.e"),
        ("rule.value", "rule.d"),
    }


def test_values_are_found_through_blocks_dynamics_objects_and_lists() -> None:
    found = body(
        'calls {\n  id = "a"\n}\ndynamic "calls" {\n  for_each = []\n  content {\n    id = "b"\n  }\n}\n'
        'list = [{ id = "c" }, { id = "d" }]\nmap = { x = "e", y = "f" }\nplain = ["g"]\n'
    )
    assert [constant_text(item) for item in find_values(found, "calls.id")] == ["a", "b"]
    assert [constant_text(item) for item in find_values(found, "list.id")] == ["c", "d"]
    assert [constant_text(item) for item in find_values(found, "map.*")] == ["e", "f"]
    assert [len(list(elements(item))) for item in find_values(found, "plain")] == [1]
    assert not list(find_values(found, "absent.id"))


def test_elements_look_through_lists_functions_and_both_results_of_a_condition() -> None:
    value = body('x = concat(["a"], toset([var.c ? "b" : "c"]))\n').get("x")
    assert value is not None
    assert [item.value for item in elements(value) if isinstance(item, Literal)] == ["a", "b", "c"]


def links(texts: dict[str, str]) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in edges(read_module(MemoryTree(texts), "."))}


def test_edges_go_from_what_needs_to_what_is_needed() -> None:
    found = links(
        {
            "main.tf": 'resource "a_b" "c" {\n  x = local.l\n  depends_on = [a_b.d]\n}\nresource "a_b" "d" {}\n'
            'locals {\n  l = var.v\n}\noutput "o" {\n  value = a_b.c.id\n}\n'
        }
    )
    assert found == {("a_b.c", "local.l"), ("a_b.c", "a_b.d"), ("local.l", "var.v"), ("output.o", "a_b.c")}


def test_edges_pass_through_the_inputs_and_outputs_of_modules() -> None:
    found = links(
        {
            "main.tf": 'module "m" {\n  source = "./m"\n  v = a_b.c.id\n}\nresource "a_b" "c" {}\n'
            'resource "a_b" "d" {\n  x = module.m.o\n}\n',
            "m/main.tf": 'variable "v" {}\nresource "a_b" "e" {\n  x = var.v\n}\noutput "o" {\n  value = a_b.e.id\n}\n',
        }
    )
    assert found == {
        ("module.m.var.v", "a_b.c"),
        ("module.m.a_b.e", "module.m.var.v"),
        ("module.m.output.o", "module.m.a_b.e"),
        ("a_b.d", "module.m.output.o"),
    }


def test_a_resource_needs_its_provider_configuration_and_what_that_needs() -> None:
    found = links({"main.tf": 'provider "a" {\n  x = a_b.c.id\n}\nresource "a_b" "c" {\n  provider = a\n}\n'})
    assert found == {("provider.a", "a_b.c"), ("a_b.c", "provider.a")}


def test_ignored_changes_and_own_provisioners_are_no_edges() -> None:
    found = links(
        {
            "main.tf": 'resource "a_b" "c" {\n  lifecycle {\n    ignore_changes = [x.y]\n  }\n'
            '  provisioner "local-exec" {\n    command = a_b.c.id\n  }\n}\n'
        }
    )
    assert found == set()
