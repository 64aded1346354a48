"""A run's creations: what is written down when, what strikes it out, what is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.unit.creations.test_holdings import state

from interlock.creations.book import CreationBook
from interlock.creations.creation import Creation, Place
from interlock.errors import BackendUnavailable
from interlock.gateway.witness import Effect, Heard, Sent
from interlock.run.place_witness import PlaceWitness
from interlock.run.planned_creations import PlannedCreation
from interlock.run.run_creations import QUIET_S, RunCreations
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

pytestmark = pytest.mark.promise("P3")

QUEUE, SKILL = "genesyscloud_routing_queue", "genesyscloud_routing_skill"
HERE, THERE = Place(client="here"), Place(client="there")
QUEUES = "/api/v2/routing/queues"


class FullBook(CreationBook):
    """A book that cannot be written while the disk is full."""

    is_full = False

    async def write(self, creation: Creation) -> None:
        if self.is_full:
            raise BackendUnavailable("the disk is full")
        await super().write(creation)


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.book = FullBook(MemoryRecords(clock=self.clock))
        self.ids = CountingIds()
        self.living: set[str] = set()
        self.run = self.begin("r1")

    def begin(self, run: str, state_name: str = "s") -> RunCreations:
        return RunCreations(
            self.book,
            run=run,
            state=state_name,
            clock=self.clock,
            ids=self.ids,
            hide=lambda text: text.replace("hunter2", "***"),
            lives=lambda name: name in self.living,
        )

    async def settle(
        self, stored: bytes | None, *, succeeded: bool = False, run: RunCreations | None = None
    ) -> list[Creation]:
        return list(await (run or self.run).settle(holding(stored), nowhere, succeeded=succeeded))


def nowhere(_place: Place) -> None:
    return None


def holding(body: bytes | None) -> Callable[[], Awaitable[bytes | None]]:
    async def stored() -> bytes | None:
        return body

    return stored


def post(path: str = QUEUES, **body: object) -> Sent:
    return Sent(method="POST", path=path, body=json.dumps(body).encode())


def answered(status: int = 200, **body: object) -> Heard:
    return Heard(effect=Effect.ANSWERED, status=status, body=json.dumps(body).encode())


LOST = Heard(effect=Effect.UNKNOWN)


async def make(witness: PlaceWitness, sent: Sent, heard: Heard) -> None:
    await witness.ended(await witness.begins(sent), sent, heard)


async def test_a_call_is_in_the_book_before_it_is_sent_and_its_id_before_its_answer_is_given_on() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    sent = post(name="Support")
    name = await witness.begins(sent)
    [before] = await scene.book.all()
    assert (before.type, before.name, before.id, before.doubt) == (
        QUEUE,
        "Support",
        "",
        "it was sent, and no answer was heard",
    )
    await witness.ended(name, sent, answered(id="I", name="Support"))
    [after] = await scene.book.all()
    assert (after.id, after.import_id, after.path, after.doubt) == ("I", "I", "/routing/queues/I", "")


@pytest.mark.parametrize("heard", [Heard(effect=Effect.NONE), answered(409, message="taken"), answered(400)])
async def test_what_was_refused_or_never_sent_is_struck_out(heard: Heard) -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="Support"), heard)
    assert await scene.book.all() == []


@pytest.mark.parametrize(
    ("heard", "doubt"),
    [(LOST, "its answer was lost"), (Heard(effect=Effect.UNKNOWN, status=503), "the API answered 503")],
)
async def test_what_may_have_been_done_stays_in_doubt(heard: Heard, doubt: str) -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="Support"), heard)
    assert [each.doubt for each in await scene.settle(None)] == [doubt]


async def test_the_stored_state_strikes_out_what_it_holds() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, post(name="A"), answered(id="A"))
    await make(witness, post(name="B"), answered(id="B"))
    assert [each.id for each in await scene.settle(state((QUEUE, {"id": "A"})))] == ["B"]
    assert [each.id for each in await scene.book.all()] == ["B"]


async def test_a_second_object_of_a_repeated_call_is_an_orphan_although_the_state_has_the_first() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    for identifier in ("A", "B"):
        await make(witness, post("/api/v2/routing/skills", name="Same"), answered(id=identifier))
    assert [each.id for each in await scene.settle(state((SKILL, {"id": "B", "name": "Same"})))] == ["A"]


async def test_a_failed_attempt_is_forgotten_when_the_object_was_made_later() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, post(name="A"), Heard(effect=Effect.UNKNOWN, status=503))
    await make(witness, post(name="A"), answered(id="A"))
    assert await scene.settle(state((QUEUE, {"id": "A", "name": "A"}))) == []
    assert await scene.book.all() == []


async def test_a_deletion_strikes_out_also_what_an_earlier_run_made() -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="A"), answered(id="A"))
    later = scene.begin("r2")
    witness = later.witness(HERE, [""])
    assert [each.id for each in await later.begin(holding(None), nowhere)] == ["A"]
    gone = Sent(method="DELETE", path=f"{QUEUES}/A", body=b"")
    await make(later.witness(THERE, ["other"]), gone, answered(200))
    assert len(await scene.book.all()) == 1, "another organisation's object of that path"
    await make(witness, gone, Heard(effect=Effect.UNKNOWN))
    assert len(await scene.book.all()) == 1, "nobody knows whether it was deleted"
    await make(witness, gone, answered(404))
    assert await scene.book.all() == []


async def test_an_object_of_an_unknown_path_is_kept_with_its_path() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, post("/api/v2/new/things", name="T"), answered(id="I", name="T"))
    await make(witness, post("/api/v2/new/questions"), answered(status=202))
    [left] = await scene.settle(None)
    assert (left.type, left.path, left.name) == ("", "/new/things/I", "T")


def test_parts_and_questions_are_not_asked_about() -> None:
    witness = Scene().run.witness(HERE, [""])
    assert not witness.wants("POST", f"{QUEUES}/Q/members")
    assert not witness.wants("POST", "/api/v2/users/search")
    assert not witness.wants("PUT", f"{QUEUES}/Q")
    assert not witness.wants("GET", f"{QUEUES}/Q")
    assert witness.wants("DELETE", f"{QUEUES}/Q")


async def test_no_secret_of_an_answer_or_a_body_gets_into_the_book() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    sent = post("/api/v2/oauth/clients", name="name with hunter2", secret="s3cr3t")
    await make(witness, sent, answered(id="I", name="name with hunter2", secret="s3cr3t"))
    [record] = await scene.book._records.list("made/")
    assert b"s3cr3t" not in record.value
    assert b"hunter2" not in record.value


async def test_a_flow_is_what_its_job_publishes() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, post("/api/v2/flows/jobs"), answered(id="J"))
    [waiting] = await scene.book.all()
    assert (waiting.job, waiting.id) == ("J", "")
    asked = Sent(method="GET", path="/api/v2/flows/jobs/J", body=b"")
    await make(witness, asked, Heard(effect=Effect.ANSWERED, status=200, body=b'{"status": "Started"}'))
    await make(
        witness,
        asked,
        Heard(effect=Effect.ANSWERED, status=200, body=b'{"status": "Success", "flow": {"id": "F", "name": "Main"}}'),
    )
    [made] = await scene.book.all()
    assert (made.type, made.id, made.name, made.doubt) == ("genesyscloud_flow", "F", "Main", "")


async def test_a_failed_job_has_made_nothing() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, post("/api/v2/flows/jobs"), answered(id="J"))
    asked = Sent(method="GET", path="/api/v2/flows/jobs/J", body=b"")
    await make(witness, asked, Heard(effect=Effect.ANSWERED, status=200, body=b'{"status": "Failure"}'))
    assert await scene.book.all() == []


async def test_a_user_who_is_brought_back_is_made_and_one_who_is_changed_is_not() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    back = Sent(method="PATCH", path="/api/v2/users/U", body=b'{"state": "active", "email": "a@b.c"}')
    await make(witness, back, answered(id="U", email="a@b.c"))
    await make(witness, Sent(method="PATCH", path="/api/v2/users/V", body=b'{"title": "x"}'), answered(id="V"))
    assert [(each.id, each.name) for each in await scene.book.all()] == [("U", "a@b.c")]


async def test_the_organisation_is_learned_from_the_providers_own_question() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    await make(witness, Sent(method="GET", path="/api/v2/organizations/me", body=b""), answered(id="O"))
    await make(witness, post(name="A"), answered(id="A"))
    assert [each.place.organisation for each in await scene.book.all()] == ["O"]


async def test_a_full_disk_stops_no_call_and_what_was_made_is_named_and_written_later() -> None:
    scene = Scene()
    scene.book.is_full = True
    await make(scene.run.witness(HERE, [""]), post(name="A"), answered(id="A"))
    assert await scene.book.all() == []
    scene.book.is_full = False
    assert [each.id for each in await scene.settle(None)] == ["A"]
    assert [each.id for each in await scene.book.all()] == ["A"]


async def test_the_end_waits_for_an_answer_whose_provider_is_gone() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    sent = post(name="A")
    name = await witness.begins(sent)
    settling = asyncio.create_task(scene.settle(None))
    await asyncio.sleep(0)
    await witness.ended(name, sent, answered(id="A"))
    assert [each.id for each in await settling] == ["A"]


async def test_the_end_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.run.run_creations.QUIET_S", QUIET_S / 1000)
    scene = Scene()
    await scene.run.witness(HERE, [""]).begins(post(name="A"))
    assert [each.doubt for each in await scene.settle(None)] == ["it was sent, and no answer was heard"]


async def test_nothing_is_called_an_orphan_when_the_state_cannot_be_read_after_a_success() -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="A"), answered(id="A"))
    assert [each.id for each in await scene.settle(b'{"encrypted_data": "x"}')] == ["A"]
    assert await scene.settle(b'{"encrypted_data": "x"}', succeeded=True) == []


async def test_the_state_is_not_read_when_nothing_was_made() -> None:
    async def stored() -> bytes | None:
        raise AssertionError

    assert await Scene().run.settle(stored, nowhere, succeeded=True) == ()
    assert await Scene().run.begin(stored, nowhere) == ()


async def test_a_lost_answer_is_looked_for_at_the_end() -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="A"), LOST)

    async def ask(path: str, _query: str) -> tuple[int, bytes]:
        entities = [{"id": "I", "name": "A"}] if path == QUEUES else []
        return 200, json.dumps({"entities": entities, "pageCount": 1}).encode()

    [found] = await scene.run.settle(holding(None), lambda _place: ask, succeeded=False)
    assert (found.id, found.doubt) == ("I", "its answer was lost; an object of this name is there")


async def test_an_earlier_doubt_is_settled_by_a_look_or_by_the_object_that_was_made_since() -> None:
    scene = Scene()
    for name in ("There", "Since"):
        await make(scene.begin("r0").witness(HERE, [""]), post(name=name), LOST)

    async def ask(_path: str, _query: str) -> tuple[int, bytes]:
        entities = [{"id": "T", "name": "There"}]
        return 200, json.dumps({"entities": entities, "pageCount": 1}).encode()

    left = await scene.run.begin(holding(None), lambda _place: ask)
    assert [(each.name, each.id) for each in left] == [("There", "T"), ("Since", "")]
    assert await scene.settle(state((QUEUE, {"id": "S", "name": "Since"}))) == []
    assert [each.id for each in await scene.book.all()] == ["T"]


# -- earlier runs and the plan ----------------------------------------------------------------------------------------


async def left_by(scene: Scene, run: str, state_name: str = "s", place: Place = HERE, name: str = "Support") -> None:
    await make(scene.begin(run, state_name).witness(place, [""]), post(name=name), answered(id=f"{run}-{name}"))


async def test_the_next_run_of_the_state_names_what_is_left_and_strikes_out_what_was_imported_since() -> None:
    scene = Scene()
    await left_by(scene, "r0")
    await left_by(scene, "r0", name="Sales")
    left = await scene.run.begin(holding(state((QUEUE, {"id": "r0-Sales"}))), nowhere)
    assert [each.id for each in left] == ["r0-Support"]
    assert [each.id for each in await scene.book.all()] == ["r0-Support"]


async def test_what_a_living_run_of_another_state_makes_is_no_orphan() -> None:
    scene = Scene()
    await left_by(scene, "other", state_name="t")
    scene.living = {"other"}
    scene.run.witness(HERE, [""])
    assert await scene.run.begin(holding(None), nowhere) == ()
    planned = PlannedCreation(address="q.a", type=QUEUE, name="Support")
    assert scene.run.expect([planned]) == ()


@pytest.mark.parametrize(
    ("state_name", "place", "name", "kind", "repeats"),
    [
        ("s", HERE, "Support", QUEUE, True),
        ("s", HERE, "support", QUEUE, True),
        ("t", HERE, "Support", QUEUE, True),
        ("t", THERE, "Support", QUEUE, False),
        ("s", HERE, "Sales", QUEUE, False),
        ("s", HERE, "Support", SKILL, False),
        ("s", HERE, "", QUEUE, False),
    ],
)
async def test_a_plan_that_repeats_an_orphan_of_its_organisation_is_told(
    state_name: str, place: Place, name: str, kind: str, repeats: bool
) -> None:
    scene = Scene()
    await left_by(scene, "r0", state_name=state_name, place=place)
    scene.run.witness(HERE, [""])
    await scene.run.begin(holding(None), nowhere)
    found = scene.run.expect([PlannedCreation(address="q.a", type=kind, name=name)])
    assert bool(found) is repeats


async def test_a_plan_of_one_organisation_does_not_repeat_what_another_alias_has() -> None:
    scene = Scene()
    await left_by(scene, "r0", state_name="t", place=THERE)
    scene.run.witness(HERE, [""])
    scene.run.witness(THERE, ["other"])
    await scene.run.begin(holding(None), nowhere)
    assert scene.run.expect([PlannedCreation(address="q.a", type=QUEUE, name="Support")]) == ()
    assert len(scene.run.expect([PlannedCreation(address="q.a", type=QUEUE, name="Support", alias="other")])) == 1


async def test_the_plan_says_where_an_object_was_wanted() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    scene.run.expect(
        [
            PlannedCreation(address="q.a", type=QUEUE, name="A"),
            PlannedCreation(address="q.b", type=QUEUE, name="B"),
            PlannedCreation(address="s.a", type=SKILL),
        ]
    )
    for name in ("B", "C"):
        await make(witness, post(name=name), answered(id=name))
    await make(witness, post("/api/v2/routing/skills", name="S"), answered(id="S"))
    assert {each.id: each.address for each in await scene.book.all()} == {"B": "q.b", "C": "", "S": "s.a"}


async def test_two_objects_of_one_name_have_no_certain_address() -> None:
    scene = Scene()
    witness = scene.run.witness(HERE, [""])
    scene.run.expect([PlannedCreation(address=f"q.{each}", type=QUEUE, name="A") for each in "ab"])
    await make(witness, post(name="A"), answered(id="A"))
    assert [each.address for each in await scene.book.all()] == [""]


async def test_an_old_look_does_not_take_a_young_object_for_gone() -> None:
    scene = Scene()
    await make(scene.run.witness(HERE, [""]), post(name="A"), answered(id="A"))
    [left] = await scene.settle(None)
    assert scene.clock.now() - left.at < timedelta(minutes=5)
