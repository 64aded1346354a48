from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from interlock.drift.decisions import (
    MAX_DECISIONS,
    MAX_FLOWS,
    Choice,
    Decision,
    Ledger,
    Ruling,
    decide,
    decode_ledger,
    encode_ledger,
    find_meant,
    settle,
    with_flows,
    with_ledger,
)
from interlock.drift.finding import Attribute, Finding, Kind, Scan, Verdict, decode_scan, digest_of, encode_scan
from interlock.errors import BackendUnavailable, UsageError


def changed(name: str = "q", *paths: str) -> Finding:
    attributes = tuple(Attribute(path=path, after="new", digest=digest_of("new", "s")) for path in paths or ("d",))
    return Finding(
        kind=Kind.CHANGED, address=f"t.{name}", type="t", object=f"id-{name}", name=name, attributes=attributes
    )


def unmanaged(name: str = "x") -> Finding:
    return Finding(
        kind=Kind.UNMANAGED,
        address=f"t.{name}",
        type="t",
        object=f"id-{name}",
        name=name,
        attributes=(Attribute(path="", after=f"id-{name}", digest=digest_of(f"id-{name}", "s")),),
    )


def ruling(choice: Choice, now: datetime, *paths: str) -> Ruling:
    return Ruling(choice=choice, paths=frozenset(paths), who="ana@desk", at=now, reason="because")


def scan(now: datetime, *findings: Finding) -> Scan:
    return Scan(state="s", run="r", at=now, salt="s", findings=findings)


def test_a_decision_covers_every_attribute_that_is_not_noise(now: datetime) -> None:
    finding = changed("q", "d", "e")
    ledger = decide(Ledger(), finding, ruling(Choice.REVERT, now), salt="s")
    assert [each.path for each in ledger.decisions] == ["d", "e"]
    assert ledger.decisions[0].is_about(kind=Kind.CHANGED, obj="id-q", path="d", value="new")
    assert not ledger.decisions[0].is_about(kind=Kind.CHANGED, obj="id-q", path="d", value="newer")


def test_a_decision_may_be_about_one_attribute_and_a_later_one_takes_its_place(now: datetime) -> None:
    finding = changed("q", "d", "e")
    ledger = decide(Ledger(), finding, ruling(Choice.REVERT, now), salt="s")
    ledger = decide(ledger, finding, ruling(Choice.ACCEPT, now, "e"), salt="s")
    assert {each.path: each.choice for each in ledger.decisions} == {"d": Choice.REVERT, "e": Choice.ACCEPT}
    with pytest.raises(UsageError, match="no such drifted attribute"):
        decide(ledger, finding, ruling(Choice.ACCEPT, now, "f"), salt="s")


def test_choices_that_make_no_sense_are_refused(now: datetime) -> None:
    with pytest.raises(UsageError, match="not Interlock's to delete"):
        decide(Ledger(), unmanaged(), ruling(Choice.REVERT, now), salt="s")
    with pytest.raises(UsageError, match="managed already"):
        decide(Ledger(), changed(), ruling(Choice.IMPORT, now), salt="s")


def test_there_is_a_limit_of_decisions(now: datetime) -> None:
    many = changed("q", *(f"a{number}" for number in range(MAX_DECISIONS + 1)))
    with pytest.raises(UsageError, match="more than"):
        decide(Ledger(), many, ruling(Choice.ACCEPT, now), salt="s")


def test_an_accepted_published_version_is_ours(now: datetime) -> None:
    flow = Finding(
        kind=Kind.CONTENT,
        address="genesyscloud_flow.f",
        type="genesyscloud_flow",
        object="f-1",
        attributes=(Attribute(path="(published version)", before="1.0", after="2.0"),),
    )
    assert decide(Ledger(), flow, ruling(Choice.ACCEPT, now), salt="s").flows == {"f-1": "2.0"}
    assert decide(Ledger(), flow, ruling(Choice.REVERT, now), salt="s").flows == {}


def test_what_is_settled_is_forgotten_but_not_what_was_not_looked_at(now: datetime) -> None:
    ledger = decide(Ledger(), changed("q"), ruling(Choice.REVERT, now), salt="s")
    ledger = decide(ledger, unmanaged("x"), ruling(Choice.ACCEPT, now), salt="s")
    left = settle(ledger, [], was_seen=lambda decision: decision.kind is not Kind.UNMANAGED)
    assert [each.address for each in left.decisions] == ["t.x"]
    still = Finding(
        kind=Kind.CHANGED,
        address="t.q",
        type="t",
        object="id-q",
        attributes=(Attribute(path="d", verdict=Verdict.REVERT, reason="revert by ana"),),
    )
    assert len(settle(ledger, [still], was_seen=lambda _: True).decisions) == 1


def test_a_stored_scan_shows_the_decisions_made_since(now: datetime) -> None:
    found = scan(now, changed("q", "d", "e"))
    ledger = decide(Ledger(), found.findings[0], ruling(Choice.ACCEPT, now, "d"), salt="s")
    shown = with_ledger(found, ledger).findings[0]
    assert [each.verdict for each in shown.attributes] == [Verdict.ACCEPTED, Verdict.OPEN]
    assert shown.verdict is Verdict.OPEN


def test_people_name_findings_by_address_id_or_name_or_all_of_them(now: datetime) -> None:
    found = scan(now, changed("q"), changed("p"), unmanaged("x"))
    assert [each.name for each in find_meant(found, ["t.q", "id-p", "q"], Choice.REVERT)] == ["q", "p"]
    assert [each.name for each in find_meant(found, [], Choice.ACCEPT)] == ["q", "p"]
    assert [each.name for each in find_meant(found, [], Choice.IMPORT)] == ["x"]
    with pytest.raises(UsageError, match="found nothing at"):
        find_meant(found, ["t.z"], Choice.ACCEPT)
    with pytest.raises(UsageError, match="nothing of state s is open"):
        find_meant(scan(now), [], Choice.ACCEPT)


def test_ledgers_and_scans_survive_being_stored(now: datetime) -> None:
    ledger = with_flows(decide(Ledger(), changed(), ruling(Choice.REVERT, now), salt="s"), {"f": "1.0"})
    assert decode_ledger(encode_ledger(ledger)) == ledger
    found = scan(now, changed("q", "d"), unmanaged())
    assert decode_scan(encode_scan(found)) == found


@pytest.mark.parametrize("text", [b"", b"[]", b'{"decisions": 1}', b'{"schema": 99}', b"\xff"])
def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(text: bytes) -> None:
    with pytest.raises((BackendUnavailable, UsageError)):
        decode_ledger(text)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"state": "s"}', b'{"schema": 99, "state": "s", "run": "r", "at": "x"}']
)
def test_a_scan_that_cannot_be_read_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError):
        decode_scan(text)


def test_the_oldest_flows_make_room(now: datetime) -> None:
    ledger = with_flows(Ledger(), {f"f{number}": "1" for number in range(MAX_FLOWS)})
    fresh = with_flows(ledger, {"f0": "2", "g": "1"})
    assert len(fresh.flows) == MAX_FLOWS
    assert fresh.flows["f0"] == "2"
    assert "f1" not in fresh.flows


def test_a_decision_tells_who_and_when(now: datetime) -> None:
    made = Decision(
        choice=Choice.ACCEPT,
        kind=Kind.GONE,
        address="t.q",
        object="1",
        path="",
        digest="",
        salt="",
        who="ana@desk",
        at=now + timedelta(minutes=5),
        reason="asked for",
    )
    assert made.told() == "accept by ana@desk, 2026-11-24 09:05:00Z: asked for"
