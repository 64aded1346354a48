"""From what a planned run left to the report in a comment; also from a journal that an earlier version wrote."""

import json
from pathlib import Path

from interlock.cli.plan_report import read_report
from interlock.run.transcript import JOURNAL

OLD = Path(__file__).parents[1] / "run" / "journal_of_an_earlier_version.jsonl"


def test_a_report_is_read_from_an_earlier_versions_journal(tmp_path: Path) -> None:
    (tmp_path / "runs" / "r1").mkdir(parents=True)
    (tmp_path / "runs" / "r1" / JOURNAL).write_bytes(OLD.read_bytes())
    (tmp_path / "plan.json").write_text(json.dumps({"run": "r1", "counts": {"add": 9}}))
    report = read_report(tmp_path / "plan.json", "prod", tmp_path / "runs", {})
    assert (report.add, report.change, report.remove) == (0, 0, 0), "of its last plan"
    assert (report.position, report.calls, report.drifted) == (2, 12, ("genesyscloud_user.a",))


def test_a_report_without_a_journal_has_the_counts_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"run": "r1", "counts": {"add": 9}}))
    report = read_report(tmp_path / "plan.json", "prod", tmp_path / "runs", {})
    assert (report.add, report.position, report.calls, report.drifted) == (9, None, None, ())
