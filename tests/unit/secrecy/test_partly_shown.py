"""Values some of whose fields are never shown."""

from __future__ import annotations

from typing import ClassVar

import pytest
from rich.pretty import pretty_repr

from interlock.secrecy import PartlyShown
from interlock.terraform.command import HttpBackend


class _Letter(PartlyShown, frozen=True, kw_only=True):
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    to: str
    body: str = ""


@pytest.mark.promise("P10")
def test_what_is_hidden_is_in_no_picture_of_the_value() -> None:
    letter = _Letter(to="you", body="the secret")
    assert repr(letter) == str(letter) == "_Letter(to='you')"
    assert "secret" not in pretty_repr(letter)


def test_values_are_compared_with_what_is_hidden() -> None:
    assert _Letter(to="you", body="one") != _Letter(to="you", body="two")


@pytest.mark.promise("P10")
def test_every_field_that_is_to_be_hidden_is_one() -> None:
    kinds: list[type[PartlyShown]] = PartlyShown.__subclasses__()
    assert _Letter in kinds
    for kind in kinds:
        assert set(kind.__struct_fields__) >= kind.HIDDEN > frozenset(), kind


@pytest.mark.promise("P10")
def test_the_way_to_a_states_backend_is_never_shown() -> None:
    backend = HttpBackend(address="http://a/s1", lock_address="http://a/s2", username="u", password="s3")
    assert not [word for word in ("s1", "s2", "s3") if word in repr(backend)]
