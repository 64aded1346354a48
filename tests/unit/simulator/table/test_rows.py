"""What every row of the table promises, held against the running engine."""

from collections.abc import Callable
from typing import Any

import pytest

from interlock.simulator import Delays, OAuthClient, Terms
from interlock.simulator.field import Form
from interlock.simulator.row import Row, Versioning
from interlock.simulator.table import ROWS

from .samples import Samples

NOBODY = "00000000-0000-4000-a000-000000000000"


def kinds(*letters: str, having: Callable[[Row], bool] = lambda _row: True) -> pytest.MarkDecorator:
    """Return the rows that offer all the operations."""
    found = [row for row in ROWS if all(letter in row.operations for letter in letters) and having(row)]
    return pytest.mark.parametrize("row", found, ids=[row.kind for row in found])


def changeable(row: Row) -> list[str]:
    """Return the free texts that an update may change."""
    return [
        name
        for name, field in row.fields.items()
        if field.form is Form.TEXT
        and not (field.allowed or field.once or field.read_only or name.endswith(("Id", "Number")))
    ]


def made(api: Any, row: Row) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return path, sent body and answer of a new object."""
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    return path, body, api.post(path, body)


@kinds("C", "R", "D")
def test_an_object_lives_from_its_creation_to_its_deletion(api: Any, row: Row) -> None:
    path, _, answer = made(api, row)
    assert api.get(f"{path}/{answer['id']}") == answer
    assert api.send("DELETE", f"{path}/{answer['id']}").status == row.deleted
    assert api.send("GET", f"{path}/{answer['id']}").status == 404


@kinds("C", "L")
def test_a_list_shows_what_was_created(api: Any, row: Row) -> None:
    path, _, answer = made(api, row)
    listed = api.get(path, pageSize="200")
    entities = listed if isinstance(listed, list) else listed["entities"]
    assert [each["id"] for each in entities].count(answer["id"]) == 1


@kinds("C")
def test_the_api_keeps_what_it_knows_and_drops_the_rest(api: Any, row: Row) -> None:
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    answer = api.post(path, {**body, "unheardOf": 1})
    assert "unheardOf" not in answer
    secret = {name for name, field in row.fields.items() if field.secret}
    assert not secret & set(answer)
    assert all(not name.startswith("_") for name in answer)


@kinds("C", "U", having=lambda row: bool(changeable(row)))
def test_an_update_changes_the_object(api: Any, row: Row) -> None:
    path, body, answer = made(api, row)
    wanted = {**body, changeable(row)[0]: "another text"}
    version = {"version": answer["version"]} if row.versioning is not Versioning.NONE else {}
    changed = api.done(api.send(row.updates[0], f"{path}/{answer['id']}", {**wanted, **version}))
    assert changed != answer
    assert changed["id"] == answer["id"]
    if version:
        assert int(changed["version"]) == int(answer["version"]) + 1


@kinds("C", "U", having=lambda row: row.versioning is not Versioning.NONE)
def test_an_update_of_another_version_is_a_409_and_changes_nothing(api: Any, row: Row) -> None:
    path, body, answer = made(api, row)
    one = f"{path}/{answer['id']}"
    wrong = "99" if row.text_version else 99
    assert api.send(row.updates[0], one, {**body, "version": wrong}).status == 409
    without = api.send(row.updates[0], one, body).status
    assert (without == 400) == (row.versioning is Versioning.NEEDED)


@kinds("C", having=lambda row: bool(row.unique) and row.kind not in {"didpool", "extensionpool"})
def test_a_second_object_of_the_name_is_a_409(api: Any, row: Row) -> None:
    path, body, _ = made(api, row)
    assert api.send("POST", path, body).status == 409


@kinds("C")
def test_a_body_without_a_needed_field_is_a_400(api: Any, row: Row) -> None:
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    for name in [name for name, field in row.fields.items() if field.needed]:
        left_out = {key: value for key, value in body.items() if key != name}
        assert api.send("POST", path, left_out).status == 400, name


@kinds("C")
def test_a_value_of_another_form_is_a_400(api: Any, row: Row) -> None:
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    for name in body:
        field = row.fields.get(name)
        if field is not None and not field.read_only and field.form not in {Form.ANY, Form.DIVISION}:
            wrong = 5 if field.form is not Form.WHOLE and field.form is not Form.NUMBER else "five"
            assert api.send("POST", path, {**body, name: wrong}).status == 400, name


@kinds("C", having=lambda row: any(f.kind and f.form is Form.REFERENCE for f in row.fields.values()))
def test_a_reference_to_nothing_is_a_400(api: Any, row: Row) -> None:
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    for name, field in row.fields.items():
        if field.form is Form.REFERENCE and field.kind:
            assert api.send("POST", path, {**body, name: {"id": NOBODY}}).status == 400, name


HELD = [
    (row, name)
    for row in ROWS
    for name, field in row.fields.items()
    if field.holds and "C" in row.operations and field.kind in {other.kind for other in ROWS}
]


@pytest.mark.parametrize(("row", "name"), HELD, ids=[f"{row.kind}.{name}" for row, name in HELD])
def test_what_a_living_object_needs_is_not_deleted(api: Any, row: Row, name: str) -> None:
    samples = Samples(api)
    path, body = samples.path(row), samples.body(row)
    answer = api.post(path, body)
    held = body[name][0]["id"] if isinstance(body[name], list) else body[name]["id"]
    target = next(other for other in ROWS if other.kind == row.fields[name].kind)
    one = f"{samples.path(target)}/{held}"
    refused = api.send("DELETE", one)
    assert refused.status == 409
    assert api.send("GET", one).status == 200
    assert answer["id"] in refused.content["message"] or "in use" in refused.content["message"]


@kinds("C", "R", "D", having=lambda row: any(f.form is Form.DIVISION for f in row.fields.values()))
def test_a_client_without_rights_in_the_division_sees_and_changes_nothing(api: Any, row: Row) -> None:
    api.simulation.login.add(OAuthClient(id="narrow", secret="narrow-secret", divisions=frozenset({"Home"})))
    path, body, answer = made(api, row)
    api.login("narrow", "narrow-secret")
    assert api.send("GET", f"{path}/{answer['id']}").status == 403
    assert api.send("DELETE", f"{path}/{answer['id']}").status == 403
    assert api.send("POST", path, body).status == 403
    if "L" in row.operations:
        assert api.get(path)["entities"] == []


@kinds("C", "R", "L")
def test_readers_see_a_write_as_late_as_the_organisation_says(api_with: Callable[[Terms], Any], row: Row) -> None:
    api = api_with(Terms(delays=Delays(read_s=2, list_s=5)))
    path, _, answer = made(api, row)
    assert api.send("GET", f"{path}/{answer['id']}").status == 404
    api.elapsed_s += 3
    assert api.send("GET", f"{path}/{answer['id']}").status == 200


@kinds("C")
def test_every_operation_takes_its_permission(api: Any, row: Row) -> None:
    path, body, _ = made(api, row)
    api.simulation.login.add(OAuthClient(id="none", secret="none-secret", permissions=frozenset()))
    api.login("none", "none-secret")
    refused = api.send("POST", path, body)
    assert (refused.status, refused.content["code"]) == (403, "missing.any.permissions")


@kinds("C", having=lambda row: bool(row.parent))
def test_the_objects_of_a_parent_go_with_it(api: Any, row: Row) -> None:
    samples = Samples(api)
    path = samples.path(row)
    api.post(path, samples.least(row))
    parent = next(other for other in ROWS if other.kind == row.parent)
    api.done(api.send("DELETE", f"{samples.path(parent)}/{samples.one(parent.kind)}"))
    assert not api.simulation.snapshot()[row.kind]
    assert api.send("GET", path).status in {404, 405}


def test_no_two_rows_share_a_kind_or_a_path() -> None:
    assert len({row.kind for row in ROWS}) == len(ROWS)
    assert len({row.path for row in ROWS}) == len(ROWS)


def test_every_reference_names_a_kind_that_there_is(api: Any) -> None:
    known = set(api.simulation.org.kinds)
    named = {field.kind for row in ROWS for field in row.fields.values() if field.kind} | {
        row.parent for row in ROWS if row.parent
    }
    assert named <= known
