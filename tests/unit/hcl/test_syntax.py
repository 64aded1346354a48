import pytest

from interlock.hcl import (
    Access,
    Body,
    Call,
    Comprehension,
    Conditional,
    Expression,
    ListValue,
    Literal,
    Name,
    ObjectValue,
    Operation,
    Splat,
    Template,
    Traversal,
    Unknown,
    parse,
    traversals,
)
from interlock.hcl.expression import Index
from interlock.hcl.syntax import MAX_NESTING, MAX_PROBLEMS


def value(text: str) -> Expression:
    file = parse("main.tf", f"x = {text}\n".encode())
    assert not file.problems, file.problems
    found = file.body.get("x")
    assert found is not None
    return found


def text_at(file_text: str, expression: Expression) -> str:
    return file_text.encode()[expression.span.start : expression.span.end].decode()


def literal(text: str) -> object:
    found = value(text)
    assert isinstance(found, Literal), found
    return found.value


def test_a_block_has_its_labels_and_the_places_of_header_and_whole() -> None:
    file = parse("main.tf", b'# one\nresource "aws_x" "y" {\n  a = 1\n}\n')
    (block,) = file.body.nested
    assert (block.type, block.labels) == ("resource", ("aws_x", "y"))
    assert (block.header.line, block.header.column, block.header.end_line, block.header.end_column) == (2, 1, 2, 21)
    assert (block.span.line, block.span.end_line, block.span.end_column) == (2, 4, 2)


def test_an_attribute_has_the_places_of_its_name_and_of_all_of_it() -> None:
    file = parse("main.tf", b"a {\n  name  =  1\n}\n")
    attribute = file.body.nested[0].body.attributes["name"]
    assert (attribute.span.line, attribute.span.column, attribute.span.end_column) == (2, 3, 13)
    assert (attribute.name_span.column, attribute.name_span.end_column) == (3, 7)
    assert (attribute.value.span.column, attribute.value.span.end_column) == (12, 13)


def test_columns_count_characters_and_offsets_count_bytes() -> None:
    file = parse("main.tf", 'é = "ü"\nx = "äö" # 語\n'.encode())
    x = file.body.attributes["x"]
    assert (x.value.span.line, x.value.span.column, x.value.span.end_column) == (2, 5, 9)
    assert (x.value.span.start, x.value.span.end) == (14, 20)
    assert (file.comments[0].text, file.comments[0].span.column) == ("# 語", 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("25e-1", 2.5),
        ("1.5e3", 1500.0),
        ('"1e3"', "1e3"),
        ("true", True),
        ("false", False),
        ("null", None),
        ('""', ""),
        ('"a b"', "a b"),
        ('" a "', " a "),
        (r'"a\nb\t\"\\"', 'a\nb\t"\\'),
        (r'"\u00e9\U0001F600"', "é😀"),
        (r'"\ud800"', "�"),
        (r'"\Uffffffff"', "�"),
        ('"$${x} %%{y} $ % $$"', "${x} %{y} $ % $$"),
    ],
)
def test_literals_are_read_as_hcl_reads_them(text: str, expected: object) -> None:
    found = literal(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<EOT\n  a\n b\nEOT", "  a\n b\n"),
        ("<<-EOT\n    a\n      b\n    EOT", "a\n  b\n"),
        ("<<-EOT\n    a\n\n    b\n  EOT", "a\n\nb\n"),
        ("<<-EOT\n\ta\n\tEOT", "a\n"),
        ("<<EOT\nEOT", ""),
        ('<<EOT\na\\n "b" $${c}\nEOT', 'a\\n "b" ${c}\n'),
        ("<<EOT\r\na\r\nEOT\r", "a\r\n"),
    ],
)
def test_heredocs_are_read_as_hcl_reads_them(text: str, expected: str) -> None:
    assert literal(text) == expected


