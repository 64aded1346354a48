from __future__ import annotations

import base64
import os
import signal
import sys
from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, UsageError
from interlock.home.encryption_key import find_encryption_keys
from interlock.settings.values import Settings
from interlock.store.sealing import spell_key

KEY, OLDER = (spell_key(bytes(range(start, start + 32))) for start in (0, 50))


def settings(tmp_path: Path, **said: str) -> Settings:
    return Settings(home=tmp_path, sections={"encryption": said})


def test_a_key_comes_from_the_environment_a_file_or_a_command(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n{OLDER}\n")
    file.chmod(0o600)
    printing = f"{sys.executable} -c \"print('{KEY}')\""
    found = [
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY": f"{KEY} {OLDER}"}),
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_FILE": str(file)}),
        find_encryption_keys(settings(tmp_path, key_file=str(file)), {}),
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_COMMAND": printing}),
        find_encryption_keys(settings(tmp_path, key_command=printing), {}),
    ]
    assert [len(keys) for keys in found] == [2, 2, 2, 1, 1]
    assert len({keys[0].id for keys in found}) == 1
    assert find_encryption_keys(settings(tmp_path), {}) == ()


def test_a_key_as_a_kms_prints_it_is_read_too(tmp_path: Path) -> None:
    plain = base64.b64encode(bytes(range(32))).decode()
    (one,) = find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY": plain})
    (two,) = find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY": KEY})
    assert one == two


@pytest.mark.promise("P10")
@pytest.mark.parametrize("text", ["correct horse battery staple", "ilmaster_short", "A" * 43, KEY[:-2], "ä" * 43])
def test_a_password_is_not_a_key_and_is_in_no_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not an encryption key") as caught:
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY": text})
    assert not any(len(word) > 8 and word in str(caught.value) for word in text.split())


@pytest.mark.promise("P10")
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    with pytest.raises(UsageError, match="open to others"):
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_FILE": str(file)})


def test_a_key_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="named twice"):
        find_encryption_keys(
            settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY": KEY, "INTERLOCK_ENCRYPTION_KEY_FILE": "/x"}
        )


@pytest.mark.promise("P10")
def test_a_command_that_fails_is_told_without_what_it_printed(tmp_path: Path) -> None:
    failing = f"{sys.executable} -c \"print('hush-hush'); raise SystemExit(4)\""
    with pytest.raises(BackendUnavailable, match="status 4") as caught:
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_COMMAND": failing})
    assert caught.value.exit_status == 30
    for line in ("/no/such/program", "'open quote", " "):
        with pytest.raises(UsageError, match=r"cannot be run|no key"):
            find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_COMMAND": line})


@pytest.mark.promise("P10")
def test_the_command_does_not_get_secrets_of_ours(tmp_path: Path) -> None:
    telling = f"{sys.executable} -c \"import os; print('{KEY}' if 'INTERLOCK_TOKEN' not in os.environ else 'no')\""
    environ = {"INTERLOCK_ENCRYPTION_KEY_COMMAND": telling, "INTERLOCK_TOKEN": "hush-hush"}
    assert len(find_encryption_keys(settings(tmp_path), environ)) == 1


@pytest.mark.promise("P10")
def test_a_command_that_prints_without_end_is_stopped_and_not_read(tmp_path: Path) -> None:
    endless = f"{sys.executable} -c \"while True: print('{KEY}')\""
    with pytest.raises(UsageError, match="cannot be run") as caught:
        find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_COMMAND": endless})
    assert "printed more than" in caught.value.why
    assert KEY not in str(caught.value)


def test_a_command_that_leaves_a_child_behind_has_answered_when_it_ends(tmp_path: Path) -> None:
    leaving = f"sh -c 'sleep 60 & echo {KEY}; echo $! > {tmp_path / 'child'}'"
    assert len(find_encryption_keys(settings(tmp_path), {"INTERLOCK_ENCRYPTION_KEY_COMMAND": leaving})) == 1
    child = int((tmp_path / "child").read_text())
    os.kill(child, signal.SIGKILL)  # it still ran: nobody waited for it
