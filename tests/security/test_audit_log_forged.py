"""Whoever can write the store cannot cut, empty or rewrite the audit log without `audit verify` saying so."""

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.audit import Head, Noted, decode, digest_of, encode, find_head
from interlock.audit.log import AuditLog
from interlock.audit.signing import AuditKey, parse_key
from interlock.cli.main import main
from interlock.compose.homes import at_home
from interlock.errors import UsageError
from interlock.home.embedded import open_home, read_settings
from interlock.operate.audit import verify_log
from interlock.site.opening import open_meant
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

KEY = AuditKey(secret=b"k" * 32)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def records(clock: FakeClock) -> MemoryRecords:
    return MemoryRecords(clock=clock)


async def three(records: MemoryRecords, clock: FakeClock, key: AuditKey | None = None) -> list[Head]:
    heads: list[Head] = []
    log = AuditLog(records, clock, key=key, told=heads.append)
    for number in range(3):
        await log.append("force-unlock", subject=f"s{number}", by="ann@desk", facts={"verdict": "gone"})
    return heads


async def put(records: MemoryRecords, key: str, value: bytes | None) -> None:
    stored = await records.get(key)
    await records.swap(key, expected=stored.version if stored else None, value=value)


async def rewrite(records: MemoryRecords, *, upto: int = 3, by: str = "bob@desk", end: bool = True) -> None:
    """Make the whole chain anew, as it would look had another person decided."""
    previous = ""
    for number in range(1, 4):
        stored = await records.get(f"audit/{number:012d}")
        assert stored is not None
        forged = encode(replace(decode(stored.value), by=by, previous=previous))
        await put(records, stored.key, forged if number <= upto else None)
        previous = digest_of(forged) if number <= upto else previous
    if end:
        await put(records, "audit-end", f'{{"number": {upto}, "digest": "{previous}"}}'.encode())


@pytest.mark.promise("P5")
@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_log_that_was_cut_at_its_end_or_emptied_is_noticed(
    records: MemoryRecords, clock: FakeClock, left: int
) -> None:
    await three(records, clock)
    for number in range(left + 1, 4):
        await put(records, f"audit/{number:012d}", None)
    count, fault = await AuditLog(records, clock).verify()
    assert count == left
    assert fault == f"the log ends with entry {left}, and the log's own end has noted entry 3: it was cut"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("end", [None, b"", b"{}", b"0", b"gone", b'{"number": -1, "digest": ""}'])
async def test_a_log_that_was_cut_and_lost_its_end_is_noticed(
    records: MemoryRecords, clock: FakeClock, end: bytes | None
) -> None:
    await three(records, clock)
    await put(records, f"audit/{3:012d}", None)
    await put(records, "audit-end", end)
    count, fault = await AuditLog(records, clock).verify()
    assert (count, "nothing here tells whether entries were cut off" in fault) == (2, True)
    await AuditLog(records, clock).append("x", subject="s", by="me", facts={})
    assert await AuditLog(records, clock).verify() == (3, "")


@pytest.mark.promise("P5")
async def test_a_log_that_was_made_anew_is_noticed(records: MemoryRecords, clock: FakeClock) -> None:
    await three(records, clock)
    await rewrite(records, end=False)
    _, fault = await AuditLog(records, clock).verify()
    assert "the log was made anew" in fault


@pytest.mark.promise("P5")
async def test_a_log_that_was_made_anew_with_its_end_contradicts_a_head_that_was_printed(
    records: MemoryRecords, clock: FakeClock
) -> None:
    heads = await three(records, clock)
    await rewrite(records)
    log = AuditLog(records, clock)
    assert (await log.verify())[1] == ""  # a chain by itself proves no more; the page says so
    for head in heads:
        noted = find_head(str(head)[:20])
        assert noted is not None
        assert "the log was made anew" in (await log.verify([Noted(head=noted, where="you")]))[1]
    await rewrite(records, upto=1)
    assert "it was cut" in (await log.verify([Noted(head=heads[2], where="you")]))[1]


@pytest.mark.promise("P5")
async def test_a_log_that_was_made_anew_without_the_key_is_noticed(records: MemoryRecords, clock: FakeClock) -> None:
    await three(records, clock, KEY)
    assert await AuditLog(records, clock, key=KEY).verify() == (3, "")
    await rewrite(records)
    _, fault = await AuditLog(records, clock, key=KEY).verify()
    assert fault == "the signature of entry 1 is not of this key"
    await AuditLog(records, clock).append("x", subject="s", by="bob@desk", facts={})