@pytest.mark.parametrize("number", ["1e3", "1E3", "1e+3", "1E-3", "-1e3", "max(1e3, 2)", '"${1e3}"'])
def test_an_exponent_leaves_what_stands_around_it_as_it_is(number: str) -> None:
    around = 'locals {{\n  first-1e3 = 1\n  last = {}\n}}\noutput "o" {{\n  value = <<E1e3\n1e3\nE1e3\n}}\n'
    file = parse("main.tf", around.format(number).encode())
    assert file.problems == ()
    assert [block.type for block in file.body.nested] == ["locals", "output"]
    assert list(file.body.nested[0].body.attributes) == ["first-1e3", "last"]
    assert file.body.nested[1].body.attributes["value"].value == Literal(
        span=file.body.nested[1].body.attributes["value"].value.span, value="1e3\n"
    )


def test_a_template_keeps_text_and_interpolations_in_order() -> None:
    template = value('" a ${var.b} c"')
    assert isinstance(template, Template)
    first, second, third = template.parts
    assert isinstance(first, Literal)
    assert isinstance(second, Traversal)
    assert isinstance(third, Literal)
    assert (first.value, second.names(), third.value) == (" a ", ("var", "b"), " c")
    assert (second.span.column, second.span.end_column) == (11, 16)


def test_strip_marks_take_the_blanks_around_an_interpolation() -> None:
    template = value('"a  ${~ var.b ~}  c"')
    assert isinstance(template, Template)
    assert [part.value for part in template.parts if isinstance(part, Literal)] == ["a", "c"]


def test_an_indented_heredoc_with_interpolation_loses_the_shared_indentation() -> None:
    template = value("<<-EOT\n    a ${var.b}\n      c\n    EOT")
    assert isinstance(template, Template)
    assert [part.value for part in template.parts if isinstance(part, Literal)] == ["a ", "\n  c\n"]


def test_references_in_directives_are_seen() -> None:
    found = value('"%{ if var.a }x%{ else }${var.c}%{ endif }%{ for v in var.b }${v}%{ endfor }"')
    assert {traversal.names() for traversal in traversals(found)} >= {("var", "a"), ("var", "b"), ("var", "c")}


def test_traversals_hold_names_indexes_and_splats() -> None:
    found = value('aws_x.y[0].z["k"].*.id')
    assert isinstance(found, Traversal)
    assert found.root == "aws_x"
    kinds = [type(step) for step in found.steps]
    assert kinds == [Name, Index, Name, Index, Splat, Name]
    assert found.names() == ("aws_x", "y")


def test_an_old_index_without_brackets_is_an_index() -> None:
    found = value("aws_x.y.0.id")
    assert isinstance(found, Traversal)
    key = found.steps[1]
    assert isinstance(key, Index)
    assert isinstance(key.key, Literal)
    assert key.key.value == 0


def test_steps_behind_a_call_are_an_access() -> None:
    found = value("one(aws_x.y).id")
    assert isinstance(found, Access)
    assert isinstance(found.source, Call)
    assert found.source.function == "one"


def test_parentheses_vanish() -> None:
    assert isinstance(value("(var.a)"), Traversal)


def test_collections_hold_their_items_and_bare_keys_are_text() -> None:
    found = value('{ a = 1, "b" : [2, 3], (var.c) = 4 }')
    assert isinstance(found, ObjectValue)
    first, second, third = (key for key, _ in found.items)
    assert isinstance(first, Literal)
    assert isinstance(second, Literal)
    assert isinstance(third, Traversal)
    assert (first.value, second.value, third.names()) == ("a", "b", ("var", "c"))
    inner = found.get("b")
    assert isinstance(inner, ListValue)
    assert len(inner.items) == 2


def test_a_chain_of_conditionals_groups_to_the_right() -> None:
    found = value("a ? b : c ? d : e")
    assert isinstance(found, Conditional)
    assert isinstance(found.condition, Traversal)
    assert isinstance(found.no, Conditional)
    assert text_at("x = a ? b : c ? d : e\n", found.no) == "c ? d : e"


