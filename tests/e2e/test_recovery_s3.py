"""Recovery of Terraform's own lock in DynamoDB with the real Terraform: killed, stopped, elsewhere, alive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.desk import Started, sees_whole_machine
from tests.s3_desk import BOTH, KEY, S3Desk

from interlock.compose.homes import at_home
from interlock.operate.unlock import Asked, Explained, Freed, open_case
from interlock.recovery.terraform_lock import Override
from interlock.testing.answers import AnswerServer, answer_server
from interlock.testing.aws import LocalAws

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as server:
        yield server


def explain(desk: S3Desk, module: Path, **asked: Any) -> Explained:
    async def ask() -> Explained:
        environ = desk.environ
        async with at_home(environ) as home, open_case(str(module), _asked(asked), home, environ) as case:
            return await case.examine()

    return asyncio.run(ask())


def unlock(desk: S3Desk, module: Path, override: Override | None = None, **asked: Any) -> tuple[Explained, Freed]:
    async def act() -> tuple[Explained, Freed]:
        environ = desk.environ
        async with at_home(environ) as home, open_case(str(module), _asked(asked), home, environ) as case:
            return await case.examine(), await case.break_(override)

    return asyncio.run(act())


def _asked(more: dict[str, Any]) -> Asked:
    return Asked(**{"window_s": 0.3, **more})


def verdict(found: Explained) -> str | None:
    return found.verdict.conclusion.value if found.verdict else None


def apply_and_hold(desk: S3Desk, module: Path) -> Started:
    """Start a plain apply that works for a minute under its lock, and return when it works."""
    started = desk.start_plain(module, "apply", "-auto-approve", "-var=hold=60", "-no-color")
    desk.until(lambda: len(children(started.process.pid)) > 0, "a provisioner that sleeps")
    return started


def children(pid: int) -> list[int]:
    """Return the processes below one."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and parent(entry) == pid]
    return found + [below for child in found for below in children(child)]


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def kill(started: Started) -> list[int]:
    """Kill Terraform and nothing else, as an out-of-memory killer would; return what it leaves."""
    left = children(started.process.pid)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    return left


def end(pids: list[int]) -> None:
    for pid in pids:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def rewrite_who(desk: S3Desk, who: str) -> None:
    """Make the stored lock one that was taken on another host."""
    import json

    key = {"LockID": {"S": f"{desk.bucket}/{KEY}"}}
    item = desk.aws.dynamodb.get_item(TableName=desk.table, Key=key, ConsistentRead=True)["Item"]
    info = {**json.loads(item["Info"]["S"]), "Who": who}
    desk.aws.dynamodb.put_item(TableName=desk.table, Item={**item, "Info": {"S": json.dumps(info)}})


@pytest.mark.promise("P5")
@pytest.mark.parametrize("locking", [pytest.param("dynamodb", marks=pytest.mark.slow), BOTH])
def test_a_killed_apply_is_gone_on_its_own_host_and_its_lock_is_broken_with_the_state_saved(
    desk: S3Desk, locking: str
) -> None:
    module = desk.root(locking)
    applied = desk.plain(module, "apply", "-auto-approve", "-var=round=0")
    assert applied.code == 0, applied.err
    before = desk.objects()[KEY]
    started = apply_and_hold(desk, module)
    try:
        assert verdict(explain(desk, module)) == "alive"
        os.kill(started.process.pid, signal.SIGSTOP)
        assert verdict(explain(desk, module)) == "alive"
    finally:
        end(kill(started))

    override = None if sees_whole_machine() else Override(operator="a test", reason="killed it")
    found, freed = unlock(desk, module, override)
    assert verdict(found) == ("gone" if override is None else "undecided")
    assert found.verdict is not None
    assert len(found.verdict.reasons) >= 2
    assert Path(freed.snapshot).read_bytes() == before
    assert freed.findings == ()
    assert desk.terraform_locks() == []
    assert verdict(explain(desk, module)) is None
    assert desk.plain(module, "plan", "-detailed-exitcode").code in (0, 2)


