from __future__ import annotations

import json

import pytest

from interlock.creations.reading import has_failed, read_answer, read_job, read_name, says_deleted
from interlock.genesys.creating_calls import find_creating_call


def test_only_id_and_name_leave_an_answer_and_no_secret() -> None:
    found = find_creating_call("/api/v2/oauth/clients")
    told = read_answer(json.dumps({"id": "I", "name": "N", "secret": "hunter2"}).encode(), found)
    assert (told.id, told.name) == ("I", "N")
    assert "hunter2" not in repr(told)


def test_the_field_of_the_name_is_the_types_own() -> None:
    found = find_creating_call("/api/v2/users")
    assert read_answer(b'{"id": "I", "name": "A", "email": "a@b.c"}', found).name == "a@b.c"


def test_a_list_of_one_object_is_that_object() -> None:
    found = find_creating_call("/api/v2/outbound/contactlists/L/contacts")
    assert read_answer(b'[{"id": "I"}]', found).id == "I"
    assert read_answer(b'[{"id": "I"}, {"id": "J"}]', found).id == ""


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"7", b'{"id": 7}', b'{"id": "a\\nb"}', b'{"id": "' + b"x" * 300 + b'"}']
)
def test_an_answer_without_a_usable_id_has_none(body: bytes) -> None:
    assert read_answer(body, None).id == ""


def test_a_name_is_cut_and_one_that_is_no_text_is_none() -> None:
    assert read_name(json.dumps({"name": "x" * 999}).encode(), "name") == "x" * 200
    assert read_name(b'{"name": null}', "name") == ""


def test_a_job_tells_its_flow_only_when_it_has_ended_well() -> None:
    told = read_job(b'{"status": "Success", "flow": {"id": "F", "name": "N"}}')
    assert told is not None
    assert (told.id, told.name) == ("F", "N")
    assert read_job(b'{"status": "Started", "flow": {"id": "F"}}') is None
    assert has_failed(b'{"status": "Failure"}')
    assert not has_failed(b'{"status": "Started"}')


def test_gone_is_404_410_or_said_to_be_deleted() -> None:
    assert says_deleted(404, b"")
    assert says_deleted(410, b"")
    assert says_deleted(200, b'{"state": "deleted"}')
    assert not says_deleted(200, b'{"state": "active"}')
    assert not says_deleted(403, b"")
