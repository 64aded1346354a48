"""The key that signs the audit log."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.home.audit_key import find_key

KEY = "R4nd0m-enough-for-a-test-of-signing"


@pytest.mark.promise("P10")
def test_it_comes_from_the_environment_or_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    assert find_key({}) is None
    assert find_key({"INTERLOCK_AUDIT_KEY": KEY}) is not None
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    assert find_key({"INTERLOCK_AUDIT_KEY_FILE": str(path)}) is not None
    path.chmod(0o644)
    with pytest.raises(UsageError):
        find_key({"INTERLOCK_AUDIT_KEY_FILE": str(path)})


def test_a_key_that_can_be_guessed_is_none() -> None:
    with pytest.raises(UsageError):
        find_key({"INTERLOCK_AUDIT_KEY": "aaaa"})