@pytest.mark.promise("P5")
def test_from_another_host_it_is_undecided_until_the_ci_system_answers(desk: S3Desk, api: AnswerServer) -> None:
    module = desk.root()
    desk.hold_as_terraform("runner@fv-az1-234")
    found = explain(desk, module)
    assert verdict(found) == "undecided"
    assert found.verdict is not None
    assert any("fv-az1-234" in text for text in found.verdict.reasons)
    assert any("--job" in text for text in found.verdict.missing)

    url = f"{api.url}/acme/contact-centre/actions/runs/7/attempts/1"
    assert verdict(explain(desk, module, job=url)) == "undecided"
    assert api.calls == []
    desk.environ["INTERLOCK_CI_SERVERS"] = api.url
    run = "/api/v3/repos/acme/contact-centre/actions/runs/7/attempts/1"
    job: dict[str, Any] = {
        "name": "apply",
        "status": "completed",
        "started_at": "2026-11-24T07:50:00Z",  # the lock was taken at eight
        "completed_at": "2026-11-24T08:30:00Z",
        "labels": ["ubuntu-24.04"],
        "runner_group_name": "GitHub Actions",
    }
    api.routes({run: {"status": "in_progress"}, f"{run}/jobs": {"jobs": [{**job, "status": "in_progress"}]}})
    assert verdict(explain(desk, module, job=url)) == "alive"
    api.routes({})
    assert verdict(explain(desk, module, job=url)) == "undecided"
    api.routes({run: {"status": "completed", "conclusion": "cancelled"}, f"{run}/jobs": {"jobs": [job]}})
    found, freed = unlock(desk, module, job=url)
    assert verdict(found) == "gone"
    assert freed.snapshot == ""
    assert desk.terraform_locks() == []


@pytest.mark.promise("P5")
def test_a_living_apply_keeps_its_lock_whatever_is_claimed(desk: S3Desk) -> None:
    module = desk.root()
    started = apply_and_hold(desk, module)
    try:
        refused = desk.run("force-unlock", module, "--yes", "--i-have-verified", "surely dead", "--window", "0s")
        assert refused.code == 13
        assert "alive" in refused.err
        assert len(desk.terraform_locks()) == 1
    finally:
        end(kill(started))


@pytest.mark.promise("P5")
def test_undecided_needs_somebody_who_takes_responsibility_and_that_is_written_down(desk: S3Desk) -> None:
    module = desk.root()
    desk.hold_as_terraform("runner@elsewhere")
    words = ("force-unlock", module, "--yes", "--json", "--window", "0s")
    refused = desk.run(*words)
    assert refused.code == 13
    assert "--i-have-verified" in refused.err
    assert len(desk.terraform_locks()) == 1

    done = desk.run(*words, "--i-have-verified", "vm-17 was deleted", "--operator", "Ann Lee")
    assert done.code == 0, done.err
    assert done.document["done"]
    assert done.document["verdict"] == "undecided"
    assert desk.terraform_locks() == []
    facts = desk.run("audit", "ls", "--json").document["entries"][-1]["facts"]
    assert (facts["verified_by"], facts["verified"]) == ("Ann Lee", "vm-17 was deleted")
    assert desk.run("audit", "verify").code == 0


def test_a_state_held_by_hand_keeps_plain_terraform_out_until_it_is_given_back(desk: S3Desk) -> None:
    module = desk.root()
    assert desk.run("lock", "acquire", module, "--reason", "maintenance").code == 0
    refused = desk.plain(module, "plan")
    assert refused.code == 1
    assert "interlock lock acquire" in refused.err
    assert desk.run("lock", "acquire", module, "--reason", "again", "--wait", "0s").code == 13
    assert desk.run("lock", "release", module).code == 0
    assert desk.terraform_locks() == []
    desk.hold_as_terraform()
    assert desk.run("lock", "release", module).code == 13
    assert len(desk.terraform_locks()) == 1
