from collections.abc import Callable

import pytest

Found = Callable[..., list[str]]
Fixed = Callable[..., dict[str, str]]

ID = "3f2b8c1e-6d0a-4b57-9a63-0c1d2e3f4a5b"


def queue(*lines: str, label: str = "q") -> str:
    return f'resource "genesyscloud_routing_queue" "{label}" {{\n' + "".join(f"  {line}\n" for line in lines) + "}\n"


# reference-literal-id


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ((f'division_id = "{ID}"',), "2:17"),
        ((f'division_id = "{ID.upper()}"',), "2:17"),
        (("division_id = local.d",), "5:7"),
        ((f'division_id = var.x ? var.d : "{ID}"',), "2:33"),
        (("members {", f'  user_id = "{ID}"', "}"), "3:15"),
        (('dynamic "members" {', "  for_each = []", "  content {", f'    user_id = "{ID}"', "  }", "}"), "5:17"),
        ((f'wrapup_codes = [var.a, "{ID}"]',), "2:26"),
    ],
)
def test_a_literal_id_is_found_where_it_is_written(found: Found, lines: tuple[str, ...], place: str) -> None:
    text = queue(*lines) + f'locals {{\n  d = "{ID}"\n}}\n'
    assert found(text, "reference-literal-id") == [f"main.tf:{place} reference-literal-id"]


@pytest.mark.parametrize(
    "lines",
    [
        ("division_id = data.genesyscloud_auth_division.d.id",),
        ("division_id = var.d",),
        ('division_id = "*"',),
        (f'name = "{ID}"',),
        (f'description = "moved from {ID}"',),
        ("members {", "  user_id = each.value", "}"),
    ],
)
def test_references_alternatives_and_other_attributes_are_left_alone(found: Found, lines: tuple[str, ...]) -> None:
    assert found(queue(*lines), "reference-literal-id") == []


def test_ids_in_other_providers_resources_are_left_alone(found: Found) -> None:
    assert found(f'resource "aws_x" "y" {{\n  division_id = "{ID}"\n}}\n', "reference-literal-id") == []


# reference-by-name


def test_a_lookup_of_what_is_managed_is_found_at_the_data_source(found: Found) -> None:
    text = queue('name = "Billing"') + 'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n'
    assert found(text, "reference-by-name") == ["main.tf:4:1 reference-by-name"]


def test_a_lookup_across_modules_of_one_root_is_found(found: Found) -> None:
    texts = {
        "main.tf": 'module "a" {\n  source = "./a"\n}\nmodule "b" {\n  source = "./b"\n}\n',
        "a/main.tf": queue('name = "Billing"'),
        "b/main.tf": 'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n',
    }
    assert found(texts, "reference-by-name") == ["b/main.tf:1:1 reference-by-name"]


@pytest.mark.parametrize(
    "data",
    [
        'data "genesyscloud_routing_queue" "b" {\n  name = "Other"\n}\n',
        'data "genesyscloud_routing_queue" "b" {\n  name = genesyscloud_routing_queue.q.name\n}\n',
        'data "genesyscloud_routing_queue" "b" {\n  name = var.n\n}\n',
        (
            'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n'
            "  depends_on = [genesyscloud_routing_queue.q]\n}\n"
        ),
        'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n  provider = genesyscloud.eu\n}\n',
        'data "genesyscloud_routing_skill" "b" {\n  name = "Billing"\n}\n',
    ],
    ids=["other", "reference", "unknown", "waits", "organisation", "type"],
)
def test_other_lookups_are_left_alone(found: Found, data: str) -> None:
    assert found(queue('name = "Billing"') + data, "reference-by-name") == []


