from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from interlock.ci.reviewed import Kept, attempt_in, check_tree, choose, parse_instant, tree_id
from interlock.errors import PolicyGate

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def kept(run: str, minutes: int, attempt: str = "1") -> Kept:
    return Kept(run=run, attempt=attempt, made_at=NOON + timedelta(minutes=minutes), where=run)


@pytest.mark.promise("P11")
def test_a_plan_made_after_the_approval_is_not_the_reviewed_one() -> None:
    plans = [kept("late", 5), kept("seen", -1), kept("early", -9)]
    assert choose(plans, until=NOON, state="s").run == "seen"
    assert choose(plans, until=None, state="s").run == "late"
    with pytest.raises(PolicyGate, match="no reviewed plan") as refused:
        choose([kept("late", 5)], until=NOON, state="s")
    assert "after the approval" in str(refused.value)
    with pytest.raises(PolicyGate):
        choose([], until=NOON, state="s")


@pytest.mark.promise("P11")
def test_other_files_than_the_planned_ones_are_refused_and_so_are_unknown_ones() -> None:
    check_tree("a", "a", state="s")
    for planned, here in (("a", "b"), ("", ""), ("", "a")):
        with pytest.raises(PolicyGate, match="no reviewed plan"):
            check_tree(planned, here, state="s")


def test_only_an_artifact_of_exactly_this_state_counts() -> None:
    assert attempt_in("interlock-plan-prod-routing-2", "prod-routing") == "2"
    for name in ("interlock-plan-prod-routing-x", "interlock-plan-prod-2", "interlock-plan-prod-routing", "x"):
        assert attempt_in(name, "prod-routing") is None


def test_an_instant_is_read_with_its_zone() -> None:
    assert parse_instant("2026-11-30T13:00:00+01:00") == NOON
    assert parse_instant("2026-11-30T12:00:00Z") == NOON
    assert parse_instant(None) is None


def test_the_name_of_a_tree_is_gits(tmp_path: Path) -> None:
    for name in ("a.tf", "a/b.tf", "a-b/c.tf", "ab.tf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a.tf")

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message=m")
    rows = [line.replace("\t", " ").split(" ") for line in git("ls-tree", "HEAD").splitlines()]
    entries = [{"mode": mode, "type": kind, "id": name, "name": path} for mode, kind, name, path in rows]
    assert tree_id(reversed(entries)) == git("rev-parse", "HEAD^{tree}").strip()
    assert tree_id([]) == ""
    assert tree_id([{"mode": "100644", "name": "x", "id": "zz"}]) == ""
