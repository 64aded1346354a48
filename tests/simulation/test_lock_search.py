"""The exhaustive search at the scope that a test run can afford; `make search` searches further."""

from __future__ import annotations

import pytest
from tests.simulation.lock_search import Scope, Way, World, canonical, first_world, moves, search

SCOPES = {
    "three that poll": Scope(ways=(Way.POLLS,) * 3, ids=1, tries=1, faults=0, ticks=1),
    "two that poll, one mishap": Scope(ways=(Way.POLLS,) * 2, ids=1, tries=2, faults=1, ticks=0),
    "two held requests, one mishap": Scope(ways=(Way.WAITS,) * 2, ids=1, tries=2, faults=1, ticks=0),
    "a new id after each refusal": Scope(ways=(Way.POLLS, Way.WAITS), ids=2, tries=1, faults=0, ticks=1),
    "a bumped plan and two that wait": Scope(
        ways=(Way.PLANS, Way.WAITS, Way.WAITS), ids=1, tries=1, ticks=0, faults=0, bumps=1
    ),
}


@pytest.mark.promise("P1", "P2", "P3", "P4")
@pytest.mark.parametrize("scope", [pytest.param(scope, id=name) for name, scope in SCOPES.items()])
def test_no_order_of_events_breaks_a_promise(scope: Scope) -> None:
    found = search(scope)
    assert not found.promise, str(found)
    assert found.worlds > 300, "the search reaches next to nothing"


@pytest.mark.promise("P1", "P2")
@pytest.mark.parametrize("name", ["three that poll", "two held requests, one mishap"])
def test_worlds_that_differ_only_in_names_lead_to_the_same_worlds(name: str) -> None:
    """What allows the search to visit one of them: the names of clients that ask alike decide nothing."""
    scope = SCOPES[name]
    seen, ahead = set[World](), [first_world(scope)]
    while ahead and len(seen) < 400:
        world = ahead.pop()
        if world in seen:
            continue
        seen.add(world)
        after = [move()[1] for move in moves(world, scope)]
        ahead += after
        same = canonical(world)
        assert canonical(same) == same
        if same != world:
            assert {canonical(one) for one in after} == {canonical(move()[1]) for move in moves(same, scope)}


@pytest.mark.promise("P1", "P2")
def test_the_reduced_search_still_visits_every_kind_of_world() -> None:
    scope = SCOPES["three that poll"]
    whole, reduced = search(scope, reduce=False), search(scope)
    assert (whole.promise, reduced.promise) == ("", "")
    assert reduced.worlds < whole.worlds < 6 * reduced.worlds + 6  # three alike have six orders