def test_a_lookup_with_one_differing_argument_means_something_else(found: Found) -> None:
    flow = 'resource "genesyscloud_flow" "f" {\n  name = "Main"\n  type = "INBOUNDCALL"\n}\n'
    data = 'data "genesyscloud_flow" "f" {\n  name = "Main"\n  type = "%s"\n}\n'
    assert found(flow + data % "INBOUNDCALL", "reference-by-name") == ["main.tf:5:1 reference-by-name"]
    assert found(flow + data % "BOT", "reference-by-name") == []


def test_roots_of_their_own_are_not_compared(found: Found) -> None:
    texts = {
        "a/main.tf": queue('name = "Billing"'),
        "b/main.tf": 'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n',
    }
    assert found(texts, "reference-by-name") == []


def test_the_lookup_is_replaced_by_the_resource(fixed: Fixed) -> None:
    data = '# the queue\ndata "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n'
    use = (
        'output "o" {\n  value = [data.genesyscloud_routing_queue.b.id, "${data.genesyscloud_routing_queue.b.id}"]\n}\n'
    )
    after = fixed({"main.tf": queue('name = "Billing"') + data, "out.tf": use}, "reference-by-name")
    assert after["main.tf"] == queue('name = "Billing"') + "# the queue\n"
    assert after["out.tf"] == use.replace("data.genesyscloud_routing_queue.b", "genesyscloud_routing_queue.q")


def test_a_lookup_whose_other_attributes_are_used_is_not_replaced(fixed: Fixed) -> None:
    data = 'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n'
    text = queue('name = "Billing"') + data + 'output "o" {\n  value = data.genesyscloud_routing_queue.b\n}\n'
    assert fixed(text, "reference-by-name")["main.tf"] == text


def test_a_name_in_an_attribute_that_holds_names_is_found(found: Found) -> None:
    text = (
        'resource "genesyscloud_knowledge_label" "l" {\n  name = "Tariffs"\n}\n'
        'resource "genesyscloud_knowledge_document" "d" {\n'
        '  knowledge_document {\n    label_names = ["Tariffs"]\n  }\n}\n'
    )
    assert found(text, "reference-by-name") == ["main.tf:6:20 reference-by-name"]


# dependency-hidden


FLOW = 'resource "genesyscloud_flow" "f" {\n  filepath      = "f.yaml"\n  substitutions = { q = "Billing" }\n}\n'


def test_a_managed_name_in_a_flows_substitutions_is_found(found: Found) -> None:
    assert found(queue('name = "Billing"') + FLOW, "dependency-hidden") == ["main.tf:6:25 dependency-hidden"]


@pytest.mark.parametrize(
    "text",
    [
        FLOW,
        queue('name = "Other"') + FLOW,
        queue('name = "Billing"') + FLOW.replace('"Billing"', "genesyscloud_routing_queue.q.name"),
        queue('name = "Billing"') + FLOW.replace("}\n}", "}\n  depends_on = [genesyscloud_routing_queue.q]\n}"),
        queue('name = "Billing"')
        + FLOW.replace('"f.yaml"', "local.f")
        + "locals {\n  f = genesyscloud_routing_queue.q.id\n}\n",
        queue('name = "Billing"') + queue('name = "Billing"', label="r") + FLOW,
        'resource "aws_x" "y" {\n  name = "Billing"\n}\n' + FLOW,
    ],
    ids=["unmanaged", "other", "reference", "depends_on", "through-local", "two", "provider"],
)
def test_other_texts_and_visible_dependencies_are_left_alone(found: Found, text: str) -> None:
    assert found(text, "dependency-hidden") == []


POOL = (
    'resource "genesyscloud_telephony_providers_edges_did_pool" "p" {\n'
    '  start_phone_number = "+13175550000"\n  end_phone_number = "+13175550009"\n}\n'
)


def ivr(*lines: str, number: str = "+13175550004") -> str:
    return (
        f'resource "genesyscloud_architect_ivr" "i" {{\n  dnis = ["{number}"]\n'
        + "".join(f"  {line}\n" for line in lines)
        + "}\n"
    )


