"""Lock documents of strangers: whatever is in them, they lock, they are shown, and they steer no terminal."""

from __future__ import annotations

import json

import pytest

from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.terraform.lockinfo import parse_lock_info, render_lock_info

FIELDS = {"Operation": "operation", "Info": "info", "Who": "who", "Version": "version", "Created": "created"}
HOSTILE = ["\x1b[2Jann\n@host", "\ud800@host", "a\x00b", "\u202eann"]


@pytest.mark.promise("P5")
@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", [*FIELDS, "ID", "Path"])
def test_what_a_stranger_wrote_into_a_lock_is_shown_without_steering_the_terminal(name: str, text: str) -> None:
    raw = json.dumps({"ID": "1", name: text}).encode()
    lock = foreign_lock(raw, mechanism="dynamodb", place="a table")
    shown = "".join([lock.id, lock.path, *(getattr(lock, field) for field in FIELDS.values())])
    assert shown.isprintable()
    shown.encode()
    assert str(held_by(lock, "b/app")).replace("\n", "").isprintable()
    assert lock.raw == raw


def test_a_lock_document_with_half_a_character_can_be_stored_and_answered() -> None:
    parsed = parse_lock_info(json.dumps({"ID": "1", "Who": "\ud800@host", "More": ["\udfff"]}))
    assert parse_lock_info(render_lock_info(parsed)).who.encode()
