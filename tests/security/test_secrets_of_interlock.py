"""Interlock's own secrets reach no program that is not ours."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from interlock.cli.recover import _plan_command
from interlock.run.binary import Binary, version_of
from interlock.site.ref import Existing, StateRef
from interlock.trust.checkout import ask_git
from interlock.trust.own_secrets import OWN_SECRETS, without_own_secrets

ROOT = Path(__file__).parents[2]
HUSH = dict.fromkeys(OWN_SECRETS, "hush")


def telling(folder: Path, name: str, answer: str) -> Path:
    """Make a program that writes its environment down."""
    program = folder / name
    program.write_text(f"#!/bin/sh\nenv > {shlex.quote(str(folder / 'seen'))}\necho {shlex.quote(answer)}\n")
    program.chmod(0o755)
    return program


@pytest.mark.promise("P10")
def test_every_variable_that_is_documented_as_a_secret_is_withheld() -> None:
    documented = runpy.run_path(str(ROOT / "scripts" / "write_reference.py"))["ENVIRONMENT"]
    secret = {name for name, text in documented.items() if "secret" in text or text.startswith("token")}
    assert secret - OWN_SECRETS == set()


@pytest.mark.promise("P10")
def test_terraform_asked_for_its_version_gets_none(tmp_path: Path) -> None:
    program = telling(tmp_path, "terraform", '{"terraform_version": "1.11.4"}')
    version_of(Binary(argv=(str(program),), name="terraform", mark="m"), {**os.environ, **HUSH}, cwd=tmp_path)
    assert "hush" not in (tmp_path / "seen").read_text()


@pytest.mark.promise("P10")
def test_git_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(tmp_path, "git", "main")
    for name, value in {**HUSH, "PATH": f"{tmp_path}:{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, value)
    assert ask_git(tmp_path, "branch") == "main"
    assert "hush" not in (tmp_path / "seen").read_text()


@pytest.mark.promise("P10")
def test_the_plain_plan_at_the_end_of_a_recovery_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(tmp_path, "terraform", "")
    module = tmp_path / "module"
    module.mkdir()
    for name, value in {
        **HUSH,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "INTERLOCK_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    found = cast("Any", SimpleNamespace(type="cos"))
    words, environ = _plan_command(
        module, StateRef(queue="pg/x", address="pg://x", where=Existing(found=found), directory=module)
    )
    subprocess.run(words, env=environ, check=True)
    assert "hush" not in (tmp_path / "seen").read_text()
    assert without_own_secrets({"HOME": "/h", **HUSH}) == {"HOME": "/h"}
