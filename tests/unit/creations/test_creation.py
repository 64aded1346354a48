from __future__ import annotations

import pytest
from msgspec.structs import replace

from interlock.creations.creation import Creation, Place, spell, spell_some
from interlock.testing.clock import START

HERE = Place(client="c1")


def creation(**facts: str) -> Creation:
    return replace(Creation(key="made/r1/1", run="r1", state="s", place=HERE, path="/x", at=START), **facts)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"type": "t", "name": "N", "id": "I"}, 't "N" (id I)'),
        ({"path": "/new/things/I", "id": "I"}, "made at /new/things/I, type unknown (id I)"),
        ({"type": "t", "name": "N", "doubt": "its answer was lost"}, 't "N" (its answer was lost)'),
        ({"type": "t"}, "t (its id is not known)"),
        ({"type": "t", "id": "I", "doubt": "its answer was lost"}, "t (id I; not certain: its answer was lost)"),
        ({"type": "t", "name": "a\x1b[31mb", "id": "I"}, 't "a\\x1b[31mb" (id I)'),
    ],
)
def test_a_creation_is_named_by_type_name_and_id(facts: dict[str, str], text: str) -> None:
    assert spell(creation(**facts)) == text


def test_many_are_counted() -> None:
    many = [creation(type="t", id=str(number)) for number in range(7)]
    assert spell_some(many, limit=2) == "t (id 0), t (id 1) and 5 more"


def test_an_organisation_is_told_apart_by_its_id_where_both_are_known_else_by_the_client() -> None:
    assert HERE.is_same(Place(client="c1", organisation="o1"))
    assert Place(client="c1", organisation="o1").is_same(Place(client="c2", organisation="o1"))
    assert not Place(client="c1", organisation="o1").is_same(Place(client="c1", organisation="o2"))
    assert not HERE.is_same(Place(client="c2"))


def test_only_what_has_a_type_and_an_id_can_be_imported() -> None:
    assert creation(type="t", import_id="I").is_importable
    assert not creation(type="t").is_importable
    assert not creation(import_id="I").is_importable
