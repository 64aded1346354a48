from datetime import UTC, datetime

import pytest

from interlock.simulator import ApiRefusal, Delays, Moment
from interlock.simulator.chance import Chance
from interlock.simulator.org import Change, Kind, Organisation, VersionForm, version_of

KINDS = {
    "queue": Kind(name="queue", entity="Queue", service="ContactCenter", limit=2),
    "user": Kind(
        name="user",
        entity="User",
        service="Directory",
        version=VersionForm.NUMBER,
        keeps_deleted=True,
        unique="email",
    ),
    "skill": Kind(name="skill", entity="Skill", service="Routing", version=VersionForm.TEXT),
}


def organisation(**delays: float) -> Organisation:
    return Organisation(KINDS, chance=Chance(1), delays=Delays(**delays))


def at(elapsed_s: float) -> Moment:
    return Moment(at=datetime(2026, 1, 1, tzinfo=UTC), elapsed_s=elapsed_s)


def test_a_new_object_is_seen_by_reads_only_after_the_delay_and_later_by_lists() -> None:
    org = organisation(read_s=1.0, list_s=3.0)
    record = org.add("queue", {"name": "Orders"}, at(10))
    with pytest.raises(ApiRefusal) as refused:
        org.read("queue", record.id, at(10.9))
    assert refused.value.status == 404
    assert org.read("queue", record.id, at(11))[1] == {"name": "Orders"}
    assert list(org.listed("queue", at(12.9))) == []
    assert len(list(org.listed("queue", at(13)))) == 1


def test_a_changed_object_shows_its_former_content_until_the_delay_is_over() -> None:
    org = organisation(read_s=1.0)
    record = org.add("queue", {"name": "Orders"}, at(0))
    org.change(record, {"name": "Sales"}, at(10))
    assert org.read("queue", record.id, at(10.5))[1]["name"] == "Orders"
    assert org.read("queue", record.id, at(11))[1]["name"] == "Sales"


def test_a_deleted_object_lingers_for_the_delay_and_then_is_gone() -> None:
    org = organisation(read_s=1.0)
    record = org.add("queue", {"name": "Orders"}, at(0))
    org.remove(record, at(10))
    assert org.read("queue", record.id, at(10.5))[1]["name"] == "Orders"
    with pytest.raises(ApiRefusal):
        org.read("queue", record.id, at(11))
    assert org.find("queue", record.id) is None


def test_names_are_unique_without_case_and_free_again_after_deletion_or_renaming() -> None:
    org = organisation()
    record = org.add("queue", {"name": "Orders"}, at(0))
    with pytest.raises(ApiRefusal) as refused:
        org.add("queue", {"name": "ORDERS"}, at(1))
    assert (refused.value.status, refused.value.code) == (409, "general.conflict")
    renamed = org.change(record, {"name": "Sales"}, at(2))
    other = org.add("queue", {"name": "Orders"}, at(3))
    with pytest.raises(ApiRefusal):
        org.change(renamed, {"name": "orders"}, at(4))
    assert org.get("queue", renamed.id).body["name"] == "Sales"
    org.remove(other, at(5))
    org.change(renamed, {"name": "orders"}, at(6))


def test_an_organisation_holds_no_more_than_the_limit_of_a_kind() -> None:
    org = organisation()
    first = org.add("queue", {"name": "a"}, at(0))
    org.add("queue", {"name": "b"}, at(0))
    with pytest.raises(ApiRefusal) as refused:
        org.add("queue", {"name": "c"}, at(0))
    assert refused.value.status == 400
    org.remove(first, at(1))
    org.add("queue", {"name": "c"}, at(2))


def test_versions_rise_and_are_spelled_as_their_kind_does() -> None:
    org = organisation()
    user = org.add("user", {"email": "a@b.c", "name": "A"}, at(0))
    skill = org.add("skill", {"name": "Billing"}, at(0))
    assert (version_of(user), version_of(skill)) == (1, "1")
    assert version_of(org.change(user, user.body, at(1))) == 2


def test_a_deleted_user_is_found_as_deleted_and_can_be_revived_under_the_same_id() -> None:
    org = organisation()
    user = org.add("user", {"email": "a@b.c", "name": "A"}, at(0))
    gone = org.remove(user, at(1))
    assert org.find_deleted("user", user.id) == gone
    back = org.revive(gone, gone.body, at(2))
    assert back.id == user.id
    assert version_of(back) == 3
    assert org.find("user", user.id) == back


def test_each_write_is_told_with_what_was_before_and_after() -> None:
    org = organisation()
    told: list[Change] = []
    org.on_change = told.append
    record = org.add("queue", {"name": "a"}, at(0))
    org.remove(org.change(record, {"name": "b"}, at(1)), at(2))
    assert [(change.action, change.before, change.after) for change in told] == [
        ("Create", None, {"name": "a"}),
        ("Update", {"name": "a"}, {"name": "b"}),
        ("Delete", {"name": "b"}, None),
    ]


def test_a_snapshot_holds_what_lives_whatever_readers_see_yet() -> None:
    org = organisation(read_s=100.0)
    record = org.add("queue", {"name": "a"}, at(0))
    assert org.snapshot()["queue"] == [{"id": record.id, "name": "a"}]
