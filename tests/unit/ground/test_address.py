import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.address import Address, parse_address


@pytest.mark.parametrize(
    "text",
    [
        "a.b",
        "data.a.b",
        "a.b[0]",
        'a.b["x"]',
        "module.m.a.b",
        'module.m["k"].module.n[1].data.a.b["x.y"]',
        'a.b["with \\"quotes\\" and \\\\ and\\nlines"]',
    ],
)
def test_an_address_is_spelled_as_terraform_spelled_it(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "module.m", "a.b[", "a.b[x]", "1.b", "a b.c", "a.b\n", "x" * 5000])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address(text)


@given(st.text(max_size=30))
def test_any_text_can_be_a_key(key: str) -> None:
    address = Address(type="a", name="b", key=key)
    assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse_address(text)
    except ValueError:
        return


def test_the_configuration_has_no_keys() -> None:
    assert parse_address('module.m["k"].a.b[1]').config() == "module.m.a.b"


def test_instances_are_in_terraforms_order() -> None:
    texts = ['a.b["x"]', "a.b[10]", "a.b[9]", "a.b", 'a.b["B"]']
    assert [str(address) for address in sorted(map(parse_address, texts), key=Address.order)] == [
        "a.b",
        "a.b[9]",
        "a.b[10]",
        'a.b["B"]',
        'a.b["x"]',
    ]
