"""What was decided about a state, by any name that a person may type for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.audit import Head
from interlock.errors import UsageError
from interlock.operate.audit import check_export, export_log, filter_of, verify_log
from interlock.testing.home import memory_home

pytestmark = pytest.mark.promise("P5")


async def test_decisions_are_found_by_the_name_of_the_state_and_by_its_address(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.audit.append("force-unlock", subject="interlock:prod", by="ann", facts={})
    await home.audit.append("force-unlock", subject="s3://b/k", by="ann", facts={})
    for word in ("prod", "interlock:prod"):
        wanted = await filter_of(home, {}, subject=word)
        assert [entry.subject for entry in await home.audit.entries() if wanted.takes(entry)] == ["interlock:prod"]
    assert (await filter_of(home, {})).takes_all
    with pytest.raises(UsageError):
        await filter_of(home, {}, subject="./no-such-folder")


async def test_what_is_exported_is_checked_with_the_key_of_the_home(tmp_path: Path) -> None:
    environ = {"INTERLOCK_AUDIT_KEY": "R4nd0m-enough-for-a-test-of-signing"}
    home = memory_home(tmp_path, environ=environ)
    await home.audit.append("force-unlock", subject="interlock:prod", by="ann", facts={})
    content = b"\n".join(await export_log(home, await filter_of(home, {}))) + b"\n"
    assert check_export(content, home) == (1, "", True)
    assert check_export(content.replace(b"ann", b"bob"), home)[1]
    other = memory_home(tmp_path, environ={"INTERLOCK_AUDIT_KEY": "An0ther-key-enough-for-a-test-of-it"})
    assert "signed" in check_export(content, other)[1]


async def test_a_log_that_a_person_noted_further_is_called_cut(tmp_path: Path) -> None:
    told: list[Head] = []
    home = memory_home(
        tmp_path, environ={"INTERLOCK_AUDIT_KEY": "R4nd0m-enough-for-a-test-of-signing"}, told=told.append
    )
    await home.audit.append("force-unlock", subject="interlock:prod", by="ann", facts={})
    whole = await verify_log(home, told[0])
    assert (whole.fault, whole.entries, whole.signed, whole.checked) == ("", 1, 1, True)
    other = memory_home(tmp_path)
    cut = await verify_log(other, told[0])
    assert "cut" in cut.fault
    assert (cut.checked, cut.head) == (False, None)
