from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.unit.creations.test_creation import creation

from interlock.creations.creation import Creation
from interlock.creations.looking import SHOWN_AFTER, look_again
from interlock.testing.clock import START

QUEUE = "genesyscloud_routing_queue"
LATER = START + SHOWN_AFTER + timedelta(seconds=1)
THERE = creation(type=QUEUE, id="I", import_id="I", name="N", path="/routing/queues/I")
UNHEARD = creation(type=QUEUE, name="N", path="/routing/queues", doubt="its answer was lost")


class Asked:
    def __init__(self, answers: dict[str, tuple[int, object]]) -> None:
        self.answers = answers
        self.paths: list[str] = []

    async def __call__(self, path: str, query: str) -> tuple[int, bytes]:
        self.paths.append(f"{path}?{query}")
        status, body = self.answers.get(path, (404, {}))
        return status, json.dumps(body).encode()


async def look(made: Creation, answers: dict[str, tuple[int, object]], late: bool = True) -> Creation | None:
    return await look_again(made, Asked(answers), now=LATER if late else START)


async def test_an_object_that_is_not_found_long_after_it_was_made_is_gone() -> None:
    assert await look(THERE, {}) is None
    assert await look(THERE, {"/api/v2/routing/queues/I": (200, {"state": "deleted"})}, late=False) is None


async def test_one_that_is_not_shown_yet_may_still_be_there() -> None:
    assert await look(THERE, {}, late=False) == THERE


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_a_look_that_was_refused_proves_nothing(status: int) -> None:
    assert await look(THERE, {"/api/v2/routing/queues/I": (status, {})}) == THERE


async def test_the_path_of_an_object_of_an_unknown_type_is_a_guess_so_404_proves_nothing() -> None:
    unknown = creation(id="I", path="/new/things/I")
    assert await look(unknown, {}) == unknown


async def test_a_lost_answer_is_found_by_type_and_name() -> None:
    entities = [{"id": "I", "name": "n"}, {"id": "J", "name": "other"}]
    found = await look(UNHEARD, {"/api/v2/routing/queues": (200, {"entities": entities, "pageCount": 1})})
    assert found is not None
    assert (found.id, found.import_id, found.path) == ("I", "I", "/routing/queues/I")
    assert found.doubt == "its answer was lost; an object of this name is there"


async def test_a_lost_answer_without_such_an_object_made_nothing_once_it_must_be_shown() -> None:
    nothing: dict[str, tuple[int, object]] = {"/api/v2/routing/queues": (200, {"entities": [], "pageCount": 1})}
    assert await look(UNHEARD, nothing) is None
    assert await look(UNHEARD, nothing, late=False) == UNHEARD


async def test_two_objects_of_one_name_decide_nothing() -> None:
    entities = [{"id": "I", "name": "N"}, {"id": "J", "name": "N"}]
    assert await look(UNHEARD, {"/api/v2/routing/queues": (200, {"entities": entities, "pageCount": 1})}) == UNHEARD


async def test_a_type_that_cannot_be_listed_stays_in_doubt() -> None:
    made = creation(type="genesyscloud_location", name="N", path="/locations", doubt="its answer was lost")
    assert await look(made, {}) == made


async def test_a_job_tells_what_it_published() -> None:
    job = creation(type="genesyscloud_flow", path="/flows/jobs", job="J", doubt="not heard")
    done = (200, {"status": "Success", "flow": {"id": "F", "name": "Main"}})
    found = await look(job, {"/api/v2/flows/jobs/J": done})
    assert found is not None
    assert (found.id, found.path, found.name, found.doubt, found.job) == ("F", "/flows/F", "Main", "", "")
    assert await look(job, {"/api/v2/flows/jobs/J": (200, {"status": "Failure"})}) is None
    assert await look(job, {"/api/v2/flows/jobs/J": (200, {"status": "Started"})}) == job
    assert await look(job, {}) == job
