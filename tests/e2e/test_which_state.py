"""One word, one state: what pauses, shows and frees a state is what its runs queue for (promise P11)."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.s3_desk import KEY, S3Desk

from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P11")]
KEPT = 'resource "terraform_data" "kept" {\n  input = "kept"\n}\n'


@pytest.fixture
def s3(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commands_in(text: str) -> list[list[str]]:
    """Return the commands of the last `next` line, as a shell would read them."""
    line = next(line for line in reversed(text.splitlines()) if line.lstrip().startswith("next "))
    return [shlex.split(part[part.index("interlock ") :])[1:] for part in line.split("    or")]


@pytest.mark.slow
def test_a_queue_that_is_paused_by_one_name_is_paused_by_every_name(s3: S3Desk) -> None:
    module = s3.root(text=KEPT, name="s3mod")
    (s3.folder / "interlock.yaml").write_text("states:\n  prod: {directory: s3mod}\n")
    queue = f"s3/{s3.bucket}/{KEY}"
    paused = s3.run("queue", "pause", "prod", "--reason", "pause")
    assert (paused.code, f"{queue} is paused" in paused.err) == (0, True), paused.err
    assert s3.run("apply", module, "--auto-approve", "--no-wait").code == 10
    refused = s3.run("apply", module, "--auto-approve", "--wait", "1s")
    assert (refused.code, "pause" in refused.err) == (10, True), refused.err
    for name in ("prod", "s3mod", queue, f"s3://{s3.bucket}/{KEY}"):
        shown = s3.run("lock", "show", name, "--json").document
        assert (shown["state"], shown["paused"]["reason"]) == (queue, "pause"), name
    listed = s3.run("queue", "ls", "--json").document["states"]
    assert [(row["state"], row["address"]) for row in listed] == [(queue, f"s3://{s3.bucket}/{KEY}")]
    assert s3.run("queue", "resume", queue).code == 0
    assert s3.run("apply", module, "--auto-approve").code == 0
    assert queue in s3.run("state", "ls").out
    assert "terraform_data.kept" in s3.run("state", "show", queue).out


def test_what_a_refused_run_says_next_can_be_typed(s3: S3Desk) -> None:
    module = s3.root(text=KEPT)
    assert s3.run("queue", "pause", module, "--reason", "pause").code == 0
    refused = s3.run("apply", module, "--auto-approve", "--no-wait")
    assert refused.code == 10, refused.err
    (words, *_) = commands_in(refused.err)
    answer = s3.run(*words)
    assert answer.code == 0, answer.err
    assert "pause" in answer.out + answer.err


def test_a_queue_elsewhere_that_cannot_be_asked_hides_no_other(s3: S3Desk) -> None:
    module = s3.root(text=KEPT)
    assert s3.run("apply", module, "--auto-approve").code == 0
    own = s3.module("own", KEPT)
    assert s3.run("queue", "pause", own, "--reason", "mine").code == 0
    shutil.rmtree(module)
    listed = s3.run("queue", "ls", "--json")
    rows = {row["state"]: row for row in listed.document["states"]}
    assert listed.code == 0
    assert len(rows) == 2
    assert "cannot be reached" in rows[f"s3/{s3.bucket}/{KEY}"]["trouble"]
    held = s3.run("lock", "ls", "--json").document
    assert (held["locks"], [row["state"] for row in held["unseen"]]) == ([], [f"s3/{s3.bucket}/{KEY}"])


def test_a_folder_that_was_moved_does_not_begin_an_empty_state(desk: Desk) -> None:
    before = desk.module("before", KEPT)
    assert desk.run("apply", before, "--auto-approve").code == 0
    after = desk.folder / "after"
    before.rename(after)
    refused = desk.run("plan", after)
    assert (refused.code, "a second time" in refused.err) == (3, True), refused.err
    same, fresh = commands_in(refused.err)
    assert desk.run(*same, "--detailed-exitcode").code == 0
    assert desk.run(*fresh, "--detailed-exitcode").code == 2


def test_a_clone_does_not_begin_an_empty_state(desk: Desk) -> None:
    origin = desk.folder / "repository"
    module = desk.module("repository/cc", KEPT)
    git(desk.folder, "init", "-q", str(origin))
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "one")
    assert desk.run("apply", module, "--auto-approve").code == 0
    clone = desk.folder / "clone"
    git(desk.folder, "clone", "-q", str(origin), str(clone))
    refused = desk.run("plan", clone / "cc")
    assert (refused.code, "same folder of the same repository" in refused.err) == (3, True), refused.err
    assert desk.run("init", cwd=clone).code == 0  # writes the name that the state has
    assert desk.run("plan", clone / "cc", "--detailed-exitcode").code == 0


def test_the_plan_that_a_repair_names_next_is_that_of_the_state_wherever_it_is_typed(desk: Desk) -> None:
    module = desk.module("cc", KEPT)
    assert desk.run("apply", module, "--state", "prod", "--auto-approve").code == 0
    assert (
        desk.run(
            "apply", desk.module("cc", KEPT.replace('"kept"\n', '"new"\n')), "--state", "prod", "--auto-approve"
        ).code
        == 0
    )
    restored = desk.run("state", "restore", "prod", "--version", "1", "--yes")
    assert restored.code == 0, restored.err
    words = shlex.split(restored.err[restored.err.index("next: interlock ") :])[2:]
    planned = desk.run(*words, "--detailed-exitcode", cwd=Path("/"))
    assert planned.code == 2, planned.err
    assert "state prod" in planned.err


def test_a_copy_beside_its_original_and_another_folder_are_states_of_their_own(desk: Desk) -> None:
    original = desk.module("original", KEPT)
    assert desk.run("apply", original, "--auto-approve").code == 0
    shutil.copytree(original, desk.folder / "copy")
    assert desk.run("plan", desk.folder / "copy", "--detailed-exitcode").code == 2
    assert desk.run("plan", desk.module("other", KEPT), "--detailed-exitcode").code == 2
