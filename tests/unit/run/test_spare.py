"""The supervisor that is started before its order is known."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from interlock.run.spare import _open_log

_LOADED = "import sys, interlock.cli.start, interlock.run.spare; print(*sys.modules)"


def test_nothing_slow_is_imported_before_the_supervisor_starts() -> None:
    found = subprocess.run([sys.executable, "-P", "-c", _LOADED], capture_output=True, text=True, check=True)
    slow = {"asyncio", "msgspec", "tempfile", "inspect", "dataclasses", "typer", "json", "typing", "pathlib"}
    ours = {name for name in found.stdout.split() if name.startswith("interlock")}
    assert not slow & set(found.stdout.split())
    assert ours <= {
        "interlock",
        "interlock.cli",
        "interlock.cli.start",
        "interlock.run",
        "interlock.run.spare",
        "interlock.run.held_back",
    }


def test_what_a_supervisor_says_early_is_kept_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_name: str) -> int:
        raise OSError(38, os.strerror(38))

    for name in ("known", "unknown"):
        if name == "unknown":
            monkeypatch.setattr(os, "memfd_create", unknown, raising=False)
        with _open_log() as log:
            log.write(b"said")
            log.seek(0)
            assert log.read() == b"said"
