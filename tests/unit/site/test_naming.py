from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.coordinator.names import check_state_name
from interlock.site.naming import name_of


def test_a_plain_address_is_its_own_name() -> None:
    assert name_of("s3", "bucket/app/terraform.tfstate") == "s3/bucket/app/terraform.tfstate"


def test_addresses_that_would_look_alike_have_different_names() -> None:
    names = [name_of("s3", f"b/{key}") for key in ("env:/a/k", "env-/a/k", "env/a/k", "env:/a//k", ".env/a/k")]
    assert len(set(names)) == len(names)
    assert len({name_of("s3", f"b/{'x' * length}") for length in range(180, 260)}) == 80


@given(st.text(min_size=1, max_size=400))
def test_every_address_has_a_name_and_always_the_same_one(address: str) -> None:
    name = name_of("s3", address)
    assert check_state_name(name) == name
    assert name_of("s3", address) == name
