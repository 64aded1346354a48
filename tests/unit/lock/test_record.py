from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from interlock.errors import BackendUnavailable, InterlockError
from interlock.lock import (
    NEW_LOCK,
    Elapsed,
    Paused,
    Priority,
    Released,
    Renewed,
    Withdrawn,
    claim_of,
    decide,
    from_data,
    to_data,
)
from interlock.lock.record import SCHEMA

QueueOf = Callable[..., Any]
T0 = datetime(2026, 11, 24, tzinfo=UTC)


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    decoded = json.loads(msgspec.json.encode(data))
    assert isinstance(decoded, dict)
    return decoded


@pytest.fixture
def busy(queue_of: QueueOf) -> Any:
    scene = queue_of("a", "b", "c", "d")
    scene.tell(Released(ticket="a", token=1))
    scene.tell(Withdrawn(ticket="c", by="änna", reason="superseded"))
    scene.ask("p", priority=Priority.PLAN, claim=claim_of(writes=['x.y["k"]'], reads=["x.z"]), lock_id="L1")
    scene.tell(Paused(by="anna", reason="maintenance"))
    scene.ask("t", claim=claim_of(writes=["x.y"]), through="another pause")
    scene.tell(Renewed(ticket="d"), at_s=20.123456)
    return scene


def test_a_lock_survives_the_way_to_json_and_back(busy: Any) -> None:
    assert busy.lock.waiters[-1].doubted_at is not None
    assert from_data(through_json(to_data(busy.lock))) == busy.lock
    assert from_data(through_json(to_data(NEW_LOCK))) == NEW_LOCK
    assert from_data(to_data(busy.lock)) == busy.lock


def test_unknown_fields_are_tolerated(busy: Any) -> None:
    data = through_json(to_data(busy.lock))
    data["novelty"] = 1
    data["holders"][0]["novelty"] = {"x": 1}
    data["waiters"][0]["claim"]["novelty"] = []
    assert from_data(data) == busy.lock


def test_a_newer_schema_is_refused_with_the_way_out() -> None:
    with pytest.raises(BackendUnavailable, match="newer Interlock") as caught:
        from_data({**to_data(NEW_LOCK), "schema": SCHEMA + 1})
    assert "upgrade" in caught.value.fix


@pytest.mark.parametrize("data", [None, [], "x", {}, {"schema": "1"}, {"schema": 0}, {"schema": 1}])
def test_what_is_no_record_is_refused_in_three_parts(data: object) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        from_data(data)
    assert caught.value.why
    assert caught.value.fix


def test_a_run_that_is_a_path_is_in_no_lock(busy: Any) -> None:
    for parties in ("holders", "waiters"):
        data = through_json(to_data(busy.lock))
        data[parties][0]["run"] = "../../app"
        with pytest.raises(BackendUnavailable, match="lock record"):
            from_data(data)


def test_a_record_damaged_anywhere_never_gives_a_traceback(busy: Any) -> None:
    whole = through_json(to_data(busy.lock))
    wrongs: tuple[object, ...] = (None, -1, "x", [], {}, True, 1e400, 10**30)
    for path in _paths(whole):
        for value in wrongs:
            damaged = json.loads(json.dumps(whole))
            _put(damaged, path, value)
            with suppress(InterlockError):
                decide(from_data(damaged), Elapsed(), now=T0)


def _paths(data: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = [prefix] if prefix else []
    for step, value in steps:
        found += _paths(value, (*prefix, step))
    return found


def _put(data: Any, path: tuple[Any, ...], value: object) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value
