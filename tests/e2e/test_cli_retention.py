"""Old runs and old versions go; what may still be needed stays."""

import json
import os
import time

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e

ONE = 'variable "n" {}\n\nresource "terraform_data" "kept" {\n  input = var.n\n}\n'


def apply(desk: Desk, number: int) -> None:
    answer = desk.run("apply", "module", "--state", "s", "--auto-approve", "--", f"-var=n={number}")
    assert answer.code == 0, answer.err


@pytest.mark.promise("P3")
def test_bytes_of_old_versions_go_under_the_lock_and_what_is_left_works(desk: Desk) -> None:
    desk.module(text=ONE)
    for number in range(4):
        apply(desk, number)
    nothing = ("--keep", "2", "--all-for", "0s", "--daily-for", "0s", "--weekly-for", "0s")
    assert desk.run("state", "prune", "s", *nothing).code == 3  # nobody can answer
    told = desk.run("state", "prune", "s", *nothing, "--dry-run", "--json").document
    assert (told["versions"], told["removed"]) == ([1, 2], False)
    assert desk.run("state", "prune", "s", *nothing, "--yes", "--json").document["versions"] == [1, 2]
    assert desk.run("state", "prune", "s", *nothing, "--yes", "--json").document["versions"] == []
    assert desk.lock().holders == ()
    assert [version.number for version in desk.history()] == [4, 3, 2, 1]
    assert desk.run("state", "verify", "s").code == 0
    assert "pruned" in desk.run("state", "show", "s", "--version", "1").err
    assert desk.run("state", "restore", "s", "--yes").code == 0
    assert json.loads(desk.run("state", "pull", "s").out)["serial"] == 5


@pytest.mark.slow
def test_records_of_old_runs_and_unused_initialisations_go(desk: Desk) -> None:
    module = desk.module(text=ONE)
    for number in range(5):
        (module / "main.tf").write_text(f"{ONE}# {number}\n")
        apply(desk, number)
    seeds = desk.home / "cache" / "init"
    desk.until(lambda: len(list(seeds.iterdir())) <= 3, "the third run and later ones clear up")
    runs = [summary.run for summary in desk.runs()]
    old = desk.run_folder(runs[0]) / "summary.json"
    facts = json.loads(old.read_text())
    old.write_text(json.dumps({**facts, "ended_at": "2020-01-01T00:00:00Z"}))
    kept = desk.run("runs", "prune", "--json").document
    assert (kept["runs"], kept["removed"]) == ([], True)
    told = desk.run("runs", "prune", "--keep", "2", "--dry-run", "--json").document
    assert told["runs"] == [runs[0]]
    assert desk.run("runs", "prune", "--keep", "2", "--older-than", "0s").code == 0
    assert [summary.run for summary in desk.runs()] == runs[-2:]
    assert desk.run("runs", "show", runs[0]).code == 3
    assert desk.run("plan", module, "--state", "s", "--detailed-exitcode", "--", "-var=n=4").code == 0


def test_an_initialisation_that_vanished_is_made_again(desk: Desk) -> None:
    desk.module(text=ONE)
    apply(desk, 1)
    (seed,) = (desk.home / "cache" / "init").iterdir()
    (seed / "data").rename(seed / "gone")
    os.utime(seed / "complete", (time.time(), time.time()))
    apply(desk, 2)
