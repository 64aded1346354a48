"""The exhaustive search at the scope that a test run can afford; `make search` searches further."""

from __future__ import annotations

import pytest
from tests.simulation.lock_search import Scope, Way, search

SCOPES = {
    "three that poll": Scope(ways=(Way.POLLS,) * 3, ids=1, tries=1, faults=0, ticks=1),
    "two that poll, one mishap": Scope(ways=(Way.POLLS,) * 2, ids=1, tries=2, faults=1, ticks=0),
    "two held requests, one mishap": Scope(ways=(Way.WAITS,) * 2, ids=1, tries=2, faults=1, ticks=0),
    "a new id after each refusal": Scope(ways=(Way.POLLS, Way.WAITS), ids=2, tries=1, faults=0, ticks=1),
    "a promoted plan and two that wait": Scope(
        ways=(Way.PLANS, Way.WAITS, Way.WAITS), ids=1, tries=1, ticks=0, faults=0, bumps=1
    ),
}


@pytest.mark.promise("P1", "P2", "P3", "P4")
@pytest.mark.parametrize("scope", [pytest.param(scope, id=name) for name, scope in SCOPES.items()])
def test_no_order_of_events_breaks_a_promise(scope: Scope) -> None:
    found = search(scope)
    assert not found.promise, str(found)
    assert found.worlds > 500, "the search reaches next to nothing"
