"""A state in an existing backend, put right: never over what was not looked at, never without a copy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.opentofu_documents import FIRST, SECOND, in_clear

from interlock.errors import StateInvalid, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.home.embedded import EmbeddedHome
from interlock.site.existing_versions import ExistingVersions, keep_of
from interlock.site.ref import Existing, StateRef
from interlock.state import REVIEWER
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

QUEUE = "s3/states/app"


@dataclass
class Place:
    home: EmbeddedHome
    backend: MemoryBackend
    versions: ExistingVersions


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home, backend = memory_home(tmp_path / "home"), MemoryBackend()
    ref = StateRef(queue=QUEUE, address=backend.address, where=Existing(found=Found(type="s3")), directory=tmp_path)
    versions = ExistingVersions(
        subject="./app",
        ref=ref,
        backend=backend,
        home=home,
        keep=keep_of(home.settings),
        log=home.audit,
        coordinator=home.coordinator,
    )
    return Place(home, backend, versions)


def codes(findings: object) -> list[str]:
    return [finding.code for finding in findings]  # type: ignore[attr-defined]


@pytest.mark.promise("P6")
async def test_a_digest_that_was_not_written_is_found_and_made_that_of_the_whole_state(place: Place) -> None:
    place.backend.bodies = [state(1, "a"), state(2, "a", "b")]
    place.backend.digest = hashlib.md5(state(1, "a"), usedforsecurity=False).hexdigest()
    assert "digest-mismatch" in codes(await place.versions.findings(None))
    planned = await place.versions.plan_repair()
    assert planned.question == "Repair the digest of ./app?"
    await place.versions.repair(planned)
    assert "digest-mismatch" not in codes(await place.versions.findings(None))
    (entry,) = await place.home.audit.entries()
    assert (entry.action, place.backend.locks) == ("digest-repaired", {})


@pytest.mark.promise("P6")
async def test_the_digest_of_a_damaged_state_is_not_made_to_agree(place: Place) -> None:
    place.backend.bodies = [state(1, "a"), b'{"version": 4, "serial": ']
    place.backend.digest = "0" * 32
    with pytest.raises(StateInvalid, match="was not repaired"):
        await place.versions.plan_repair()


@pytest.mark.promise("P3")
async def test_a_restore_over_something_that_was_not_looked_at_changes_nothing(place: Place) -> None:
    place.backend.bodies = [state(1, "a"), state(2, "a", "b")]
    planned = await place.versions.plan_restore("serial:1")
    place.backend.bodies.append(state(3, "c"))
    with pytest.raises(TerraformLockMoved):
        await place.versions.restore(planned)
    assert place.backend.bodies[-1] == state(3, "c")
    assert place.backend.locks == {}


@pytest.mark.promise("P3")
async def test_what_a_restore_replaces_and_what_it_writes_are_kept_as_files(place: Place) -> None:
    place.backend.bodies = [state(1, "a"), b"not a state"]
    assert await place.versions.restore(await place.versions.plan_restore(None)) == 2
    kept = {each.path.read_bytes() for each in place.versions.keep.kept(place.backend.address)}
    assert {b"not a state", place.backend.bodies[-1]} == kept


async def test_a_sound_state_is_not_restored_by_itself(place: Place) -> None:
    place.backend.bodies = [state(1, "a")]
    with pytest.raises(UsageError, match="is whole and follows"):
        await place.versions.plan_restore(None)


@pytest.mark.promise("P6")
async def test_a_review_holds_what_is_missing_until_a_person_accepts_it(place: Place) -> None:
    place.backend.bodies = [state(1, "a", "b"), state(2, "a")]
    await place.home.coordinator.pause(QUEUE, by=REVIEWER, reason="run r1 dropped something")
    assert "suspect" in codes(await place.versions.findings(None))
    planned = await place.versions.plan_restore(None)
    assert list(planned.plan.returns) == ["terraform_data.b"], "the newest version that has what is missing"
    assert await place.versions.accept() == ("terraform_data.b",)
    assert (await place.home.coordinator.view(QUEUE)).lock.pause is None
    entry, ended = await place.home.audit.entries()
    assert (entry.action, ended.action) == ("state-accepted", "queue-resumed")
    assert entry.facts["lacks"] == ["terraform_data.b"]


@pytest.mark.promise("P3")
async def test_no_older_version_is_chosen_in_the_place_of_an_encrypted_state(place: Place) -> None:
    place.backend.bodies = [in_clear(1, "a"), SECOND]
    with pytest.raises(UsageError, match="is whole and follows"):
        await place.versions.plan_restore(None)
    findings = await place.versions.findings(None)
    assert "encrypted" in codes(findings)
    assert not any(finding.refuses for finding in findings)
    with pytest.raises(UsageError, match="OpenTofu encrypted it"):
        await place.versions.document(None)


@pytest.mark.promise("P3")
async def test_a_damaged_encrypted_state_gives_way_to_the_version_before_byte_for_byte(place: Place) -> None:
    place.backend.bodies = [FIRST, SECOND[:-50]]
    planned = await place.versions.plan_restore(None)
    assert planned.plan.opaque
    assert await place.versions.restore(planned) == 1
    assert place.backend.bodies[-1] == FIRST
    findings = await place.versions.findings(None)
    assert not any(finding.refuses for finding in findings), "that the serial went back was a person's choice"


@pytest.mark.promise("P3", "P6")
async def test_a_version_that_was_not_restored_by_anybody_is_a_serial_that_went_back(place: Place) -> None:
    place.backend.bodies = [FIRST, SECOND, FIRST]
    assert "serial-back" in codes(await place.versions.findings(None))


@pytest.mark.promise("P10")
async def test_a_decrypted_file_is_not_pushed_over_an_encrypted_state_unasked(place: Place) -> None:
    place.backend.bodies = [FIRST]
    with pytest.raises(StateInvalid) as refused:
        await place.versions.push(in_clear(2, "a"), force=False)
    assert refused.value.facts["finding"] == "decrypted"
    assert place.backend.bodies == [FIRST]
    await place.versions.push(SECOND, force=False)
    await place.versions.push(in_clear(3, "a"), force=True)
    assert place.backend.bodies[-1] == in_clear(3, "a")
