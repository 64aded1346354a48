import io
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.cli.follow import Follower, plan_text, standing_text
from interlock.run.entries import PlanEntry, StandingEntry, parse_entry
from interlock.run.transcript import Entry
from interlock.testing.clock import START


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path, quiet=False)


def entry(kind: str, **facts: object) -> Entry:
    return Entry(at=START, kind=kind, facts=facts)


def standing(**facts: object) -> StandingEntry:
    """Read a place in the queue as an old journal has it."""
    told = parse_entry("standing", facts)
    assert isinstance(told, StandingEntry)
    return told


def test_a_waiting_run_sees_its_place_the_holder_and_its_expected_start() -> None:
    told = standing(position=2, holder={"who": "ann@ci"}, since=START.isoformat(), expected_s=90.0, frozen=None)
    text = standing_text(told, START + timedelta(seconds=65))
    assert text == "queued, position 2 · held by ann@ci for 1m05s · expected start in 1m30s"
    paused = standing_text(standing(position=1, frozen="maintenance"), START)
    assert paused == "queued, position 1 · the queue is paused: maintenance"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("since", [None, "", "not a date", 5, "2026-11-24T08:00:00"])
def test_a_holder_whose_lock_does_not_say_since_when_is_named_all_the_same(since: object) -> None:
    told = standing(position=1, holder={"who": "somebody unknown"}, since=since)
    assert standing_text(told, START) == "queued, position 1 · held by somebody unknown"
    nameless = standing(position=1, holder={"run": ""})
    assert standing_text(nameless, START) == "queued, position 1 · held by somebody unknown"


def plan_entry(count: int, **facts: object) -> Entry:
    rows = [{"address": f"a.b[{number}]", "action": "create", "reason": ""} for number in range(count)]
    counts = {"add": count, "change": 0, "remove": 0}
    return entry("plan", counts=counts, resources=rows, outputs=["o"], empty=False, **facts)


def test_a_plan_is_shown_whole_on_stdout_as_terraform_prints_it(
    follower: Follower, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.txt").write_text("# a.b[0] will be created\n")
    follower.show(plan_entry(70))
    follower.show(entry("plan-text", why=""))
    shown = capsys.readouterr()
    assert shown.err == "plan: 70 to add, 0 to change, 0 to destroy\n"
    assert shown.out == "# a.b[0] will be created\n"
    empty = parse_entry("plan", {"counts": {}, "empty": True})
    assert isinstance(empty, PlanEntry)
    assert plan_text(empty) == "no changes"


@pytest.mark.parametrize("brief", [True, False])
def test_briefly_or_where_it_cannot_be_shown_every_change_of_a_plan_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], brief: bool
) -> None:
    follower = Follower(tmp_path, quiet=False, brief=brief)
    (tmp_path / "plan.txt").write_text("# a.b[0] will be created\n")
    follower.show(plan_entry(70, left_out=5))
    follower.show(entry("plan-text", why="" if brief else "it is too large"))
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "  + a.b[0]"
    assert shown.out.splitlines()[69] == "  + a.b[69]"
    assert f"… and 5 more: interlock runs show {tmp_path.name} --plan" in shown.out
    assert ("it is too large" in shown.err) is not brief


def test_the_outputs_are_shown_as_terraform_shows_them(
    follower: Follower, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outputs.json").write_text('{"a": "x", "b": {"k": [1, null]}, "c": "(sensitive value)"}')
    follower.show(entry("outputs", names=["a", "b", "c"]))
    shown = capsys.readouterr().out
    assert shown == '\nOutputs:\n\na = "x"\nb = {\n  "k" = [\n    1,\n    null,\n  ]\n}\nc = <sensitive>\n'


def test_the_question_shows_the_plan_to_a_person_whose_results_go_elsewhere(
    follower: Follower, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.txt").write_text("will be created\n")
    follower.show(entry("approval"))
    assert capsys.readouterr().err == "will be created\nApply exactly this plan? [y/N] "


def test_with_json_only_questions_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Follower(tmp_path, quiet=True)
    quiet.show(entry("note", text="hello"))
    assert capsys.readouterr().err == ""
    quiet.show(entry("approval"))
    assert "Apply exactly this plan?" in capsys.readouterr().err


def test_entries_of_an_unknown_kind_are_passed_over(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    follower.show(entry("of-a-later-version", x=1))
    assert capsys.readouterr().err == ""


def test_errors_are_shown_with_place_and_detail(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    follower.show(
        entry(
            "diagnostic", severity="error", summary="It broke", detail="two\nlines", address="a.b", file="m.tf", line=3
        )
    )
    shown = capsys.readouterr().err
    assert "error: It broke [a.b] (m.tf:3)" in shown
    assert "  | two\n  | lines" in shown


class BrokenPipe(io.StringIO):
    """A stream whose reader has gone; it remembers which file it stands for."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self.number

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def test_a_reader_that_has_gone_is_forgotten(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", BrokenPipe(stream.fileno()))
        follower.show(entry("note", text="nobody reads this"))
        stream.write("this goes nowhere")
    assert (tmp_path / "stream").read_text() == ""


def test_a_result_for_which_there_is_no_room_is_said_to_be_cut_off(
    follower: Follower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        follower._print("a plan")
    assert capsys.readouterr().err == "not all of the result was written: no space left on device\n"


def test_what_an_apply_did_is_said_at_its_end(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"add": 2, "change": 1, "remove": 0}
    follower.show(entry("plan", counts=counts, resources=[], left_out=0, outputs=[], empty=False))
    follower.show(entry("end", exit=0))
    assert "applied" not in capsys.readouterr().err
    follower.show(entry("phase", phase="applying"))
    follower.show(Entry(at=START + timedelta(seconds=65), kind="end", facts={"exit": 0}))
    assert capsys.readouterr().err == "applied: 2 added, 1 changed, 0 destroyed, in 1m05s\n"


def test_a_message_of_an_api_cannot_steer_the_terminal(follower: Follower, capsys: pytest.CaptureFixture[str]) -> None:
    follower.show(entry("note", text="bad\x1b]0;title\x07 name"))
    assert capsys.readouterr().err == "bad\\x1b]0;title\\x07 name\n"