def test_a_number_out_of_a_managed_pool_is_found(found: Found) -> None:
    assert found(POOL + ivr(), "dependency-hidden") == ["main.tf:6:11 dependency-hidden"]


@pytest.mark.parametrize("number", ["+13175550010", "+1317555000", "+113175550004", "tel:+23175550004"])
def test_a_number_outside_the_pool_is_left_alone(found: Found, number: str) -> None:
    assert found(POOL + ivr(number=number), "dependency-hidden") == []


def test_a_number_with_a_dependency_is_left_alone(found: Found) -> None:
    depends = "depends_on = [genesyscloud_telephony_providers_edges_did_pool.p]"
    assert found(POOL + ivr(depends), "dependency-hidden") == []


def test_the_dependency_is_written_down(fixed: Fixed) -> None:
    after = fixed(POOL + ivr("name = 1 # x"), "dependency-hidden")["main.tf"]
    assert after == POOL + ivr("name = 1 # x").removesuffix("}\n") + (
        "\n  depends_on = [genesyscloud_telephony_providers_edges_did_pool.p]\n}\n"
    )


def test_the_dependency_joins_those_that_are_there(fixed: Fixed) -> None:
    after = fixed(POOL + ivr("depends_on = [genesyscloud_user.a]"), "dependency-hidden")["main.tf"]
    assert after == POOL + ivr("depends_on = [genesyscloud_user.a, genesyscloud_telephony_providers_edges_did_pool.p]")


# dependency-cycle


def test_a_cycle_is_found_once_and_shows_its_shortest_way(found: Found) -> None:
    text = (
        'resource "a_b" "x" {\n  v = a_b.y.id\n}\nresource "a_b" "y" {\n  v = local.z\n}\n'
        "locals {\n  z = a_b.x.id\n  long = a_b.y.id\n}\n"
    )
    assert found(text, "dependency-cycle") == ["main.tf:2:7 dependency-cycle"]


def test_two_cycles_are_two_findings(found: Found) -> None:
    text = "locals {\n  a = local.b\n  b = local.a\n  c = local.c\n}\n"
    assert found(text, "dependency-cycle") == ["main.tf:2:7 dependency-cycle", "main.tf:4:7 dependency-cycle"]


def test_a_cycle_through_a_module_is_found(found: Found) -> None:
    texts = {
        "main.tf": 'module "m" {\n  source = "./m"\n  v = module.m.o\n}\n',
        "m/main.tf": 'variable "v" {}\noutput "o" {\n  value = var.v\n}\n',
    }
    assert found(texts, "dependency-cycle") == ["main.tf:3:7 dependency-cycle"]


@pytest.mark.parametrize(
    "texts",
    [
        {"main.tf": "locals {\n  a = local.b\n  b = local.c\n  c = 1\n}\n"},
        {"main.tf": 'resource "a_b" "x" {\n  lifecycle {\n    ignore_changes = [v]\n  }\n  v = self.v\n}\n'},
        {
            "main.tf": 'module "m" {\n  source = "./m"\n  v = module.m.other\n}\n',
            "m/main.tf": 'variable "v" {}\noutput "o" {\n  value = var.v\n}\noutput "other" {\n  value = 1\n}\n',
        },
        {"main.tf": 'provider "a" {\n  x = local.r\n}\nlocals {\n  r = var.r\n}\nresource "a_b" "c" {}\n'},
    ],
    ids=["chain", "self", "two-outputs", "provider"],
)
def test_what_is_no_cycle_is_left_alone(found: Found, texts: dict[str, str]) -> None:
    assert found(texts, "dependency-cycle") == []


UNREAD = "git::https://git.example.net/modules/bucket.git?ref=v1"


