"""Whatever is sent, the simulated organisation answers with a proper status and stays as it should be."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.simulator import DEFAULT_CLIENT, Moment, Request, Simulation, Terms
from interlock.simulator.table import ROWS

NAMES = [
    "id", "name", "email", "state", "version", "division", "divisionId", "members", "mediaSettings", "acwSettings",
    "call", "serviceLevel", "percentage", "durationMs", "alertingTimeoutSeconds", "memberGroups", "type",
    "queueFlow", "ownerIds", "memberIds", "query", "fields", "value", "values", "start", "end", "rrule",
    "openSchedules", "dnis", "scheduleGroup", "schema", "properties", "key", "interval", "filters", "property",
    "sort", "manager", "wrapupPrompt", "timeoutMs", "addresses", "proficiency", "ringNumber", "scriptId",
    "newPassword", "serviceName", "visibility", "title", "description", "timeZone", "rows", "skillEvaluationMethod",
    "openHoursFlow",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["official", "EXACT", "key", "*", "active", "2026-01-01T08:00:00", "2020-01-01Z/2030-01-01Z", "GROUP"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


TIMES = {"start": "2026-01-01T08:00:00", "end": "2026-01-01T09:00:00"}
BODIES: dict[str, dict[str, Any]] = {
    "/routing/skills": {"name": "s"},
    "/routing/wrapupcodes": {"name": "w"},
    "/routing/queues": {"name": "q"},
    "/users": {"name": "u", "email": "u@x.y"},
    "/groups": {"name": "g"},
    "/architect/schedules": {"name": "d", **TIMES},
    "/architect/schedulegroups": {"name": "sg"},
    "/architect/ivrs": {"name": "i"},
    "/flows/datatables": {"name": "t", "schema": {"properties": {"key": {"type": "string"}}}},
    "/authorization/divisions": {"name": "v"},
}


def everything() -> tuple[Simulation, dict[str, str], dict[str, str]]:
    """Return an organisation with one object of each kind, their ids, and headers with a token."""
    simulation = Simulation(Terms(limits=()))
    form = f"grant_type=client_credentials&client_id={DEFAULT_CLIENT.id}&client_secret={DEFAULT_CLIENT.secret}"
    token = send(simulation, "POST", "/oauth/token", form.encode(), {}).content["access_token"]
    headers = {"authorization": f"Bearer {token}", "host": "h"}
    ids = {
        path: send(simulation, "POST", "/api/v2" + path, json.dumps(body).encode(), headers).content["id"]
        for path, body in BODIES.items()
    }
    return simulation, ids, headers


def body_for(data: st.DataObject, path: str, ids: dict[str, str]) -> bytes:
    """Return anything, or something nearly right with a few wrong fields."""
    if data.draw(st.booleans()):
        return json.dumps(data.draw(VALUES)).encode()
    known = next((body for base, body in BODIES.items() if path.startswith(base)), {})
    wrong = data.draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2))
    right = {"name": data.draw(st.text(max_size=3)), "version": data.draw(st.sampled_from([1, "1", 2]))}
    linked = {"manager": {"id": ids["/users"]}, "openSchedules": [{"id": ids["/architect/schedules"]}]}
    return json.dumps({**known, **right, **linked, **wrong}).encode()


def send(simulation: Simulation, method: str, path: str, body: bytes, headers: dict[str, str], **query: str) -> Any:
    request = Request(method=method, path=path, query=query, headers=headers, body=body)
    return simulation.handle(request, Moment(at=datetime(2026, 1, 1, tzinfo=UTC), elapsed_s=1.0)).reply


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_request_ever_breaks_the_organisation(data: st.DataObject) -> None:
    simulation, ids, headers = everything()
    for _ in range(5):
        route = data.draw(st.sampled_from(simulation.routes))
        own = next((ids[base] for base in ids if route.path.startswith(base)), "nobody")
        segments = [
            data.draw(st.sampled_from([own, own, own, *ids.values(), "nobody", "USER", "platform.api"]))
            if part.startswith("{")
            else part
            for part in route.path.split("/")
        ]
        body = body_for(data, route.path, ids)
        query = data.draw(
            st.dictionaries(st.sampled_from(["name", "pageSize", "ids", "id", "expand", "cursor"]), st.text(max_size=5))
        )
        reply = send(simulation, route.method, "/api/v2" + "/".join(segments), body, headers, **query)
        assert 200 <= reply.status < 500, (route.method, route.path, body, reply)
        if reply.status == 401:  # it ended its own token
            return
    for kind, items in simulation.snapshot().items():
        assert len({item["id"] for item in items}) == len(items), kind
        assert all(isinstance(item.get("name", ""), str) for item in items), kind


WRONG: list[Any] = [
    5,
    -1,
    True,
    1.5,
    "",
    "x",
    [],
    [5],
    [None],
    [[]],
    {},
    {"id": 5},
    {"id": "x"},
    {"name": 5},
    {"x": {}},
]


@pytest.mark.slow
def test_no_single_wrong_field_of_any_operation_breaks_the_organisation() -> None:
    simulation, ids, headers = everything()
    declared = {row.path for row in ROWS} | {row.path + "/{id}" for row in ROWS}  # tests/unit/simulator/table
    for route in simulation.routes:
        if route.method in {"GET", "DELETE"} or route.path in declared:
            continue
        base = next((base for base in BODIES if route.path.startswith(base)), "")
        path = "/".join(ids.get(base, "x") if part.startswith("{") else part for part in route.path.split("/"))
        older = any(route.path.startswith(each) for each in BODIES)
        for name in NAMES if older else [*NAMES[:8], "grants", "memberIds", "filters", "credentials"]:
            for wrong in WRONG:
                body = {**BODIES.get(base, {}), "version": 1, name: wrong}
                for shape in (body, [body], {"query": [body], "mediaSettings": {"call": body}, "acwSettings": body}):
                    reply = send(simulation, route.method, "/api/v2" + path, json.dumps(shape).encode(), headers)
                    assert 200 <= reply.status < 500, (route.method, path, shape, reply)
