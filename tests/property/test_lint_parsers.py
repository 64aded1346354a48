"""Whatever the text: no crash, places inside the file, bounded work. And fixes never break what was whole."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.hcl import File, constant, parse, parse_constraint, parse_json, read_module, references, walk
from interlock.hcl.body import Body
from interlock.lint.catalogue import HCL_RULES
from interlock.lint.engine import Request, fix, lint
from interlock.lint.formats import render_github, render_gitlab, render_json, render_sarif, render_text
from interlock.lint.ignores import find_ignores
from interlock.source.tree import MemoryTree

NAMES = ["a", "name", "ü", "genesyscloud_routing_queue", "q", "id", "each", "local", "var", "data", "module", "self"]
PIECES = [
    *NAMES,
    *"{}[]()=,.?:*+-!<>|&%$\"'\\/#\n ",
    *("\n", "\r\n", "\t", "${", "%{", "~}", "<<EOT\n", "EOT\n", "<<-EOT\n", "/*", "*/", "//", "==", "&&", "=>", "..."),
    *(
        "resource",
        '"x"',
        "true",
        "null",
        "0",
        "1.5",
        "1e9",
        "for",
        "in",
        "if",
        "endif",
        "lifecycle {",
        "}\n",
        "dynamic",
    ),
    *("# interlock:ignore", " rule: because", "provider", '"genesyscloud"', "terraform {", "backend", '"s3" {'),
]
soup = st.lists(st.sampled_from(PIECES), max_size=80).map("".join)
modest = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def spans_lie_inside(file: File) -> None:
    size = len(file.content)
    pending: list[Body] = [file.body]
    while pending:
        body = pending.pop()
        places = [attribute.span for attribute in body.attributes.values()]
        for attribute in body.attributes.values():
            places += [part.span for part in walk(attribute.value)]
            constant(attribute.value)
        for block in body.nested:
            places += [block.span, block.header]
            pending.append(block.body)
        for span in places:
            assert 0 <= span.start <= span.end <= size
            assert (span.line, span.column) <= (span.end_line, span.end_column)
            assert span.line >= 1
            assert span.column >= 1
        list(references(body))
    for problem in file.problems:
        assert 0 <= problem.span.start <= problem.span.end <= size


@modest
@given(soup)
def test_any_text_is_read_as_hcl_without_a_crash(text: str) -> None:
    spans_lie_inside(parse("x.tf", text.encode("utf-8", "replace")))


@modest
@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_hcl_without_a_crash(content: bytes) -> None:
    spans_lie_inside(parse("x.tf", content))


@modest
@given(st.one_of(st.text(max_size=200), soup))
def test_any_text_is_read_as_json_without_a_crash(text: str) -> None:
    parse_json("x.tf.json", text.encode("utf-8", "surrogatepass"))


documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(), soup), inner, max_size=3)
    ),
    max_leaves=15,
)


@modest
@given(st.dictionaries(st.text(), documents, max_size=4))
def test_every_json_object_is_read_whole(document: dict[str, object]) -> None:
    file = parse_json("x.tf.json", json.dumps(document).encode())
    assert not file.problems
    assert set(file.body.attributes) == set(document) - {"//"}
    spans_lie_inside(file)


top = st.sampled_from(["terraform", "provider", "resource", "data", "locals", "variable", "module", "output", "other"])


@modest
@given(st.dictionaries(top, documents, max_size=5))
def test_any_json_configuration_is_linted_without_a_crash(document: dict[str, object]) -> None:
    lint(MemoryTree({"main.tf.json": json.dumps(document)}), Request(rules=HCL_RULES))


BLOCKS = [
    (
        'resource "genesyscloud_routing_queue" "q" {\n  name = "Q"\n'
        '  division_id = "3f2b8c1e-6d0a-4b57-9a63-0c1d2e3f4a5b"\n}\n'
    ),
    'data "genesyscloud_routing_queue" "q" {\n  name = "Q"\n}\n',
    'provider "genesyscloud" {\n  concurrency = 5\n  sdk_debug = true # x\n  token_pool_size = 1\n}\n',
    'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n  }\n}\n',
    'terraform {\n  required_providers {\n    genesyscloud = { source = "hashicorp/genesyscloud" }\n  }\n}\n',
    (
        'resource "aws_dynamodb_table" "tf_lock" {\n  name = "tf-lock"\n  read_capacity = 1\n  write_capacity = 2\n'
        '  hash_key = "id"\n\n  ttl {\n    enabled = true\n  }\n}\n'
    ),
    'resource "aws_s3_bucket" "tfstate" {\n  bucket = "tfstate"\n  acl = "public-read"\n}\n',
    'resource "genesyscloud_flow" "f" {\n  substitutions = { q = "Q" }\n}\n',
    'output "o" {\n  value = data.genesyscloud_routing_queue.q.id\n}\n',
    "locals {\n  a = local.b\n  b = local.a\n}\n",
    "# a comment\n",
    "\n",
]


@modest
@given(st.lists(st.sampled_from(BLOCKS), max_size=8), soup)
def test_fixes_never_break_a_file_and_come_to_an_end(blocks: list[str], rest: str) -> None:
    texts = {"main.tf": "".join(blocks), "rest.tf": rest.encode("utf-8", "replace").decode()}
    tree = MemoryTree(texts)
    changed = fix(tree, Request(rules=HCL_RULES))
    after = MemoryTree({**texts, **changed})
    before_problems = len(read_module(tree, ".").problems)
    assert len(read_module(after, ".").problems) <= before_problems


@modest
@given(soup)
def test_every_form_can_show_every_report(text: str) -> None:
    report = lint(MemoryTree({"main.tf": text, "é b.tf": text}), Request(rules=HCL_RULES))
    assert len(json.loads(render_json(report))["findings"]) == len(report.findings)
    assert len(json.loads(render_gitlab(report))) == len(report.findings)
    assert len(json.loads(render_sarif(report, HCL_RULES, version="1"))["runs"][0]["results"]) == len(report.findings)
    assert render_github(report).count("\n") == len(report.findings)
    assert render_text(report).isprintable() or "\n" in render_text(report)


@modest
@given(st.text(max_size=400))
def test_any_text_may_hold_ignores(text: str) -> None:
    list(find_ignores("f", (text + "# interlock:ignore " + text).encode("utf-8", "surrogatepass"), frozenset({"a"})))


@modest
@given(st.text(max_size=60))
def test_any_text_may_be_a_version_constraint(text: str) -> None:
    parse_constraint(text)