@pytest.mark.parametrize("source", ["./bucket", "../modules/bucket", UNREAD])
def test_an_output_of_a_module_that_cannot_be_read_need_not_need_every_input(found: Found, source: str) -> None:
    text = (
        f'module "m" {{\n  source = "{source}"\n  name = "n"\n  policy = local.policy\n}}\n'
        "locals {\n  policy = jsonencode(module.m.arn)\n}\n"
    )
    assert found(text, "dependency-cycle") == []
    two = (
        f'module "a" {{\n  source = "{source}"\n  x = module.b.o\n}}\n'
        f'module "b" {{\n  source = "{source}"\n  x = module.a.p\n}}\n'
    )
    assert found(two, "dependency-cycle") == []


@pytest.mark.parametrize(
    "lines",
    [
        "  count = module.m.n",
        '  depends_on = [a_b.c]\n}\nresource "a_b" "c" {\n  x = module.m.o',
        '  v = a_b.c.id\n}\nresource "a_b" "c" {\n  depends_on = [module.m]',
    ],
    ids=["count", "depends-on-user", "user-depends-on-whole"],
)
def test_a_cycle_through_what_a_whole_unread_module_waits_for_is_certain(found: Found, lines: str) -> None:
    assert len(found(f'module "m" {{\n  source = "{UNREAD}"\n{lines}\n}}\n', "dependency-cycle")) == 1


def test_a_long_cycle_is_shortened_in_its_message() -> None:
    from interlock.lint.catalogue import find_rule
    from interlock.lint.engine import Request, lint
    from interlock.source.tree import MemoryTree

    rule = find_rule("dependency-cycle")
    assert rule is not None
    lines = "".join(f"  l{number} = local.l{(number + 1) % 500}\n" for number in range(500))
    (item,) = lint(MemoryTree({"main.tf": f"locals {{\n{lines}}}\n"}), Request(rules=(rule,))).findings
    assert len(item.finding.message) < 400


# force-deleted


def test_queues_and_tables_without_protection_are_found(found: Found) -> None:
    text = queue() + 'resource "genesyscloud_architect_datatable" "t" {}\nresource "genesyscloud_user" "u" {}\n'
    assert found(text, "force-deleted") == ["main.tf:1:1 force-deleted", "main.tf:3:1 force-deleted"]


@pytest.mark.parametrize("value", ["true", "var.protect"])
def test_protected_ones_are_left_alone(found: Found, value: str) -> None:
    assert found(queue("lifecycle {", f"  prevent_destroy = {value}", "}"), "force-deleted") == []


def test_protection_switched_off_is_none(found: Found) -> None:
    text = queue("lifecycle {", "  prevent_destroy = false", "}")
    assert found(text, "force-deleted") == ["main.tf:1:1 force-deleted"]


def test_a_flow_is_looked_up_by_the_name_in_its_yaml(found: Found) -> None:
    texts = {
        "main.tf": 'resource "genesyscloud_flow" "main" {\n  filepath = "flows/main.yaml"\n}\n'
        'data "genesyscloud_flow" "main" {\n  name = "Main Flow"\n}\n',
        "flows/main.yaml": "inboundCall:\n  name: Main Flow\n",
    }
    assert found(texts, "reference-by-name") == ["main.tf:4:1 reference-by-name"]
    assert found({**texts, "flows/main.yaml": "inboundCall:\n  name: Another\n"}, "reference-by-name") == []
    assert found({"main.tf": texts["main.tf"]}, "reference-by-name") == []


@pytest.mark.parametrize(("waits", "fires"), [("  depends_on = [module.make]\n", False), ("", True)])
def test_a_module_that_waits_for_another_may_look_up_what_that_makes(found: Found, waits: str, fires: bool) -> None:
    texts = {
        "main.tf": f'module "make" {{\n  source = "./make"\n}}\nmodule "use" {{\n  source = "./use"\n{waits}}}\n',
        "make/main.tf": queue('name = "Billing"'),
        "use/main.tf": 'data "genesyscloud_routing_queue" "b" {\n  name = "Billing"\n}\n',
    }
    assert bool(found(texts, "reference-by-name")) is fires
