from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.drift import unmanaged
from interlock.drift.unmanaged import Listed, Look, free_address, full_types, is_wanted, read_listing, split_generated
from interlock.genesys.listings import find_listing, listed_types
from interlock.hcl import parse
from interlock.hcl.spelling import import_block

SKILL = "genesyscloud_routing_skill"
UUID = "2e369d1d-3e96-4682-a9c9-fea5aa28fe9b"
DIVISIONS = {"d-1": "Claims"}


def listed(name: str, *, division: str = "d-1") -> Listed:
    return Listed(type=SKILL, id="1", name=name, division=division)


def test_types_are_named_with_or_without_the_prefix() -> None:
    assert full_types(["routing_skill", SKILL, "nonsense"]) == ((SKILL,), ("nonsense",))
    assert full_types(["all"]) == (listed_types(), ())


def test_what_is_the_vendors_own_or_deleted_is_passed_over() -> None:
    rows = [
        {"id": "1", "name": "A", "division": {"id": "d-1"}},
        {"id": "2", "name": "Home", "homeDivision": True},
        {"id": "3", "name": "Gone", "state": "deleted"},
        {"name": "no id"},
        "nonsense",
    ]
    listing = find_listing(SKILL)
    assert listing is not None
    assert list(read_listing(SKILL, listing, rows)) == [listed("A")]


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (Look(), True),
        (Look(names=("fraud*",)), True),
        (Look(names=("sales*", "*desk")), True),
        (Look(names=("sales*",)), False),
        (Look(divisions=("claims",)), True),
        (Look(divisions=("d-1",)), True),
        (Look(divisions=("Home",)), False),
        (Look(names=("fraud*",), divisions=("Home",)), False),
    ],
)
def test_filters_by_name_and_division(look: Look, expected: bool) -> None:
    assert is_wanted(listed("Fraud desk"), look, DIVISIONS) is expected


@pytest.mark.parametrize(
    ("name", "label"),
    [("Fraud desk", "fraud_desk"), ("24/7", "_24_7"), ("ÄÖ", "object"), ("", "object"), ("x" * 200, "x" * 60)],
)
def test_an_address_is_made_from_the_name(name: str, label: str) -> None:
    assert free_address(listed(name), set()) == f"{SKILL}.{label}"


def test_an_address_is_free() -> None:
    taken = {f"{SKILL}.a", f"{SKILL}.a_2"}
    assert free_address(listed("A"), taken) == f"{SKILL}.a_3"


GENERATED = f"""# __generated__ by Terraform

# __generated__ by Terraform from "1"
resource "genesyscloud_user" "ben" {{
  department   = null
  division_id  = "{UUID}"
  email        = "ben@example.com"
  password     = null # sensitive
  skills       = ["{UUID}", "other"]
  media_settings_call = [{{
    alerting = 8
    x        = null
  }}]
  state = "active"
}}

# __generated__ by Terraform
resource "genesyscloud_user" "eve" {{
  title = null
}}
"""


def test_generated_configuration_loses_what_says_nothing_and_gains_references() -> None:
    found = split_generated(
        GENERATED,
        names={UUID: "genesyscloud_auth_division.claims.id"},
        empty={("genesyscloud_user.ben", "department")},
    )
    assert found["genesyscloud_user.eve"] == 'resource "genesyscloud_user" "eve" {\n}\n'
    assert (
        found["genesyscloud_user.ben"]
        == """resource "genesyscloud_user" "ben" {
  department  = ""
  division_id = genesyscloud_auth_division.claims.id
  email       = "ben@example.com"
  # password is sensitive and was not read
  skills = [genesyscloud_auth_division.claims.id, "other"]
  media_settings_call = [{
    alerting = 8
  }]
  state = "active"
}
"""
    )


@given(st.text())
def test_any_text_is_split_without_failing(text: str) -> None:
    split_generated(text, names={}, empty=set())


@given(st.text(max_size=40))
def test_an_import_block_is_whole_whatever_the_id(identifier: str) -> None:
    text = import_block(f"{SKILL}.a", identifier)
    assert not parse("x.tf", text.encode("utf-8", "replace")).problems


def test_what_cannot_be_generated_is_a_block_to_be_completed() -> None:
    flow = Listed(type="genesyscloud_flow", id="1", name="Welcome")
    finding = unmanaged.describe(flow, taken=set(), divisions={}, salt="s")
    assert "filepath" in unmanaged.skeleton(finding)
