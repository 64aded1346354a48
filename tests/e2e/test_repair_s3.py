"""Each kind of damage to a state in S3, made with real tools: named, put right, and the next plan is clean.

One bucket, one root module, applied once; each test begins and ends with a clean plan of the real Terraform.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.s3_desk import KEY, S3Desk

from interlock.compose.homes import at_home
from interlock.errors import LockHeld, StateInvalid, UsageError
from interlock.site.interface import Versions
from interlock.site.opening import open_meant
from interlock.state import Finding
from interlock.testing.aws import LocalAws

pytestmark = pytest.mark.e2e

PAIR = """
resource "terraform_data" "base" {
  input = "base"
}

resource "terraform_data" "top" {
  input = terraform_data.base.output
}
"""


class Site:
    """An applied root module, and what may be done to its state."""

    def __init__(self, desk: S3Desk) -> None:
        self.desk = desk
        self.module = desk.root(text=PAIR)
        assert desk.plain(self.module, "apply", "-auto-approve").code == 0
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.versions = self._runner.run(self._open())

    async def _open(self) -> Versions:
        environ = self.desk.environ
        home = await self._stack.enter_async_context(at_home(environ))
        site = await self._stack.enter_async_context(open_meant(str(self.module), home, environ))
        return site.versions

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    @property
    def body(self) -> bytes:
        """The stored state."""
        return self.desk.objects()[KEY]

    @property
    def digest(self) -> str:
        """The digest in the table."""
        return str(self.desk.items()[f"{self.desk.bucket}/{KEY}-md5"]["Digest"]["S"])

    def put(self, body: bytes, *, with_digest: bool = False) -> None:
        """Overwrite the state as the AWS console would; with the digest as a Terraform without a lock would."""
        self.desk.aws.s3.put_object(Bucket=self.desk.bucket, Key=KEY, Body=body)
        if with_digest:
            import hashlib

            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            item = {"LockID": {"S": f"{self.desk.bucket}/{KEY}-md5"}, "Digest": {"S": digest}}
            self.desk.aws.dynamodb.put_item(TableName=self.desk.table, Item=item)

    def changed(self, change: Callable[[dict[str, Any]], None]) -> bytes:
        """Return the state with something changed, and nothing else."""
        document = json.loads(self.body)
        change(document)
        return json.dumps(document, indent=2).encode()

    def verify(self) -> dict[str, Finding]:
        """Return the findings that refuse, by code."""
        findings = self._runner.run(self.versions.findings(None))
        return {finding.code: finding for finding in findings if finding.refuses}

    def restore(self, version: str | None = None) -> int:
        """Restore, by default the newest sound version; return the new serial."""

        async def act() -> int:
            return await self.versions.restore(await self.versions.plan_restore(version))

        return self._runner.run(act())

    def plan(self) -> int:
        """Return the exit status of a real plan: 0 when clean; what it says is printed, for a failure."""
        planned = self.desk.plain(self.module, "plan", "-detailed-exitcode")
        print(planned.out, planned.err)  # noqa: T201
        return planned.code


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, aws: LocalAws) -> Iterator[Site]:
    desk = S3Desk(tmp_path_factory.mktemp("repair"), aws)
    made = Site(desk)
    yield made
    made.close()
    desk.close()


@pytest.fixture
def site(applied: Site) -> Iterator[Site]:
    yield applied
    assert applied.verify() == {}
    assert applied.plan() == 0
    assert applied.desk.terraform_locks() == []


def _duplicate(document: dict[str, Any]) -> None:
    document["resources"].append(document["resources"][0])
    document["serial"] += 1


def _other_version(document: dict[str, Any]) -> None:
    document["version"] = 3


@pytest.mark.promise("P3", "P6")
@pytest.mark.parametrize(
    ("damage", "code", "with_digest"),
    [
        (lambda site: site.body[:300], "truncated", False),
        pytest.param(lambda _: b"<html>502 Bad Gateway</html>", "not-json", True, marks=pytest.mark.slow),
        (lambda site: site.changed(_duplicate), "duplicate-instance", True),
        pytest.param(lambda site: site.changed(_other_version), "format-version", False, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_document_is_named_and_the_newest_sound_version_comes_back(
    site: Site, damage: Callable[[Site], bytes], code: str, with_digest: bool
) -> None:
    good = json.loads(site.body)
    bad = damage(site)
    site.put(bad, with_digest=with_digest)
    found = site.verify()
    assert code in found
    assert ("digest-mismatch" in found) is not with_digest
    serial = site.restore()
    assert serial > good["serial"]
    after = json.loads(site.body)
    assert (after["serial"], after["resources"]) == (serial, good["resources"])
    kept = site.desk.home / "kept"
    assert any(path.read_bytes() == bad for path in kept.rglob("*.tfstate"))


def test_a_digest_that_was_not_written_is_named_and_repaired_exactly(site: Site) -> None:
    before = site.body

    def next_serial(document: dict[str, Any]) -> None:
        document["serial"] += 1

    newer = site.changed(next_serial)
    site.put(newer)
    found = site.verify()
    assert set(found) == {"digest-mismatch"}
    assert "interlock state repair" in found["digest-mismatch"].message
    assert "not written together" in found["digest-mismatch"].message
    repaired = site.desk.run("state", "repair", site.module, "--yes", "--json")
    assert repaired.code == 0, repaired.err
    assert repaired.document["done"]
    assert site.body == newer != before


@pytest.mark.promise("P6")
def test_a_digest_is_not_made_to_agree_with_a_damaged_state(site: Site) -> None:
    good = site.body
    site.put(good[:100])
    refused = site.desk.run("state", "repair", site.module, "--yes")
    assert refused.code == StateInvalid.exit_status
    assert "interlock state restore" in refused.err
    site.restore()


@pytest.mark.promise("P6")
def test_an_older_state_put_back_is_named_and_undone(site: Site) -> None:
    older = site.body
    assert site.desk.plain(site.module, "apply", "-auto-approve", "-replace=terraform_data.top").code == 0
    newer = json.loads(site.body)
    site.put(older, with_digest=True)
    assert "serial-back" in site.verify()
    site.restore()
    assert json.loads(site.body)["resources"] == newer["resources"]


@pytest.mark.promise("P6")
def test_another_states_lineage_is_named_and_undone(site: Site) -> None:
    def foreign(document: dict[str, Any]) -> None:
        document["lineage"] = "00000000-1111-2222-3333-444444444444"

    good = json.loads(site.body)
    site.put(site.changed(foreign), with_digest=True)
    assert set(site.verify()) == {"lineage-changed"}
    site.restore()
    assert json.loads(site.body)["lineage"] == good["lineage"]


@pytest.mark.promise("P6")
def test_resources_that_vanished_without_a_destroy_are_named_and_come_back(site: Site) -> None:
    good = json.loads(site.body)

    def lose(document: dict[str, Any]) -> None:
        document["resources"] = [row for row in document["resources"] if row["name"] != "base"]
        document["serial"] += 1

    site.put(site.changed(lose), with_digest=True)
    found = site.verify()
    assert set(found) == {"phantom-deletion"}
    assert found["phantom-deletion"].address == "terraform_data.base"
    assert site.plan() == 2  # Terraform would create it a second time
    site.restore()
    assert json.loads(site.body)["resources"] == good["resources"]


@pytest.mark.promise("P4")
def test_a_zombies_write_after_a_takeover_is_named_and_undone(site: Site) -> None:
    """The zombie planned on the old serial; its lock was broken, somebody else applied, and then it wrote."""
    zombie = site.changed(lambda document: document.update(serial=document["serial"] + 1, outputs={}))
    zombie = zombie.replace(b'"value": "base"', b'"value": "by the zombie"')
    site.desk.hold_as_terraform("runner@elsewhere")
    words = ("--yes", "--window", "0s", "--i-have-verified", "vm-17 was deleted")
    assert site.desk.run("force-unlock", site.module, *words).code == 0
    assert site.desk.plain(site.module, "apply", "-auto-approve", "-replace=terraform_data.top").code == 0
    ours = json.loads(site.body)
    site.put(zombie, with_digest=True)
    found = site.verify()
    assert "zombie-write" in found
    assert "its lock was broken at" in found["zombie-write"].message
    site.restore()
    assert json.loads(site.body)["resources"] == ours["resources"]


@pytest.mark.promise("P3")
def test_a_deleted_state_object_is_named_and_comes_back(site: Site) -> None:
    good = json.loads(site.body)
    site.desk.aws.s3.delete_object(Bucket=site.desk.bucket, Key=KEY)
    assert "state-missing" in site.verify()
    site.restore()
    assert json.loads(site.body)["resources"] == good["resources"]


@pytest.mark.promise("P3")
def test_a_deleted_newest_version_is_a_lost_state_and_no_repair_hides_it(site: Site) -> None:
    assert site.desk.plain(site.module, "apply", "-auto-approve", "-replace=terraform_data.top").code == 0
    lost, digest = site.body, site.digest
    newest = site.desk.aws.s3.head_object(Bucket=site.desk.bucket, Key=KEY)["VersionId"]
    site.desk.aws.s3.delete_object(Bucket=site.desk.bucket, Key=KEY, VersionId=newest)
    assert site.body != lost
    assert set(site.verify()) == {"state-lost"}
    recovered = site.desk.run("recover", site.module, "--yes", "--json", "--no-plan", "--window", "0s")
    assert recovered.code == StateInvalid.exit_status, recovered.err
    assert site.desk.run("state", "repair", site.module, "--yes").code == StateInvalid.exit_status
    assert site.digest == digest  # the only evidence of the newer state is still there

    backup = site.module / "terraform.tfstate.backup"
    backup.write_bytes(lost)
    assert f"{backup} is exactly the lost state" in site.verify()["state-lost"].message
    pushed = site.desk.run("state", "push", "--state", site.module, backup)
    assert pushed.code == 0, pushed.err
    assert site.body == lost
    backup.unlink()


@pytest.mark.slow
@pytest.mark.promise("P3")
def test_a_deleted_newest_version_that_only_a_run_and_the_queue_know_of_is_a_lost_state_too(site: Site) -> None:
    """The digest is of the older state again, so nothing that Terraform keeps says that there was a newer one."""
    (site.module / "more.tf").write_text('resource "terraform_data" "more" {}\n')
    applied = site.desk.run("apply", site.module, "--auto-approve")
    assert applied.code == 0, applied.err
    lost = site.body
    newest = site.desk.aws.s3.head_object(Bucket=site.desk.bucket, Key=KEY)["VersionId"]
    site.desk.aws.s3.delete_object(Bucket=site.desk.bucket, Key=KEY, VersionId=newest)
    site.put(site.body, with_digest=True)  # a version more of the older bytes
    newest = site.desk.aws.s3.head_object(Bucket=site.desk.bucket, Key=KEY)["VersionId"]
    site.desk.aws.s3.delete_object(Bucket=site.desk.bucket, Key=KEY, VersionId=newest)
    assert set(site.verify()) == {"state-lost"}
    recovered = site.desk.run("recover", site.module, "--yes", "--json", "--no-plan", "--window", "0s")
    assert recovered.code == StateInvalid.exit_status, recovered.err
    planned = site.desk.run("plan", site.module)
    assert planned.code == StateInvalid.exit_status, planned.err
    assert "newer state" in planned.err

    serial = json.loads(lost)["serial"]
    assert site.restore("1") > serial  # the person says: go on from here
    assert site.verify() == {}
    (site.module / "more.tf").unlink()
    assert site.desk.plain(site.module, "apply", "-auto-approve").code == 0


@pytest.mark.promise("P3")
@pytest.mark.parametrize("way", ["restore", pytest.param("accept", marks=pytest.mark.slow)])
def test_a_state_that_was_deleted_comes_back_or_is_begun_anew_only_when_a_person_says_so(site: Site, way: str) -> None:
    assert site.desk.run("apply", site.module, "--auto-approve").code == 0  # so the queue has seen a state
    site.desk.aws.s3.delete_object(Bucket=site.desk.bucket, Key=KEY)  # as the console deletes: versions stay
    key = {"LockID": {"S": f"{site.desk.bucket}/{KEY}-md5"}}
    site.desk.aws.dynamodb.delete_item(TableName=site.desk.table, Key=key)
    assert set(site.verify()) == {"state-gone"}
    for words in (("plan",), ("apply", "--auto-approve"), ("recover", "--yes", "--no-plan", "--window", "0s")):
        refused = site.desk.run(words[0], site.module, *words[1:])
        assert refused.code == StateInvalid.exit_status, refused.err
    assert KEY not in site.desk.objects()
    settled = site.desk.run("state", way, site.module, "--yes")
    assert settled.code == 0, settled.err
    assert site.desk.run("plan", site.module, "--detailed-exitcode").code == (0 if way == "restore" else 2)
    assert site.desk.plain(site.module, "apply", "-auto-approve").code == 0


def test_nothing_is_restored_over_a_sound_state_unless_a_version_is_named(site: Site) -> None:
    with pytest.raises(UsageError, match="is whole and follows"):
        site.restore()


def test_a_restore_shows_what_it_would_do_and_dry_run_does_nothing(site: Site) -> None:
    before = site.body
    shown = site.desk.run("state", "restore", site.module, "--version", "1", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    assert not shown.document["done"]
    assert "would become current as serial" in shown.err
    assert site.body == before


def test_nothing_is_written_while_somebody_holds_the_lock(site: Site) -> None:
    before = site.body
    site.desk.hold_as_terraform("alice@elsewhere")
    with pytest.raises(LockHeld, match="alice@elsewhere"):
        site.restore("1")
    assert site.body == before
    site.desk.free_as_terraform()


def test_a_failed_pipeline_is_recovered_in_one_walk(site: Site) -> None:
    """A killed run's lock, its errored.tfstate, and a digest that was never written."""
    newer = site.changed(lambda document: document.update(serial=document["serial"] + 1))
    later = site.changed(lambda document: document.update(serial=document["serial"] + 2))
    site.put(newer)
    (site.module / "errored.tfstate").write_bytes(later)
    site.desk.hold_as_terraform("runner@elsewhere")
    words = ("recover", site.module, "--yes", "--json", "--window", "0s")
    stopped = site.desk.run(*words)
    assert stopped.code == LockHeld.exit_status
    assert (site.module / "errored.tfstate").exists()

    done = site.desk.run(*words, "--i-have-verified", "vm-17 was deleted")
    assert done.code == 0, done.err
    results = [(step["step"], step["result"]) for step in done.document["steps"]]
    steps = [("lock", "done"), ("errored.tfstate", "done"), ("state", "ok"), ("orphans", "ok"), ("plan", "clean")]
    assert results == steps
    assert done.document["clean"]
    assert site.body == later
    assert not (site.module / "errored.tfstate").exists()
    assert any(path.read_bytes() == later for path in (site.desk.home / "kept").rglob("*.tfstate"))


