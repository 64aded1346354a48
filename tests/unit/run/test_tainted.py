"""Tainted objects: found in a state, looked at, and told with the line that keeps one."""

from __future__ import annotations

import json

import pytest
from tests.unit.creations.test_holdings import QUEUE, state

from interlock.creations.looking import Ask
from interlock.run.tainted import Tainted, find_tainted, judge_look, look_at_all, tainted_text

pytestmark = pytest.mark.promise("P9")

SUPPORT = Tainted(
    address=f"{QUEUE}.n0", type=QUEUE, id="I", attributes={"id": "I", "name": "Support", "secret": "s3cr3t"}
)


def test_only_tainted_objects_are_found_with_their_provider_configuration() -> None:
    body = json.loads(state((QUEUE, {"id": "I", "name": "Support", "secret": "s3cr3t"}), status="tainted"))
    assert find_tainted(json.dumps(body).encode()) == [SUPPORT]
    body["resources"][0]["provider"] += ".other"
    assert [each.alias for each in find_tainted(json.dumps(body).encode())] == ["other"]
    assert find_tainted(state((QUEUE, {"id": "I", "name": "tainted"}))) == []
    assert find_tainted(b"{") == find_tainted(None) == []


@pytest.mark.parametrize(
    ("status", "shown", "text"),
    [
        (200, {"name": "Support"}, "there, as planned in name"),
        (200, {"name": "Other"}, "there, but not as planned in name: kept, the next apply changes it in place"),
        (200, {}, "there"),
        (200, {"state": "deleted"}, "gone: nothing is there to keep"),
        (404, {}, "gone: nothing is there to keep"),
        (403, {}, ""),
        (503, {}, ""),
    ],
)
def test_a_look_says_what_the_organisation_shows_and_never_a_value(status: int, shown: object, text: str) -> None:
    assert judge_look(SUPPORT, status, json.dumps(shown).encode()) == text


async def test_a_look_goes_to_the_organisation_of_the_objects_own_provider_configuration() -> None:
    asked: list[str] = []

    async def ask(path: str, _query: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b'{"name": "Support"}'

    def ask_for(alias: str) -> Ask | None:
        return ask if alias == "" else None

    elsewhere = Tainted(address="x", type=QUEUE, id="J", alias="other")
    assert await look_at_all([SUPPORT, elsewhere], ask_for) == {SUPPORT.address: "there, as planned in name"}
    assert asked == ["/api/v2/routing/queues/I"]


def test_the_printed_line_is_for_one_that_is_there() -> None:
    gone = Tainted(address="a.gone", type=QUEUE, id="G")
    seen = {"a.gone": "gone: nothing is there to keep"}
    text = tainted_text([gone, SUPPORT], seen, state="prod/q", program="terraform")
    assert "a.gone (gone: nothing is there to keep)" in text
    assert "The next apply makes a new one, with a new id" in text
    assert text.endswith(
        f"interlock state pull prod/q > prod-q.tfstate && terraform untaint -state=prod-q.tfstate {QUEUE}.n0 && "
        "interlock state push --state prod/q prod-q.tfstate"
    )
    assert "s3cr3t" not in text
