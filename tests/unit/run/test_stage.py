import json
from pathlib import Path

from interlock.run.process import Ended
from interlock.run.stage import EventFile, Outcome, _mask_file
from interlock.terraform.events import Apply, Diagnostic, Unparsed

SECRET = b"http://127.0.0.1:4711/run/secret/state"


def line(**fields: object) -> bytes:
    return json.dumps({"@level": "info", "@message": "m", "@module": "t", **fields}).encode() + b"\n"


def complete(address: str, identity: str) -> bytes:
    hook = {"resource": {"addr": address}, "action": "create", "id_key": "id", "id_value": identity}
    return line(type="apply_complete", hook={**hook, "elapsed_seconds": 1})


def error(summary: str) -> bytes:
    return line(type="diagnostic", diagnostic={"severity": "error", "summary": summary, "detail": ""})


def test_events_come_as_the_file_grows_and_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "apply.jsonl"
    whole = complete("a.b", "1")
    path.write_bytes(whole + whole[:20])
    file = EventFile(path)
    assert [type(event) for event in file.new()] == [Apply]
    assert file.new() == []
    with path.open("ab") as growing:
        growing.write(whole[20:] + b"not json")
    assert [type(event) for event in file.new()] == [Apply]
    assert [type(event) for event in file.new(at_end=True)] == [Unparsed]


def test_the_address_of_the_state_is_masked_in_events_and_in_the_file_that_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_bytes(error(f"cannot reach {SECRET.decode()}"))
    (event,) = EventFile(path, SECRET).new()
    assert isinstance(event, Diagnostic)
    assert event.summary == "cannot reach (address)"
    _mask_file(path, SECRET)
    assert SECRET not in path.read_bytes()
    assert b"(address)" in path.read_bytes()


def test_an_empty_file_and_an_empty_secret_need_no_masking(tmp_path: Path) -> None:
    path = tmp_path / "plan.err"
    path.touch()
    _mask_file(path, SECRET)
    path.write_bytes(b"text")
    _mask_file(path, b"")
    assert path.read_bytes() == b"text"


def test_an_outcome_knows_what_was_made_even_when_the_state_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "apply.jsonl"
    path.write_bytes(complete("a.b", "1") + error("it failed"))
    outcome = Outcome(ended=Ended(code=-9), events=EventFile(path).new())
    assert outcome.made == {"a.b": "1"}
    assert outcome.changed_something
    assert [found.summary for found in outcome.errors] == ["it failed"]
    assert outcome.ended.killed_by == 9
    assert Ended(code=1).killed_by is None