def test_a_conditional_in_parentheses_stays_where_it_is() -> None:
    found = value("(a ? b : c) ? d : e")
    assert isinstance(found, Conditional)
    assert isinstance(found.condition, Conditional)


def test_operations_hold_operator_and_operands() -> None:
    found = value("!a && b")
    assert isinstance(found, Operation)
    assert found.operator == "&&"
    first = found.operands[0]
    assert isinstance(first, Operation)
    assert first.operator == "!"


def test_names_bound_by_a_for_are_no_references() -> None:
    found = value("{ for k, v in var.m : k => v.id if v.ok && local.on }")
    assert isinstance(found, Comprehension)
    assert [traversal.names() for traversal in traversals(found)] == [("var", "m"), ("local", "on")]


def test_the_source_of_a_for_is_outside_its_names() -> None:
    assert [found.root for found in traversals(value("[for v in v : v]"))] == ["v"]


def test_namespaced_functions_keep_their_name() -> None:
    found = value('provider::aws::arn_parse("x")')
    assert isinstance(found, Call)
    assert found.function == "provider::aws::arn_parse"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('a = 1\nresource "x" "y" {\n  b = 1\n', 2, 1, "the closing brace is missing for what begins here"),
        ("a = 1\nb = [1, 2\nc = 3\n", 2, 5, "the closing bracket is missing for what begins here"),
        ("a = 1\na = 2\n", 2, 1, 'the argument "a" is set twice'),
        ("a b c d\n", 1, 1, "this cannot be read as HCL"),
        ("a = \n", 2, 1, "a value is missing here"),
    ],
)
def test_a_broken_file_is_a_problem_with_its_place(text: str, line: int, column: int, message: str) -> None:
    problem = parse("main.tf", text.encode()).problems[0]
    assert (problem.span.line, problem.span.column, problem.message) == (line, column, message)


def test_what_stands_beside_a_break_is_kept() -> None:
    file = parse("main.tf", b'a = 1\nresource "x" "y" {\n  b = = 2\n}\n')
    assert file.problems
    assert "a" in file.body.attributes


def test_an_unclosed_quote_keeps_the_file_readable_enough_to_point_into_it() -> None:
    file = parse("main.tf", b'resource "x" {\n  a = "b\n}\n')
    assert file.problems[0].span.line == 2


def test_of_two_attributes_with_one_name_the_first_counts() -> None:
    body = parse("main.tf", b"a = 1\na = 2\n").body
    first = body.get("a")
    assert isinstance(first, Literal)
    assert first.value == 1


@pytest.mark.parametrize("text", ["((" * 100 + "1" + "))" * 100, "[" * 200 + "]" * 200, '"${' * 90 + "1" + '}"' * 90])
def test_nesting_beyond_the_limit_is_unknown_and_no_crash(text: str) -> None:
    file = parse("main.tf", f"x = {text}\n".encode())
    found = file.body.get("x")
    assert found is not None or file.problems
    assert found is None or any(isinstance(part, Unknown) for part in _walk(found))


def test_blocks_nested_beyond_the_limit_are_a_problem() -> None:
    depth = MAX_NESTING + 10
    file = parse("main.tf", b"a {\n" * depth + b"}\n" * depth)
    assert [problem.message for problem in file.problems] == [f"blocks are nested more than {MAX_NESTING} deep"]


def test_a_file_of_errors_gives_a_limited_number_of_problems() -> None:
    file = parse("main.tf", b"a = = 1\n" * 1000)
    assert 1 <= len(file.problems) <= MAX_PROBLEMS


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbfa = 1\n", b"\xff\xfe\x00", b"\x00" * 50, b"a = \xff\n"])
def test_odd_bytes_give_a_file(content: bytes) -> None:
    assert isinstance(parse("main.tf", content).body, Body)


def _walk(expression: Expression) -> list[Expression]:
    from interlock.hcl import walk

    return list(walk(expression))
