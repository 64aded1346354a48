"""Read from plan files spelled by hand; tests/e2e/test_orphans.py reads those of the real Terraform."""

from __future__ import annotations

import io
import zipfile

import msgspec
import pytest

from interlock.run.planned_creations import PlannedCreation, read_planned_creations
from interlock.terraform.events import Action, PlannedChange, Resource
from interlock.terraform.plan import PlanFacts

QUEUE = "genesyscloud_routing_queue"
PROVIDER = 'provider["registry.terraform.io/mypurecloud/genesyscloud"]'


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(number: int) -> bytes:
    found = bytearray()
    while True:
        found.append((number & 0x7F) | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(found)


def dynamic(value: object) -> bytes:
    return field(1, msgspec.msgpack.encode(value))


def change(address: str, *values: object, provider: str = PROVIDER, secret: str = "") -> bytes:
    parts = b"".join(field(2, dynamic(value)) for value in values) + (field(4, secret.encode()) if secret else b"")
    return field(3, field(13, address.encode()) + field(8, provider.encode()) + field(9, b"\x08\x01" + parts))


def plan(*changes: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tfplan", b"\x08\x03" + b"".join(changes))
    return content.getvalue()


def facts(*made: tuple[str, str, Action]) -> PlanFacts:
    return PlanFacts(
        changes=tuple(
            PlannedChange(resource=Resource(address=address, type=kind, name="x"), action=action)
            for address, kind, action in made
        )
    )


def test_what_is_made_has_address_type_and_name() -> None:
    content = plan(change("q.a", {"name": "A"}), change("q.b", {"name": "old"}, {"name": "B"}))
    planned = facts(("q.a", QUEUE, Action.CREATE), ("q.b", QUEUE, Action.REPLACE))
    assert read_planned_creations(content, planned) == (
        PlannedCreation(address="q.a", type=QUEUE, name="A"),
        PlannedCreation(address="q.b", type=QUEUE, name="B"),
    )


def test_what_is_changed_or_of_another_provider_is_passed_over() -> None:
    planned = facts(("q.a", QUEUE, Action.UPDATE), ("x.a", "aws_instance", Action.CREATE))
    assert read_planned_creations(plan(change("q.a", {"name": "A"})), planned) == ()


@pytest.mark.parametrize("name", [msgspec.msgpack.Ext(0, b""), None, 7, "a\nb"])
def test_a_name_that_is_not_known_or_no_line_is_none(name: object) -> None:
    planned = facts(("q.a", QUEUE, Action.CREATE))
    assert read_planned_creations(plan(change("q.a", {"name": name})), planned)[0].name == ""


def test_a_sensitive_name_is_not_read() -> None:
    content = plan(change("q.a", {"name": "A"}, secret="...name..."))
    assert read_planned_creations(content, facts(("q.a", QUEUE, Action.CREATE)))[0].name == ""


def test_the_alias_of_its_provider_configuration_is_said() -> None:
    content = plan(change("q.a", {"name": "A"}, provider=f"{PROVIDER}.other"))
    assert read_planned_creations(content, facts(("q.a", QUEUE, Action.CREATE)))[0].alias == "other"


@pytest.mark.parametrize("content", [b"", b"no zip", plan()[:20], plan(b"\x1a\xff\xff\x03"), plan(field(3, b"\x0b"))])
def test_a_file_that_cannot_be_read_leaves_addresses_and_types(content: bytes) -> None:
    planned = facts(("q.a", QUEUE, Action.CREATE))
    assert read_planned_creations(content, planned) == (PlannedCreation(address="q.a", type=QUEUE),)
