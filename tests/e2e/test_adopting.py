"""States moved from every backend to Interlock's own store and back, with the real Terraform: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.desk import STEP_S, Desk
from tests.e2e.test_runs_elsewhere import PLACES, Place, plain, root
from tests.s3_desk import KEY, S3Desk

from interlock.site.moved import moved_to
from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P3", "P6", "P11")]

ONE = """
variable "round" {
  default = 1
}
resource "terraform_data" "one" {
  input = var.round
}
output "round" {
  value = var.round
}
"""


@contextmanager
def on_s3(desk: S3Desk) -> Iterator[Place]:
    def stored() -> bytes | None:
        found = desk.aws.s3.list_objects_v2(Bucket=desk.bucket, Prefix=KEY).get("Contents")
        return desk.aws.s3.get_object(Bucket=desk.bucket, Key=KEY)["Body"].read() if found else None

    def is_locked() -> bool:
        found = desk.aws.dynamodb.get_item(TableName=desk.table, Key={"LockID": {"S": f"{desk.bucket}/{KEY}"}})
        return "Item" in found

    def put(body: bytes) -> None:
        desk.aws.s3.put_object(Bucket=desk.bucket, Key=KEY, Body=body)

    block = "\n".join(f"{name} = {value}" for name, value in desk.settings().items())
    yield Place(block=block, kind="s3", stored=stored, is_locked=is_locked, put=put)


@pytest.fixture
def s3_desk(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


def test_a_state_on_s3_is_adopted_and_given_back(s3_desk: S3Desk) -> None:
    with on_s3(s3_desk) as place:
        there_and_back(s3_desk, place)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["http", "cloud"])
def test_a_state_on_a_server_is_adopted_and_given_back(desk: Desk, name: str, tmp_path: Path) -> None:
    with PLACES[name](tmp_path) as place:
        there_and_back(desk, place)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PLACES.keys() - {"http", "cloud"}))
def test_a_state_on_each_other_backend_is_adopted_and_given_back(desk: Desk, name: str, tmp_path: Path) -> None:
    with PLACES[name](tmp_path) as place:
        there_and_back(desk, place)


def there_and_back(desk: Desk, place: Place) -> None:
    module = root(desk, place, text=ONE)
    before = (module / "main.tf").read_bytes()
    assert desk.run("apply", module, "--auto-approve").code == 0
    body = place.stored()
    assert body is not None
    _adopt(desk, place, module, before, body)
    (module / "main.tf").write_bytes(before)
    _leave(desk, place, module)


def _adopt(desk: Desk, place: Place, module: Path, before: bytes, body: bytes) -> None:
    shown = desk.run("adopt", module, "--dry-run")
    assert shown.code == 0, shown.err
    assert "-  " in shown.err, "the edit of the configuration is shown as a diff"
    assert "glpat-hush" not in shown.err
    assert desk.run("plan", module, "--detailed-exitcode").code == 0, "nothing was changed"
    moved = desk.run("adopt", module, "--yes", "--json")
    assert moved.code == 0, moved.err
    [row] = moved.document["states"]
    there = json.loads(body)
    assert (row["serial"], row["lineage"], row["resources"]) == (there["serial"], there["lineage"], 1)
    assert place.stored() == body or place.kind == "local", "the source keeps its bytes"
    assert not place.is_locked()
    assert (module / "main.tf").read_bytes() == before, "only --edit writes"
    refused = desk.run("plan", module)
    assert refused.code == 3, refused.err
    assert "was moved to interlock:" in refused.err
    again = desk.run("adopt", module, "--yes")
    assert again.code == 0, again.err
    assert "moved already" in again.err, "also of a file that was put aside"
    edited = desk.run("adopt", module, "--yes", "--edit")
    assert edited.code == 0, edited.err
    assert b"backend" not in (module / "main.tf").read_bytes()
    clean = desk.run("plan", module, "--detailed-exitcode")
    assert clean.code == 0, clean.err
    assert desk.run("apply", module, "--auto-approve", "--", "-var=round=2").code == 0


def _leave(desk: Desk, place: Place, module: Path) -> None:
    left = desk.run("leave", module, "--yes", "--json")
    assert left.code == 0, left.err
    assert not place.is_locked()
    assert place.document["outputs"]["round"]["value"] == "2"
    clean = desk.run("plan", module, "--detailed-exitcode", "--", "-var=round=2")
    assert clean.code == 0, clean.err
    if place.has_plain:
        assert plain(desk, module, "plan", "-detailed-exitcode", "-input=false", "-var=round=2").code == 0
    again = desk.run("leave", module, "--yes")
    assert again.code == 0, again.err
    assert "moved already" in again.err


def test_a_place_that_was_written_meanwhile_is_not_written_over(desk: Desk, tmp_path: Path) -> None:
    with PLACES["http"](tmp_path) as place:
        module = root(desk, place, text=ONE)
        assert desk.run("apply", module, "--auto-approve").code == 0
        assert desk.run("adopt", module, "--yes").code == 0
        by_hand = plain(desk, module, "apply", "-auto-approve", "-input=false", "-var=round=7")
        assert by_hand.code == 0, by_hand.err
        body = place.stored()
        for words in (("adopt", module, "--yes"), ("leave", module, "--yes")):
            refused = desk.run(*words)
            assert refused.code == 3, refused.err
        assert place.stored() == body


@pytest.mark.promise("P1", "P5")
def test_a_state_that_somebody_holds_is_not_moved(desk: Desk, tmp_path: Path) -> None:
    with PLACES["cloud"](tmp_path) as place:
        module = root(desk, place, text=ONE)
        assert desk.run("apply", module, "--auto-approve").code == 0
        held = desk.run("lock", "acquire", module, "--reason", "a test")
        assert held.code == 0, held.err
        refused = desk.run("adopt", module, "--yes", environ={"INTERLOCK_WAIT": "1s"})
        assert refused.code == 13, refused.err
        kept = desk.run("state", "ls", "--json").document["states"]
        assert not [row for row in kept if row["head"]], "nothing was stored"


@pytest.mark.slow
def test_every_workspace_on_s3_is_adopted_and_each_has_its_own_plan(s3_desk: S3Desk) -> None:
    with on_s3(s3_desk) as place:
        module = root(s3_desk, place, text=ONE.replace("input = var.round", "input = terraform.workspace"))
        own = {**s3_desk.environ, "TF_DATA_DIR": str(s3_desk.folder / "data")}
        for words in (["init"], ["workspace", "new", "prod"], ["apply", "-auto-approve"]):
            subprocess.run(["terraform", *words], cwd=module, env=own, check=True, capture_output=True, timeout=STEP_S)
        assert s3_desk.run("apply", module, "--auto-approve").code == 0
        moved = s3_desk.run("adopt", module, "--yes", "--edit", "--json")
        assert moved.code == 0, moved.err
        assert [row["workspace"] for row in moved.document["states"]] == ["default", "prod"]
        for space in ("default", "prod"):
            clean = s3_desk.run("plan", module, "--detailed-exitcode", environ={"TF_WORKSPACE": space})
            assert clean.code == 0, clean.err


def test_what_terraform_recorded_of_the_old_backend_is_put_aside_with_the_edit(desk: Desk, tmp_path: Path) -> None:
    with PLACES["http"](tmp_path) as place:
        module = root(desk, place, text=ONE)
        for words in (["init"], ["apply", "-auto-approve"]):
            subprocess.run(
                ["terraform", *words], cwd=module, env=desk.environ, check=True, capture_output=True, timeout=STEP_S
            )
        assert (module / ".terraform" / "terraform.tfstate").is_file()
        assert desk.run("adopt", module, "--yes", "--edit").code == 0
        assert (module / ".terraform" / "terraform.tfstate.adopted").is_file()
        clean = desk.run("plan", module, "--detailed-exitcode")
        assert clean.code == 0, clean.err
        left = desk.run("leave", module, "--yes")
        assert left.code == 0, left.err
        assert (module / "terraform.tfstate").exists(), "no backend is declared any more"
        assert plain(desk, module, "plan", "-detailed-exitcode", "-input=false").code == 0


def test_a_workspace_that_gets_another_name_is_told_when_the_configuration_asks_for_it(
    desk: Desk, tmp_path: Path
) -> None:
    with PLACES["cloud"](tmp_path) as place:
        module = root(desk, place, text='resource "terraform_data" "one" { input = terraform.workspace }\n')
        assert desk.run("apply", module, "--auto-approve").code == 0
        shown = desk.run("adopt", module, "--dry-run")
        assert 'terraform.workspace is "app" there and "default" here' in shown.err


def test_a_run_that_waits_for_a_state_that_is_moved_ends_and_says_where_it_is(desk: Desk) -> None:
    module = desk.module(text=ONE)
    assert desk.run("apply", module, "--auto-approve", "--first-apply", "--state", "app").code == 0
    assert desk.run("lock", "acquire", "app", "--reason", "a test").code == 0
    waits = desk.start("plan", module, "--state", "app")
    desk.until_waiting()
    reason = moved_to("s3://states/app")
    desk.ask(lambda home: home.coordinator.pause("app", by="ann@desk", reason=reason))
    ended = waits.wait()
    assert ended.code == 3, ended.err
    assert "was moved to s3://states/app" in ended.err


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", [pytest.param("http", marks=pytest.mark.slow), "local"])
def test_a_move_that_was_killed_is_repeated_by_the_same_command(desk: Desk, name: str, tmp_path: Path) -> None:
    with PLACES[name](tmp_path) as place:
        module = root(desk, place, text=ONE)
        assert desk.run("apply", module, "--auto-approve").code == 0
        words = [sys.executable, "-c", KILLED_BEFORE_ITS_MARK, "adopt", str(module), "--yes"]
        own = {**desk.environ, "INTERLOCK_LEASE": "2s"}
        killed = subprocess.run(words, env=own, cwd=desk.folder, capture_output=True, check=False, timeout=STEP_S)
        assert killed.returncode == -9, killed.stderr
        again = desk.run("adopt", module, "--yes", environ={"INTERLOCK_WAIT": "30s"})
        assert again.code == 0, again.err
        assert "stored there already" in again.err
        assert not place.is_locked()


KILLED_BEFORE_ITS_MARK = """
import os, sys
from interlock.cli.main import main
from interlock.operate import moving
async def die(*_): os.kill(os.getpid(), 9)
moving._mark = die
main(sys.argv[1:])
"""
