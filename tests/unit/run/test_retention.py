import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.run.retention import SEEDS_PER_MODULE, TRASH, Retention, choose_runs, remove_old
from interlock.run.summary import Summary, write_summary
from interlock.testing.clock import START

POLICY = Retention(newest=2, for_s=10 * 86_400.0, most=4)
Make = Callable[..., Path]


def summary(name: str, *, age_days: float, ended: bool = True, folder: str = "") -> Summary:
    at = START - timedelta(days=age_days)
    return Summary(
        run=name,
        state="s",
        operation="apply",
        who="me@here",
        directory="/module",
        phase="ended" if ended else "applying",
        started_at=at,
        ended_at=at if ended else None,
        exit=0 if ended else None,
        folder=folder,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "cache" / "init").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def run(home: Path) -> Make:
    def make(name: str, **facts: object) -> Path:
        folder = home / "runs" / name
        folder.mkdir()
        (folder / "journal.jsonl").write_text("{}\\n")
        write_summary(folder, summary(name, **facts))  # type: ignore[arg-type]
        return folder

    return make


@pytest.fixture
def seed(home: Path) -> Make:
    def make(name: str, module: str, age_days: float) -> Path:
        folder = home / "cache" / "init" / name
        folder.mkdir()
        (folder / "complete").write_text(module)
        at_s = (START - timedelta(days=age_days)).timestamp()
        os.utime(folder / "complete", (at_s, at_s))
        return folder

    return make


def test_the_newest_stay_the_old_go_and_there_are_never_more_than_the_most() -> None:
    ages = {"f": 1, "e": 40, "d": 2, "c": 20, "b": 3, "a": 4}
    newest_first = [summary(name, age_days=age) for name, age in ages.items()]
    assert choose_runs(newest_first, POLICY, now=START) == ["a", "b", "c"]


def test_a_run_that_has_not_ended_stays_however_old(home: Path, run: Make) -> None:
    for name in ("c", "b"):
        run(name, age_days=1)
    going_on = run("a", age_days=400, ended=False)
    assert remove_old(home, POLICY, now=START).runs == ()
    assert going_on.exists()


def test_a_state_that_could_not_be_saved_stays_wherever_it_is(home: Path, run: Make) -> None:
    for name in ("d", "c"):
        run(name, age_days=1)
    tree = home / "trees" / "0"
    tree.mkdir(parents=True)
    (tree / "errored.tfstate").write_text("{}")
    run("b", age_days=400, folder=str(tree))
    (run("a", age_days=400) / "errored.tfstate").write_text("{}")
    assert remove_old(home, POLICY, now=START).runs == ()


def test_what_goes_is_gone_and_a_dry_run_only_says_so(home: Path, run: Make) -> None:
    for name in ("c", "b"):
        run(name, age_days=1)
    old = run("a", age_days=400)
    told = remove_old(home, POLICY, now=START, dry_run=True)
    assert (told.runs, old.exists()) == (("a",), True)
    assert told.size_bytes > 0
    (home / TRASH / "of-a-crash").mkdir(parents=True)
    assert remove_old(home, POLICY, now=START).runs == ("a",)
    assert not old.exists()
    assert list((home / TRASH).iterdir()) == []
    assert remove_old(home, POLICY, now=START).runs == ()


def test_of_the_initialisations_of_a_module_the_newest_stay(home: Path, seed: Make) -> None:
    for age in range(SEEDS_PER_MODULE + 2):
        seed(f"a{age}", "/a", age)
    seed("b0", "/b", 20)
    seed("c0", "/c", 40)
    assert set(remove_old(home, POLICY, now=START).initialisations) == {"a3", "a4", "c0"}


def test_an_initialisation_that_a_run_works_with_stays(home: Path, run: Make, seed: Make) -> None:
    used = seed("used", "/a", 400)
    data = run("a", age_days=1, ended=False) / "data"
    data.mkdir()
    (data / "providers").symlink_to(used / "providers")
    assert remove_old(home, POLICY, now=START).initialisations == ()


def test_a_home_without_runs_is_fine(tmp_path: Path) -> None:
    assert remove_old(tmp_path, POLICY, now=START).runs == ()
