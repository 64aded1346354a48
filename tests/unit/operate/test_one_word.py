"""Lists that are narrowed to one state mean the state that every other command means (promise P11)."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interlock.audit.log import AuditLog
from interlock.cli import audit, runs
from interlock.cli.main import main
from interlock.clock import SystemClock
from interlock.home.embedded import open_home
from interlock.run.summary import SUMMARY, Summary, write_summary
from interlock.settings.reading import load
from interlock.site.opening import remember
from interlock.site.which import ref_of_run

pytestmark = pytest.mark.promise("P11")
S3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key = "app.tfstate"\n    region = "eu-west-1"\n  }\n}\n'
QUEUE = "s3/states/app.tfstate"
ADDRESS = "s3://states/app.tfstate"
RUN = "1kdc7q2m50123abc"
OTHER = "1kdc7q2m50123abd"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home with a run of a state in S3 and one of our own, and a decision about each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    (tmp_path / ".git").mkdir()
    (tmp_path / "cc").mkdir()
    (tmp_path / "cc" / "main.tf").write_text(S3)
    (tmp_path / "interlock.yaml").write_text("version: 1\nstates:\n  prod: {directory: cc}\n  lab: {}\n")
    settings = load(tmp_path, dict(os.environ))
    async with open_home(settings) as home:
        folder = tmp_path / "cc"
        await remember(ref_of_run(folder, load(folder, dict(os.environ)), dict(os.environ)), home)
        log = AuditLog(home.store.records, SystemClock())
        for subject in (ADDRESS, "interlock:lab"):
            await log.append("state-restored", subject=subject, by="ann", facts={})
    for run, state in ((RUN, QUEUE), (OTHER, "lab")):
        (settings.runs / run).mkdir(parents=True)
        started = datetime(2026, 3, 1, tzinfo=UTC)
        write_summary(
            settings.runs / run,
            Summary(
                run=run, state=state, operation="apply", who="a", directory="/x", phase="ended", started_at=started
            ),
        )
        assert (settings.runs / run / SUMMARY).is_file()
    return tmp_path


def runs_of(word: str) -> list[str]:
    answer = CliRunner().invoke(runs.app, ["ls", "--json", "--state", word], catch_exceptions=False)
    return [row["run"] for row in json.loads(answer.stdout)["runs"]]


def decisions_about(word: str) -> list[str]:
    answer = CliRunner().invoke(audit.app, ["ls", "--json", "--state", word], catch_exceptions=False)
    return [row["subject"] for row in json.loads(answer.stdout)["entries"]]


@pytest.mark.parametrize("word", ["prod", "cc", "./cc", QUEUE, ADDRESS, RUN])
def test_every_word_for_a_state_elsewhere_lists_its_runs_and_decisions(house: Path, word: str) -> None:
    assert runs_of(word) == [RUN]
    assert decisions_about(word) == [ADDRESS]


@pytest.mark.parametrize("word", ["lab", "interlock:lab", OTHER])
def test_every_word_for_a_state_of_ours_lists_its_runs_and_decisions(house: Path, word: str) -> None:
    assert runs_of(word) == [OTHER]
    assert decisions_about(word) == ["interlock:lab"]


def test_what_was_done_to_a_state_whose_folder_is_gone_is_listed_all_the_same(house: Path) -> None:
    shutil.rmtree(house / "cc")
    assert runs_of(QUEUE) == [RUN]
    assert decisions_about(ADDRESS) == [ADDRESS]
    assert decisions_about(QUEUE) == [ADDRESS]


@pytest.mark.parametrize(
    "words",
    [
        "state show cc",
        "state verify cc",
        "state history cc",
        "state diff cc",
        "state pull cc",
        "state restore cc --dry-run",
        "state repair cc --dry-run",
        "state prune cc --dry-run",
        "state quarantine ls cc",
        "lock explain cc",
        "lock show cc",
        "force-unlock cc --dry-run",
        "recover cc --dry-run --no-plan",
        "drift ls --state cc",
        "audit ls",
        "audit verify",
        "runs ls --state cc",
        "queue ls cc",
    ],
)
def test_who_only_looks_makes_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    (tmp_path / "cc").mkdir()
    (tmp_path / "cc" / "main.tf").write_text('resource "terraform_data" "a" {}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code in {0, 3}, "an empty state is not a defect"
    assert not (tmp_path / "home").exists()
