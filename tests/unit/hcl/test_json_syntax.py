import pytest

from interlock.hcl import Literal, ObjectValue, Template, parse_json, traversals
from interlock.hcl.syntax import MAX_NESTING

STATE = """{
  "//": "a comment",
  "terraform": {"backend": {"s3": {"bucket": "b", "key": "k"}}},
  "resource": {"aws_x": {"y": {"name": "é${var.a}", "on": true, "n": 1.5}}}
}
"""


def test_blocks_are_found_at_any_label_depth() -> None:
    body = parse_json("main.tf.json", STATE.encode()).body
    terraform = body.block("terraform")
    assert terraform is not None
    backend = terraform.body.block("backend", labels=1)
    assert backend is not None
    assert backend.labels == ("s3",)
    (resource,) = body.blocks("resource", labels=2)
    assert resource.labels == ("aws_x", "y")


def test_lists_of_objects_are_several_blocks() -> None:
    body = parse_json("m.tf.json", b'{"provider": {"g": [{"alias": "a"}, {"alias": "b"}]}}').body
    assert [block.labels for block in body.blocks("provider", labels=1)] == [("g",), ("g",)]


def test_places_count_characters_and_bytes() -> None:
    body = parse_json("main.tf.json", STATE.encode()).body
    (resource,) = body.blocks("resource", labels=2)
    on = resource.body.attributes["on"]
    assert (on.name_span.line, on.name_span.column) == (4, 53)
    assert STATE.encode()[on.value.span.start : on.value.span.end] == b"true"


def test_strings_are_templates() -> None:
    body = parse_json("main.tf.json", STATE.encode()).body
    (resource,) = body.blocks("resource", labels=2)
    name = resource.body.get("name")
    assert isinstance(name, Template)
    assert [found.names() for found in traversals(name)] == [("var", "a")]
    assert name.parts[0].span == name.span


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (r'"a\"b ${x.y} \\ c"', [("x", "y")]),
        (r'"${lookup(var.m, \"k\")}"', [("var", "m")]),
        ('"$${x.y}"', []),
        ('"%{ if x.y }a%{ endif }"', [("x", "y")]),
        ('"plain"', []),
        ('"${broken"', []),
    ],
)
def test_quotes_and_escapes_in_templates_survive(text: str, names: list[tuple[str, ...]]) -> None:
    file = parse_json("m.tf.json", f'{{"a": {text}}}'.encode())
    value = file.body.get("a")
    assert value is not None
    assert [found.names() for found in traversals(value)] == names


def test_an_escaped_interpolation_is_text() -> None:
    value = parse_json("m.tf.json", b'{"a": "$${x} b"}').body.get("a")
    assert isinstance(value, Literal)
    assert value.value == "${x} b"


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ('{"a":}', 6, '"}" cannot stand here'),
        ('{"a":1,}', 8, "a name in quotes must stand here"),
        ("[1]", 1, "a JSON configuration must be one object"),
        ('{"a" 1}', 6, '":" must stand here'),
        ("{", 2, "this cannot be read as JSON"),
        ("", 1, "this cannot be read as JSON"),
        ('{"a": "\\q"}', 7, "this string has an escape that JSON does not know"),
        ('{"a": 1} x', 9, "there is more after the end of the object"),
        ('{"a": [1 2]}', 10, '"," or "]" must stand here'),
    ],
)
def test_broken_json_is_one_problem_with_its_place(text: str, column: int, message: str) -> None:
    file = parse_json("m.tf.json", text.encode())
    (problem,) = file.problems
    assert (problem.span.column, problem.message) == (column, message)
    assert not file.body.attributes


def test_nesting_beyond_the_limit_is_a_problem() -> None:
    depth = MAX_NESTING + 5
    (problem,) = parse_json("m.tf.json", b'{"a":' * depth + b"1" + b"}" * depth).problems
    assert problem.message == f"values are nested more than {MAX_NESTING} deep"


def test_half_of_a_surrogate_pair_becomes_a_replacement_character() -> None:
    value = parse_json("m.tf.json", b'{"a": "\\ud800 ${x.y}", "b": "\\ud83d\\ude00"}').body.get("a")
    assert isinstance(value, Template)


def test_the_last_of_two_equal_keys_counts_in_objects() -> None:
    value = parse_json("m.tf.json", b'{"a": {"k": 1, "k": 2}}').body.get("a")
    assert isinstance(value, ObjectValue)
    inner = value.get("k")
    assert isinstance(inner, Literal)
    assert inner.value == 2