@pytest.mark.promise("P5")
async def test_an_entry_that_was_written_without_the_key_behind_signed_ones_is_noticed(
    records: MemoryRecords, clock: FakeClock
) -> None:
    await AuditLog(records, clock).append("x", subject="s", by="old", facts={})
    await AuditLog(records, clock, key=KEY).append("x", subject="s", by="me", facts={"a": '"signature":""'})
    assert await AuditLog(records, clock, key=KEY).verify() == (2, "")
    await AuditLog(records, clock).append("x", subject="s", by="bob", facts={})
    count, fault = await AuditLog(records, clock, key=KEY).verify()
    assert (count, "is not signed" in fault) == (2, True)


async def test_a_log_of_an_earlier_interlock_is_in_order_and_goes_on(records: MemoryRecords, clock: FakeClock) -> None:
    await three(records, clock)
    previous = ""
    for number in range(1, 4):  # as they were stored before entries had signatures, and ends digests
        stored = await records.get(f"audit/{number:012d}")
        assert stored is not None
        old = encode(replace(decode(stored.value), previous=previous)).replace(b',"signature":""', b"")
        assert b"signature" not in old
        await put(records, stored.key, old)
        previous = digest_of(old)
    await put(records, "audit-end", b"3")
    log = AuditLog(records, clock)
    assert await log.verify() == (3, "")
    assert await log.head() == Head(number=3, digest=previous)
    await log.append("x", subject="s", by="me", facts={})
    assert await log.verify() == (4, "")
    await put(records, "audit/000000000004", None)
    await put(records, "audit-end", b"4")
    assert "it was cut" in (await log.verify())[1]


def test_a_short_key_is_refused_and_no_repr_shows_one() -> None:
    with pytest.raises(UsageError, match="INTERLOCK_AUDIT_KEY can be guessed"):
        parse_key(" short ", said_by="INTERLOCK_AUDIT_KEY")
    assert "random" not in repr(parse_key("not-random-" * 4, said_by="x"))


STATE = (
    b'{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"l","outputs":{},'
    b'"resources":[],"check_results":null}'
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.promise("P5")
async def test_a_cut_is_found_from_the_history_of_the_states(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Head] = []
    async with at_home(os.environ, told=told.append) as home_at, open_meant("s", home_at, os.environ) as site:
        await site.versions.push(STATE, force=True)
        await site.versions.push(STATE.replace(b'"serial":1', b'"serial":9'), force=True)
    assert [head.number for head in told] == [1, 2]
    async with open_home(read_settings()) as embedded:
        versions = await embedded.archive.history("s")
        assert [version.audit for version in versions] == [str(told[0]), ""]
        await embedded.store.records.swap(
            "audit/000000000001", expected=(await _version(embedded, "audit/000000000001")), value=None
        )
        for key in ("audit/000000000002", "audit-end"):
            await embedded.store.records.swap(key, expected=await _version(embedded, key), value=None)
    async with at_home(os.environ, make=False) as looked_at:
        found = await verify_log(looked_at, None)
    assert found.fault == "the log ends with entry 0, and version 2 of state s has noted entry 1: it was cut"


async def _version(embedded: object, key: str) -> int:
    stored = await embedded.store.records.get(key)  # type: ignore[attr-defined]
    assert stored is not None
    return int(stored.version)


@pytest.mark.promise("P5")
def test_a_forced_act_prints_the_head_as_a_command_that_checks_it(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_AUDIT_KEY", "not-random-" * 4)
    (tmp_path / "one.json").write_bytes(STATE)
    assert run("state", "push", str(tmp_path / "one.json"), "--state", "s", "--force") == 0
    printed = re.search(r"interlock (audit verify --head 1:[0-9a-f]{64})", capfd.readouterr().err)
    assert printed is not None
    assert run(*printed[1].split()) == 0
    assert "1 entry, in order; head 1:" in capfd.readouterr().err
    assert run("audit", "verify", "--head", f"1:{hashlib.sha256(b'other').hexdigest()}") == 20
    assert run("audit", "verify", "--head", "nonsense") == 3
    monkeypatch.setenv("INTERLOCK_AUDIT_KEY", "another-one-" * 4)
    assert run("audit", "verify") == 20


@pytest.mark.promise("P5")
def test_a_log_without_signatures_in_the_place_of_a_signed_one_is_not_called_signed(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.json").write_bytes(STATE)
    assert run("state", "push", str(tmp_path / "one.json"), "--state", "s", "--force") == 0
    monkeypatch.setenv("INTERLOCK_AUDIT_KEY", "not-random-" * 4)
    capfd.readouterr()
    assert run("audit", "verify") == 0, "a key that is new must not condemn what was decided before it"
    told = capfd.readouterr().err
    assert "0 of them are signed with this key" in told
    assert "the key says nothing of the 1 before" in told
