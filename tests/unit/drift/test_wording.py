from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.drift.wording import align, hcl_assignment, hcl_value, reference_names
from interlock.hcl import constant, parse

plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_a_value_written_as_configuration_means_the_same(value: Any) -> None:
    text = f"x = {hcl_value(value, {})}\n"
    file = parse("x.tf", text.encode())
    assert not file.problems, text
    known = constant(file.body.get("x"))
    assert known is not None, text
    assert known.value == value, text


def test_lists_of_objects_become_blocks_and_ids_references() -> None:
    names = reference_names({"u-1": 'genesyscloud_user.all["ana"]', "u-2": "module.m.genesyscloud_user.ben"})
    assert names == {"u-1": 'genesyscloud_user.all["ana"].id'}
    written = hcl_assignment("members", [{"user_id": "u-1", "ring_num": 2, "note": None}], names, as_blocks=True)
    assert written == 'members {\n  user_id  = genesyscloud_user.all["ana"].id\n  ring_num = 2\n}'
    assert hcl_assignment("codes", ["a"], {}, as_blocks=True) == 'codes = ["a"]'
    assert hcl_assignment("codes", [], {}, as_blocks=True) == "codes = []"


def test_neighbouring_assignments_of_one_depth_are_aligned() -> None:
    lines = ["  x = 1", "  long_name = 2", "  block = [{", "    y = 1", "    zz = 2", "  }]", "  q = 3"]
    assert align(lines) == [
        "  x         = 1",
        "  long_name = 2",
        "  block = [{",
        "    y  = 1",
        "    zz = 2",
        "  }]",
        "  q = 3",
    ]
