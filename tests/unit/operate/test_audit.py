"""What was decided about a state, by any name that a person may type for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.audit import Head
from interlock.errors import UsageError
from interlock.operate.audit import decisions, verify_log
from interlock.testing.home import memory_home

pytestmark = pytest.mark.promise("P5")


async def test_decisions_are_found_by_the_name_of_the_state_and_by_its_address(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.audit.append("force-unlock", subject="interlock:prod", by="ann", facts={})
    await home.audit.append("force-unlock", subject="s3://b/k", by="ann", facts={})
    for word in ("prod", "interlock:prod"):
        entries, damaged = await decisions(word, home, {})
        assert ([entry.subject for entry in entries], damaged) == (["interlock:prod"], ())
    assert len((await decisions(None, home, {}))[0]) == 2
    with pytest.raises(UsageError):
        await decisions("./no-such-folder", home, {})


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
