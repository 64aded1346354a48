from __future__ import annotations

import pytest

from interlock.genesys.listings import find_listing, is_passed_over, listed_types
from interlock.genesys.references import resource_types
from interlock.genesys.spellings import Equal, spellings


def test_every_listed_type_exists() -> None:
    assert set(listed_types()) <= set(resource_types())
    assert all(find_listing(each) is not None for each in listed_types())
    assert find_listing("genesyscloud_nothing") is None


@pytest.mark.parametrize("kind", listed_types())
def test_a_type_whose_configuration_cannot_be_generated_says_what_it_needs(kind: str) -> None:
    listing = find_listing(kind)
    assert listing is not None
    assert listing.path.startswith("/")
    assert listing.generates is not bool(listing.needs)


def test_the_home_division_and_what_is_deleted_are_passed_over() -> None:
    assert is_passed_over({"homeDivision": True})
    assert is_passed_over({"state": "deleted"})
    assert not is_passed_over({"state": "active", "homeDivision": False})


def test_every_built_in_spelling_has_a_reason_and_says_where_it_was_read() -> None:
    assert {each.equal for each in spellings()} == {Equal.EMPTY, Equal.NUMBER, Equal.JSON}
    assert all(each.reason and each.evidence for each in spellings())
