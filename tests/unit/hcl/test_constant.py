import pytest

from interlock.hcl import Expression, Known, Scope, constant, constant_flag, constant_number, constant_text, parse


def expression(text: str) -> Expression:
    found = parse("x.tf", f"x = {text}\n".encode()).body.get("x")
    assert found is not None
    return found


def scope(variables: dict[str, Known] | None = None, **locals_: str) -> Scope:
    return Scope(locals={name: expression(text) for name, text in locals_.items()}, variables=variables or {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a"', "a"),
        ("[1, true]", [1, True]),
        ('{ a = 1, b = "c" }', {"a": 1, "b": "c"}),
        ("local.name", "prod"),
        ('"${local.name}-x"', "prod-x"),
        ('"${local.name}"', "prod"),
        ('local.map["k"].v', 1),
        ("local.map.k.v", 1),
        ("local.list[1]", "b"),
        ("[1, 2][0]", 1),
        ('local.name == "prod" ? 1 : 2', 1),
        ('local.name != "prod" ? 1 : 2', 2),
        ("!true", False),
        ("true && false", False),
        ("true || false", True),
        ("-3", -3),
        ('upper("a")', "A"),
        ("tostring(1)", "1"),
        ('toset(["a"])', ["a"]),
        ("null", None),
        ("var.known", "v"),
    ],
)
def test_what_is_certain_is_worked_out(text: str, expected: object) -> None:
    names = scope(
        {"known": Known(value="v")}, name='"prod"', map="{ k = { v = 1 } }", list='["a", "b"]', unknown="var.other"
    )
    assert constant(expression(text), names) == Known(value=expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "var.other",
        "local.unknown",
        '"a${var.other}"',
        "[var.other]",
        "aws_x.y.id",
        "each.value",
        "local.absent",
        'file("x")',
        "local.list[5]",
        'local.map["absent"]',
        "var.other ? 1 : 1",
        '1 == "1"',
        "[for v in [1] : v]",
        "local.list[*]",
        "[1] == [1]",
    ],
)
def test_what_is_not_certain_is_not_guessed(text: str) -> None:
    names = scope(list='["a"]', map="{}", unknown="var.other")
    assert constant(expression(text), names) is None


def test_locals_in_a_circle_are_unknown() -> None:
    assert constant(expression("local.a"), scope(a="local.b", b="local.a")) is None


def test_locals_that_double_at_each_link_take_no_time() -> None:
    doubling = {f"l{number}": f'"${{local.l{number + 1}}}${{local.l{number + 1}}}"' for number in range(30)}
    texts = {**doubling, "l30": '"x"'}
    names = Scope(locals={name: expression(text) for name, text in texts.items()})
    assert constant(expression("local.l0"), names) is None
    assert constant_text(expression("local.l20"), names) == "x" * 1024


def test_an_object_keeps_the_members_that_are_certain() -> None:
    assert constant(expression("{ a = 1, b = var.x }")) == Known(value={"a": 1})


@pytest.mark.parametrize(("text", "expected"), [("true", True), ('"false"', False), ('"yes"', None), ("var.x", None)])
def test_flags_may_be_text(text: str, expected: bool | None) -> None:
    assert constant_flag(expression(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10.0), ('"10"', 10.0), ("true", None), ('"x"', None), ("null", None), ("[1]", None)]
)
def test_numbers_may_be_text(text: str, expected: float | None) -> None:
    assert constant_number(expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("1", "1"), ("1.0", "1"), ("1.5", "1.5"), ("true", "true"), ("null", None)]
)
def test_text_is_what_terraform_converts_to(text: str, expected: str | None) -> None:
    assert constant_text(expression(text)) == expected


def test_an_absent_expression_has_no_value() -> None:
    assert constant(None) is None
    assert constant_text(None) is None
