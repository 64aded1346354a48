"""Tests of how a refusal crosses to a client."""

from __future__ import annotations

import msgspec
import pytest

from interlock import errors
from interlock.api import error_of, problem_of
from interlock.api.problem import _CLASSES
from interlock.coordinator.refusals import HeadMoved, PlaceLost
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost
from interlock.store import RecordDamaged
from interlock.store.refusals import StoreDenied, StoreUnfit


def _crossed(error: InterlockError) -> InterlockError:
    problem = problem_of(error)
    return error_of(problem.status, msgspec.json.encode(problem))


@pytest.mark.parametrize("kind", [each for each in _CLASSES if each is not RecordDamaged])
def test_an_error_is_the_same_on_both_sides(kind: type[InterlockError]) -> None:
    error = kind("it failed", why="a reason", fix="interlock doctor", state="prod", addresses=["a", "b"])
    crossed = _crossed(error)
    assert type(crossed) is kind
    assert (crossed.what, crossed.why, crossed.fix) == (error.what, error.why, error.fix)
    assert crossed.facts == error.facts
    assert crossed.exit_status == error.exit_status


def test_a_damaged_record_keeps_its_key() -> None:
    crossed = _crossed(RecordDamaged("state/prod"))
    assert isinstance(crossed, RecordDamaged)
    assert crossed.key == "state/prod"


def test_every_family_may_cross() -> None:
    families = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, InterlockError)}
    of_the_command_itself = {errors.Interrupted, errors.Terminated, errors.StateNotSaved}
    assert families - of_the_command_itself <= set(_CLASSES)
    assert {PlaceLost, HeadMoved} <= set(_CLASSES)


@pytest.mark.parametrize("kind", [StoreDenied, StoreUnfit])
def test_what_the_store_refuses_the_server_is_trouble_of_the_server(kind: type[InterlockError]) -> None:
    assert type(_crossed(kind("the store refuses us"))) is BackendUnavailable


def test_a_class_of_the_server_alone_crosses_as_its_family() -> None:
    class _Own(LeaseLost):
        pass

    assert type(_crossed(_Own("fenced"))) is LeaseLost


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b'{"type": 1}'])
def test_an_answer_of_something_in_between_is_a_server_that_cannot_be_reached(body: bytes) -> None:
    assert isinstance(error_of(502, body), BackendUnavailable)
