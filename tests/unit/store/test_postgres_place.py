from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from interlock.errors import UsageError
from interlock.store.postgres_place import PostgresPlace, parse_place


def place_of(url: str) -> PostgresPlace:
    return parse_place(urlsplit(url))


def test_an_address_becomes_what_libpq_is_given() -> None:
    place = place_of("postgresql://ann:s%40crit@db.example:5433/teams?sslmode=require")
    assert place.arguments == {
        "target_session_attrs": "read-write",
        "user": "ann",
        "password": "s@crit",
        "host": "db.example",
        "port": "5433",
        "dbname": "teams",
        "sslmode": "require",
    }
    assert place.schema == "interlock"
    assert place.listens
    assert place.is_prepared


def test_a_database_with_standbys_is_named_by_all_its_hosts() -> None:
    place = place_of("postgresql://ann@one:5432,two:5433,[::1]:5434/db")
    assert place.arguments["host"] == "one,two,::1"
    assert place.arguments["port"] == "5432,5433,5434"


def test_what_decides_is_read_from_the_primary_unless_the_address_says_otherwise() -> None:
    assert place_of("postgresql://h/d").arguments["target_session_attrs"] == "read-write"
    other = place_of("postgresql://h/d?target_session_attrs=primary")
    assert other.arguments["target_session_attrs"] == "primary"


def test_our_own_arguments_are_not_given_to_libpq() -> None:
    place = place_of("postgresql://h:6432/d?schema=team_a&listen=db:5432&prepared=off")
    assert not {"schema", "listen", "prepared"} & set(place.arguments)
    assert (place.schema, place.listen_at, place.is_prepared) == ("team_a", ("db", "5432"), False)
    assert place.for_listening()["host"] == "db"
    assert place.for_listening()["port"] == "5432"
    assert not place_of("postgresql://h/d?listen=off").listens


@pytest.mark.promise("P10")
def test_no_text_about_a_place_has_its_password() -> None:
    place = place_of("postgresql://ann:hunter2@h/d?sslpassword=hunter3&schema=s")
    for text in (place.shown, repr(place), str(place), place.masked("password hunter2 hunter3 is wrong")):
        assert "hunter" not in text
    assert place.shown == "postgresql://ann@h/d?schema=s"


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@h:port/d",
        "postgresql://ann:hunter2@h/d#x",
        "postgresql://ann:hunter2@h/d?schema=Big",
        "postgresql://ann:hunter2@h/d?schema=a;drop",
        "postgresql://ann:hunter2@h/d?schema=",
        "postgresql://ann:hunter2@h/d?listen=nowhere",
        "postgresql://ann:hunter2@h/d?prepared=maybe",
        "postgresql://ann:hunter2@h/d?novalue",
        "postgresql://ann:hunt/er2@h/d",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        place_of(url)
    assert refusal.value.why
    assert refusal.value.fix
    assert "hunt" not in str(refusal.value)
