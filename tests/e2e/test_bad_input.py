"""Bad input of every kind: three parts, the right exit status, nothing lost, never a traceback."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.desk import Answer, Desk

pytestmark = pytest.mark.e2e


def check_three_parts(answer: Answer, code: int) -> None:
    assert answer.code == code, answer.err
    assert "error[" in answer.err
    assert "  next   " in answer.err
    assert "Traceback" not in answer.err + answer.out


def document(**changes: object) -> bytes:
    values = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}
    return json.dumps({**values, "check_results": None, **changes}).encode()


@pytest.mark.promise("P8")
def test_configurations_that_cannot_be_run_are_refused_with_3(desk: Desk, module: Path) -> None:
    empty = desk.folder / "empty"
    empty.mkdir()
    check_three_parts(desk.run("plan", empty), 3)
    check_three_parts(desk.run("plan", desk.folder / "nowhere"), 3)
    check_three_parts(desk.run("plan", module / "main.tf"), 3)
    broken = desk.run("plan", desk.module("broken", 'resource "terraform_data" "x" {'), "--json")
    check_three_parts(broken, 3)
    assert broken.document["error"]["exit"] == 3
    assert "closing brace" in broken.err
    other = desk.module("other", 'terraform {\n  backend "inmem" {}\n}\n')
    refused = desk.run("plan", other)
    check_three_parts(refused, 3)
    assert 'backend "inmem"' in refused.err
    (module / "terraform.tfstate").write_bytes(document())
    local = desk.run("plan", module, "--state", "s")
    check_three_parts(local, 3)
    assert f"interlock adopt {module} --state s" in local.err


@pytest.mark.promise("P8")
@pytest.mark.parametrize("name", ["../x", "/x", "x//y", "a b", "", "x" * 300, "ä", "x/.."])
def test_a_state_name_that_could_be_a_path_is_refused_with_3(desk: Desk, name: str) -> None:
    check_three_parts(desk.run("state", "history", name), 3)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runn:\n  wait: 3m\n", "did you mean 'run'?"),
        ("run:\n  wait: soon\n", "run.wait"),
        ("run: [1\n", "not valid YAML"),
        ("- a list\n", "must be a mapping"),
        ("states:\n  s: {max_deletes: -1}\n", "max_deletes"),
        ("version: 2\n", "version"),
        ("run: {lease: 1s, heartbeat: 1s}\n", "too slow for a lease"),
    ],
)
def test_a_wrong_settings_file_is_refused_with_3_and_the_nearest_key(desk: Desk, text: str, said: str) -> None:
    (desk.folder / "interlock.yaml").write_text(text)
    del desk.environ["INTERLOCK_LEASE"], desk.environ["INTERLOCK_HEARTBEAT"]
    refused = desk.run("queue", "ls")
    check_three_parts(refused, 3)
    assert said in refused.err


@pytest.mark.parametrize(
    ("name", "value"),
    [("INTERLOCK_WAIT", "soon"), ("INTERLOCK_MAX_DELETES", "-1"), ("INTERLOCK_CONFIG", "/nonexistent/interlock.yaml")],
)
def test_wrong_variables_are_refused_with_3(desk: Desk, name: str, value: str) -> None:
    check_three_parts(desk.run("queue", "ls", environ={name: value}), 3)


def test_settings_that_are_no_text_are_refused_with_3(desk: Desk) -> None:
    (desk.folder / "interlock.yaml").write_bytes(b"\xff\xfe\x00run")
    check_three_parts(desk.run("queue", "ls"), 3)


@pytest.mark.promise("P8")
def test_misuse_of_the_command_line_is_refused_with_3(desk: Desk, module: Path) -> None:
    for words in (
        ["frobnicate"],
        ["plan", module, "--frobnicate"],
        ["plan", module, "--wait", "soon"],
        ["plan", module, "--terraform", "/nonexistent/terraform"],
        ["apply", module, "--auto-approve", "--max-deletes", "-1"],
        ["lock", "show"],
        ["runs", "show", "nothing"],
        ["wait", "nothing"],
        ["state", "push", desk.folder / "nothing", "--state", "s"],
        ["lock", "release", "s"],
        ["state", "restore", "s", "--yes"],
    ):
        check_three_parts(desk.run(*words), 3)


@pytest.mark.promise("P6", "P8")
def test_states_that_may_not_become_current_are_refused_with_20_and_kept_in_quarantine(desk: Desk) -> None:
    def push(body: bytes) -> Answer:
        path = desk.folder / "pushed.tfstate"
        path.write_bytes(body)
        return desk.run("state", "push", path, "--state", "s")

    good = document(serial=5)
    assert push(good).code == 0
    twins = [{"mode": "managed", "type": "t", "name": "n", "provider": "provider.p", "instances": [{}, {}]}]
    bad = {
        "foreign-lineage": document(serial=6, lineage="other"),
        "older-serial": document(serial=4),
        "same-serial": document(serial=5, outputs={"x": {"value": 1, "type": "number"}}),
        "truncated": good[:-20],
        "no JSON": b"\x00\x01",
        "empty": b"",
        "another version": document(version=3, serial=6),
        "a list": b"[]",
        "duplicate instances": document(serial=6, resources=twins),
        "no lineage": document(serial=6, lineage=""),
    }
    for body in bad.values():
        check_three_parts(push(body), 20)
    assert desk.run("state", "pull", "s").out.encode() == good
    assert len(desk.quarantined()) == len(bad)
    assert [version.serial for version in desk.history()] == [5]
    assert desk.lock().holders == ()
    truncated = desk.folder / "truncated.tfstate"
    truncated.write_bytes(good[:-20])
    assert desk.run("state", "verify", truncated).code == 20


def spoil_text(path: Path) -> None:
    path.write_text("this is not a database, " * 500)


def spoil_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def spoil_owner(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def spoil_age(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version=999")


def spoil_kind(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "code"), [(spoil_text, 3), (spoil_pages, 30), (spoil_owner, 3), (spoil_age, 3), (spoil_kind, 3)]
)
def test_a_database_that_cannot_be_used_is_told_and_left_as_it_is(
    desk: Desk, module: Path, spoil: "partial[None]", code: int
) -> None:
    desk.home.mkdir()
    path = desk.home / "interlock.db"
    assert desk.run("queue", "pause", "s", "--reason", "makes a database").code == 0
    for leftover in desk.home.glob("interlock.db-*"):
        leftover.unlink()
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    for words in (("state", "ls"), ("plan", module, "--state", "s")):
        answer = desk.run(*words)
        check_three_parts(answer, code)
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert desk.run("doctor", module).code == 1


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET value = 'a text'",
        "UPDATE records SET value = substr(value, 2)",
        "UPDATE records SET version = 'x'",
        "UPDATE records SET key = CAST(x'73746174652fff' AS TEXT) WHERE key LIKE 'state/%'",
        "DROP TABLE records",
    ],
)
def test_damaged_rows_are_damage_to_every_command_and_never_a_defect(desk: Desk, module: Path, damage: str) -> None:
    desk.home.mkdir()
    assert desk.run("queue", "pause", "s", "--reason", "makes a record").code == 0
    with closing(sqlite3.connect(desk.home / "interlock.db", isolation_level=None)) as connection:
        connection.execute(damage)
    for words in (("state", "ls"), ("queue", "ls")):
        check_three_parts(desk.run(*words), 30)
    looked = desk.run("doctor", module)
    assert looked.code == 1
    assert "damaged" in looked.out
    assert "defect" not in looked.out + looked.err


def limited(desk: Desk, size: int, *words: object) -> Answer:
    """Run a command and what it starts with a limit on the size of files, which acts like a full disk."""
    done = subprocess.run(
        [sys.executable, "-m", "interlock", *map(str, words)],
        env=desk.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.promise("P3", "P8")
def test_a_disk_that_takes_no_more_is_told_and_loses_nothing(desk: Desk, module: Path) -> None:
    assert desk.applied(module).code == 0
    before = desk.history()
    size = (desk.home / "interlock.db").stat().st_size
    big = desk.folder / "big.tfstate"
    big.write_bytes(
        document(
            serial=99, lineage=before[0].lineage, outputs={"x": {"value": os.urandom(1 << 20).hex(), "type": "string"}}
        )
    )
    refused = limited(desk, size, "state", "push", big, "--state", "s")
    check_three_parts(refused, 30)
    words = ("apply", module, "--state", "s", "--auto-approve", "--", "-var=round=2")
    stopped = limited(desk, size, *words)
    check_three_parts(stopped, stopped.code)
    assert stopped.code in {30, 131}, stopped.err  # full before the plan, or when the new state was to be stored
    assert desk.history() == before
    assert desk.run("state", "verify", "s").code == 0
    unsaved = [path.parent.name for path in desk.home.glob("runs/*/errored.tfstate")]
    assert bool(unsaved) == (stopped.code == 131)
    assert desk.applied(module, round_=3).code == 0
    assert set(unsaved) <= {version.run for version in desk.history()}  # recovery has stored it since


def test_a_home_that_cannot_be_made_is_told(desk: Desk, module: Path) -> None:
    desk.home.write_text("a file")
    answer = desk.run("plan", module, "--state", "s")
    assert answer.code in {3, 30}, answer.err
    check_three_parts(answer, answer.code)


def test_closed_standard_streams_are_no_failure(desk: Desk, module: Path) -> None:
    command = f"{sys.executable} -m interlock plan {module} --state s --json <&- 2>&-"
    done = subprocess.run(["sh", "-c", command], env=desk.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["exit"]) == (0, 0)
    refused = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m interlock apply {module} --state s <&-"],
        env=desk.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    check_three_parts(Answer(refused.returncode, refused.stdout, refused.stderr), 3)
