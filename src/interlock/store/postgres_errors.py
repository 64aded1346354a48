"""What an error of PostgreSQL or of its driver means for the reader, and whether it may pass. Touches nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import psycopg

from interlock.errors import BackendUnavailable, InterlockError, UsageError, command
from interlock.foreign_text import shell_word
from interlock.store.postgres_place import PostgresPlace
from interlock.store.refusals import StoreDenied, StoreUnfit

_PASSES = frozenset(
    {
        "25006",  # a standby that is not promoted yet
        "40001",  # serialization failure
        "40P01",  # deadlock: nothing was written
        "53300",  # too many connections
        "55P03",  # lock not available
        "57014",  # cancelled by an administrator
        "57P01",  # shut down
        "57P02",  # crashed
        "57P03",  # starting up
        "57P05",  # ended for being idle
    }
)
_NO_DATABASE, _NO_ROLE = "3D000", "28000"
_ABSENT = re.compile(r'(?P<what>database|role) ".*" does not exist')
_WORDS_OF_DENIAL: Mapping[str, str] = {  # a failed connection has no SQLSTATE with every libpq
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
}
_WHY_BYTES_MAX = 300


class NotMade(StoreUnfit):
    """The database has none of our tables yet, or not all of them."""

    def __init__(self, place: PostgresPlace, *, why: str) -> None:
        super().__init__(
            f"the database {place.shown} is not ready for Interlock",
            why=why,
            fix=command("migrate", "--store", place.shown),
        )


def may_pass(error: psycopg.Error) -> bool:
    """Say whether the same may succeed a little later: the database restarts, fails over, or was merely crowded."""
    if _state_of(error) is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    state = _state_of(error) or ""
    return state in _PASSES or state.startswith("08")


def translate(error: psycopg.Error, place: PostgresPlace) -> InterlockError:
    """Return our error for one of the driver."""
    state, why = _state_of(error), first_line(error, place)
    for states, made in _MEANINGS:
        if state in states:
            return made(place, why)
    if isinstance(error, psycopg.ProgrammingError) and state is None:  # libpq does not understand an argument
        return UsageError("the address of a PostgreSQL store is not usable", why=why, fix="interlock serve --help")
    return unreachable(place, why)


def unreachable(place: PostgresPlace, why: str) -> BackendUnavailable:
    """Return the error for a database that does not answer."""
    return _unavailable(place, "cannot be reached", why, f"pg_isready --dbname={place.plain_word}")


def first_line(error: BaseException, place: PostgresPlace) -> str:
    """Return what the driver said, in one line and without secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    return place.masked(text)[:_WHY_BYTES_MAX]


def _unavailable(place: PostgresPlace, what: str, why: str, fix: str) -> BackendUnavailable:
    return BackendUnavailable(f"the database {place.shown} {what}", why=why, fix=fix)


def _state_of(error: psycopg.Error) -> str | None:
    if error.sqlstate:
        return error.sqlstate
    text = str(error)
    if found := _ABSENT.search(text):
        return _NO_DATABASE if found["what"] == "database" else _NO_ROLE
    return next((state for words, state in _WORDS_OF_DENIAL.items() if words in text), None)


def _refused(place: PostgresPlace, why: str) -> InterlockError:
    fix = f"psql --dbname={place.plain_word} --command='\\conninfo'    asks for the password; put it in PGPASSWORD"
    return StoreDenied(f"the database {place.shown} refused us", why=why, fix=fix)


def _not_granted(place: PostgresPlace, why: str) -> InterlockError:
    show = f"psql --dbname={place.plain_word} --command='\\dn+'"
    fix = f"{show}    shows the grants; the owner of the database gives those that are missing"
    return StoreDenied(f"the database {place.shown} refused us", why=why, fix=fix)


def _no_database(place: PostgresPlace, why: str) -> InterlockError:
    return StoreUnfit(f"there is no database {place.shown}", why=why, fix=_createdb(place))


def _not_made(place: PostgresPlace, why: str) -> InterlockError:
    return NotMade(place, why=why)


def _full(place: PostgresPlace, why: str) -> InterlockError:
    return _unavailable(place, "could not grow: its disk is full", why, "free space on the database's disk")


def _damaged(place: PostgresPlace, why: str) -> InterlockError:
    return _unavailable(place, "is damaged", why, "look at the database's log, and restore it from a backup")


def _not_prepared(place: PostgresPlace, why: str) -> InterlockError:
    mark = "&" if "?" in place.shown else "?"
    address = shell_word(f"{place.shown}{mark}prepared=off")
    return StoreUnfit(
        f"the database {place.shown} knows our statements no more",
        why=f"{why}; a pooler before it hands each transaction to another session",
        fix=f"write the address with prepared=off: {address}",
    )


def _createdb(place: PostgresPlace) -> str:
    words = "--encoding=UTF8 --template=template0"
    return f"createdb --maintenance-db={place.beside_word} {words} {shell_word(place.database or 'interlock')}"


_MEANINGS: tuple[tuple[frozenset[str], Callable[[PostgresPlace, str], InterlockError]], ...] = (
    (frozenset({"28000", "28P01"}), _refused),
    (frozenset({"42501"}), _not_granted),
    (frozenset({_NO_DATABASE}), _no_database),
    (frozenset({"3F000", "42P01", "42703", "42883"}), _not_made),
    (frozenset({"26000", "42P05"}), _not_prepared),
    (frozenset({"53100"}), _full),
    (frozenset({"XX001", "XX002", "58P01"}), _damaged),
)
"""By SQLSTATE, what an error means."""
