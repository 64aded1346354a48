import pytest

from interlock.run.shown import by_address, spell_outputs, spell_value


def test_addresses_are_sorted_as_people_count() -> None:
    found = ["a.b[10]", "a.b[2]", "module.m.a.b", 'a.b["k10"]', "a.b"]
    assert sorted(found, key=by_address) == ["a.b", "a.b[2]", "a.b[10]", 'a.b["k10"]', "module.m.a.b"]


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("x", '"x"'),
        (1.5, "1.5"),
        (None, "null"),
        (True, "true"),
        ([], "[]"),
        ({}, "{}"),
        ("(sensitive value)", "<sensitive>"),
    ],
)
def test_a_value_is_spelled_as_terraform_spells_it(value: object, spelled: str) -> None:
    assert spell_value(value) == spelled


def test_a_value_that_is_nested_very_deeply_is_said_to_go_on() -> None:
    value: object = 1
    for _ in range(500):
        value = {"a": value}
    assert "{ … }" in spell_outputs({"deep": value})
