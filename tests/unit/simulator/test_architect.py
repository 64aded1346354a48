from typing import Any

import pytest

DAY = {"name": "Day", "start": "2026-01-01T08:00:00.000000", "end": "2026-01-01T17:00:00.000000", "rrule": "FREQ=DAILY"}
TABLE = {
    "name": "Rates",
    "schema": {
        "type": "object",
        "required": ["key"],
        "properties": {
            "key": {"$id": "/properties/key", "type": "string", "displayOrder": 0},
            "rate": {"$id": "/properties/rate", "type": "number", "displayOrder": 1},
        },
    },
}


def test_a_schedule_is_changed_under_its_version(api: Any) -> None:
    schedule = api.post("/architect/schedules", DAY)
    assert schedule["division"]["id"]
    path = f"/architect/schedules/{schedule['id']}"
    assert api.send("PUT", path, {**DAY, "version": 5}).status == 409
    assert api.done(api.send("PUT", path, {**DAY, "name": "Night", "version": 1}))["version"] == 2


@pytest.mark.parametrize("field", ["start", "end"])
@pytest.mark.parametrize("value", ["tomorrow", "2026-01-01T08:00:00Z", 5, None])
def test_a_schedule_needs_local_times(api: Any, field: str, value: object) -> None:
    assert api.send("POST", "/architect/schedules", {**DAY, field: value}).status == 400


def test_a_chain_of_uses_is_deleted_only_from_its_end(api: Any) -> None:
    schedule = api.post("/architect/schedules", DAY)["id"]
    group = api.post("/architect/schedulegroups", {"name": "Shop", "openSchedules": [{"id": schedule}]})["id"]
    ivr = api.post("/architect/ivrs", {"name": "Main", "dnis": ["+13175550100"], "scheduleGroup": {"id": group}})["id"]
    used = api.send("DELETE", f"/architect/schedules/{schedule}")
    assert used.status == 409
    assert group in used.content["message"]
    held = api.send("DELETE", f"/architect/schedulegroups/{group}")
    assert held.status == 409
    assert ivr in held.content["message"]
    for path in (f"/architect/ivrs/{ivr}", f"/architect/schedulegroups/{group}", f"/architect/schedules/{schedule}"):
        assert api.send("DELETE", path).status == 204


@pytest.mark.parametrize(
    "body",
    [
        {"dnis": ["123"]},
        {"dnis": "+13175550100"},
        {"scheduleGroup": {"id": "nobody"}},
        {"openHoursFlow": {"id": "nobody"}},
    ],
)
def test_a_wrong_ivr_is_a_400(api: Any, body: dict[str, Any]) -> None:
    assert api.send("POST", "/architect/ivrs", {"name": "Main", **body}).status == 400


def test_a_data_table_shows_its_schema_only_when_asked(api: Any) -> None:
    table = api.post("/flows/datatables", TABLE)["id"]
    assert "schema" not in api.get(f"/flows/datatables/{table}", expand="")
    assert "rate" in api.get(f"/flows/datatables/{table}", expand="schema")["schema"]["properties"]
    assert "rows" not in api.get("/flows/datatables")["entities"][0]


def test_rows_fit_their_table_and_force_deletes_it_with_them(api: Any) -> None:
    table = api.post("/flows/datatables", TABLE)["id"]
    rows = f"/flows/datatables/{table}/rows"
    assert api.post(rows, {"key": "a", "rate": 1.5}) == {"key": "a", "rate": 1.5}
    assert api.send("POST", rows, {"key": "a"}).status == 409
    assert api.send("POST", rows, {"key": "b", "colour": "red"}).status == 400
    assert api.done(api.send("PUT", rows + "/a", {"rate": 2})) == {"rate": 2, "key": "a"}
    assert api.get(rows)["total"] == 1
    assert api.send("DELETE", f"/flows/datatables/{table}").status == 409
    assert api.send("DELETE", f"/flows/datatables/{table}", force="true").status == 204


@pytest.mark.parametrize(
    "schema", [None, {}, {"properties": {"a": {"type": "string"}}}, {"properties": {"key": {}}}, 5]
)
def test_a_table_without_a_key_column_is_a_400(api: Any, schema: object) -> None:
    assert api.send("POST", "/flows/datatables", {"name": "Rates", "schema": schema}).status == 400