@pytest.mark.slow
def test_an_unsaved_state_that_is_older_is_left_where_it_is(site: Site) -> None:
    left = site.module / "errored.tfstate"
    left.write_bytes(
        site.changed(lambda document: document.update(serial=1, outputs={"x": {"value": 1, "type": "number"}}))
    )
    done = site.desk.run("recover", site.module, "--yes", "--json", "--no-plan", "--window", "0s")
    assert done.code == 0, done.err
    assert [step["result"] for step in done.document["steps"]] == ["ok", "refused", "ok", "ok"]
    assert left.exists()
    left.unlink()


def test_history_and_pull_and_diff_read_the_versions_of_the_bucket(site: Site) -> None:
    history = site.desk.run("state", "history", site.module, "--json").document["versions"]
    assert history[0]["current"]
    assert history[0]["whole"]
    assert site._runner.run(site.versions.body(None)) == site.body
    site.put(site.changed(lambda document: document.update(serial=document["serial"] + 1)), with_digest=True)
    older, newer = site._runner.run(site.versions.pair(None, None))
    assert (older.lineage, older.serial + 1) == (newer.lineage, newer.serial)


@pytest.mark.slow
@pytest.mark.promise("P6")
def test_a_state_that_lost_everything_is_not_called_whole_until_somebody_says_that_it_was_meant(
    aws: LocalAws, tmp_path: Path
) -> None:
    site = Site(S3Desk(tmp_path, aws))  # of its own: where all is gone, earlier losses count again
    empty = site.changed(lambda document: document.update(resources=[], serial=document["serial"] + 1))
    site.put(empty, with_digest=True)
    verified = site.desk.run("state", "verify", site.module)
    assert verified.code == StateInvalid.exit_status
    assert "undecided[emptied]" in verified.out
    assert "the state is whole" not in verified.out
    words = ("recover", site.module, "--json", "--no-plan", "--window", "0s")
    asked = site.desk.run(*words, "--yes")
    assert asked.code == StateInvalid.exit_status
    assert ("state", "undecided") in [(step["step"], step["result"]) for step in asked.document["steps"]]
    assert site.body == empty
    assert site.desk.run(*words, "--accept-deletions").code == 0
    assert site.desk.run("state", "verify", site.module).code == 0
    site.close()
