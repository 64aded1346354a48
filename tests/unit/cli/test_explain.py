import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main

CORPUS = Path(__file__).parents[2] / "corpus" / "logs"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["explain", *arguments])
    return int(ended.value.code or 0)


class Piped(io.TextIOWrapper):
    """Standard input that is a pipe."""

    def isatty(self) -> bool:
        return False


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(io.BytesIO(data)))


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_json_names_each_cause_with_its_four_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", str(CORPUS / "several-state-not-saved-lock-left.log")) == 0
    causes = answer(capsys)["causes"]
    assert [cause["category"] for cause in causes] == ["state-not-saved", "lock-release-failed"]
    assert all(set(cause) == {"category", "summary", "retry", "lines", "next"} for cause in causes)
    assert causes[0]["retry"] == "no"
    assert "Error: Failed to save state" in causes[0]["lines"]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("form", ["log", "jsonl"])
def test_a_terraform_that_was_cut_off_is_not_saved_and_its_operations_are_named(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert run("--json", str(CORPUS / f"cut-off-interrupts.{form}")) == 0
    first = answer(capsys)["causes"][0]
    assert first["category"] == "state-not-saved"
    assert sorted(first["in_flight"]) == [f"slow_thing.made[{number}] (create)" for number in range(5)]
    assert run(str(CORPUS / f"cut-off-interrupts.{form}")) == 0
    shown = capsys.readouterr().out
    assert "131: state NOT or only partly saved\n" in shown
    assert "slow_thing.made[3] (create)" in shown


def test_people_see_the_root_cause_and_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(CORPUS / "cancelled-then-locked.log")) == 0
    shown = capsys.readouterr().out
    assert shown.index("root cause: cancelled") < shown.index("follows from it: lock-held")
    assert "retry" in shown
    assert "next" in shown


def test_a_log_comes_from_standard_input_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, (CORPUS / "plan-stale-serial.log").read_bytes())
    assert run("--json", "-") == 0
    assert answer(capsys)["causes"][0]["category"] == "plan-stale"


def test_a_successful_run_has_no_causes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", str(CORPUS / "success-scary-words.log")) == 0
    assert answer(capsys) == {"outcome": "succeeded", "causes": []}
    assert run(str(CORPUS / "success-scary-words.log")) == 0
    assert capsys.readouterr().out == "Nothing went wrong in this log.\n"


def test_an_unknown_failure_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "x.log"
    log.write_text("Error: the moon is in the wrong house\n")
    assert run(str(log)) == 0
    assert "line 1      Error: the moon is in the wrong house" in capsys.readouterr().out


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    "log", [b"", b"npm test\n12 passing\n", b"$ terraform plan\nx.y: Refreshing state... [id=1]\n"]
)
def test_a_log_without_an_end_is_neither_failure_nor_success(
    log: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, log)
    assert run("--json") == 0
    assert answer(capsys) == {"outcome": "not-seen", "causes": []}
    pipe(monkeypatch, log)
    assert run() == 0
    assert capsys.readouterr().out.startswith("No outcome seen")


def test_the_reason_of_a_state_that_was_not_saved_stands_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(CORPUS / "state-not-saved-kms.log")) == 0
    shown = capsys.readouterr().out
    assert shown.index("root cause: state-not-saved") < shown.index("reason: backend-auth")
    assert "kms:GenerateDataKey" in shown


def test_what_cannot_be_read_is_refused_with_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x7fELF\0\0")
    for name in (str(tmp_path / "none"), str(tmp_path), str(binary)):
        assert run(name) == 3
    assert "next" in capsys.readouterr().err


@pytest.mark.promise("P10")
@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(
    "said",
    [
        'Error: Provider produced something strange\n\n  body: {"client_secret": "Xk29-fjw0!q"}\n',
        'Error: Failed to save state\n\n  POST "https://u:Xk29-fjw0!q@h/": X-Api-Key: Xk29-fjw0!q\n',
        "Error: x\n\n  Authorization: Bearer eyJhbGciOi." + "eyJzdWIiOi" * 120 + ".Xk29-fjw0!q\n",
    ],
)
def test_no_secret_that_a_log_quotes_is_shown(
    said: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text(f"Terraform v1.11.4\n{said}")
    assert run(*flags, str(log)) == 0
    shown = "".join(capsys.readouterr())
    assert "Xk29" not in shown
    assert "eyJzdWIiOieyJzdWIiOi" not in shown
