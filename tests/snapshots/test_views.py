"""What commands print about one home, at 80 columns, kept as text files beside this module.

A change of a text is meant, or it is not: `make snapshots` writes the files again, and the difference is reviewed with
the change that made it. No line is wider than 80 columns, but for commands and paths that a person must copy.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from tests.snapshots.home import ROUTING, USERS, Machine, furnish

from interlock.cli import view
from interlock.cli.main import main

KEPT = Path(__file__).parent / "kept"
RENEW = "INTERLOCK_RENEW_SNAPSHOTS"
COLUMNS = 80

VIEWS: dict[str, tuple[str, ...]] = {
    "audit-ls": ("audit", "ls"),
    "audit-verify": ("audit", "verify"),
    "deps": ("deps", "."),
    "doctor": ("doctor", "."),
    "drift-ls": ("drift", "ls", "--state", ROUTING),
    "drift-ls-markdown": ("drift", "ls", "--state", ROUTING, "--format", "markdown"),
    "exit-codes": ("exit-codes",),
    "explain": ("explain", "build.log"),
    "lint": ("lint", "."),
    "lock-explain": ("lock", "explain", ROUTING),
    "lock-ls": ("lock", "ls"),
    "lock-show": ("lock", "show", ROUTING),
    "lock-show-free": ("lock", "show", USERS),
    "queue-ls": ("queue", "ls"),
    "queue-ls-one": ("queue", "ls", USERS),
    "runs-ls": ("runs", "ls"),
    "runs-logs": ("runs", "logs", "latest"),
    "runs-show": ("runs", "show", "latest"),
    "state-diff": ("state", "diff", ROUTING),
    "state-history": ("state", "history", ROUTING),
    "state-ls": ("state", "ls"),
    "state-quarantine-ls": ("state", "quarantine", "ls", ROUTING),
    "state-show": ("state", "show", ROUTING),
    "state-verify": ("state", "verify", ROUTING),
}

MODULE = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud", version = "~> 1.84" }
  }
}

resource "genesyscloud_routing_queue" "orders" {
  name = "Orders"
}

resource "genesyscloud_routing_queue" "returns" {
  name        = "Returns"
  description = "after ${genesyscloud_routing_queue.orders.name}"
  queue_flow_id = "5b1cd1b2-5a70-4e8a-9d2e-111111111111"
}
"""
LOG = """
Error: Error acquiring the state lock

Error message: operation error DynamoDB: PutItem, ConditionalCheckFailedException: The conditional request failed
Lock Info:
  ID:        5d2a6d40-7a4c-2a37-5ea3-aaaaaaaaaaaa
  Path:      states/app/terraform.tfstate
  Operation: OperationTypeApply
  Who:       root@runner-7
  Version:   1.11.4
  Created:   2026-11-24 14:02:11.123456789 +0000 UTC
"""
TERRAFORM = """#!/bin/sh
echo '{"terraform_version": "1.11.4", "platform": "linux_amd64", "provider_selections": {}}'
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("INTERLOCK_", "GENESYSCLOUD_", "TF_", "GITHUB_", "CI", "AWS_")) and name != RENEW:
            monkeypatch.delenv(name)
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(MODULE)
    (module / "build.log").write_text(LOG)
    terraform = tmp_path / "bin" / "terraform"
    terraform.parent.mkdir()
    terraform.write_text(TERRAFORM)
    terraform.chmod(0o755)
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{terraform.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(view, "columns", lambda: COLUMNS)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(module)
    # Paths differ from machine to machine: they are shortened before a line is wrapped.
    monkeypatch.setattr(view, "fit", lambda text, fit=view.fit, **more: fit(text.replace(str(tmp_path), "/ci"), **more))
    asyncio.run(furnish(Machine(monkeypatch), module))
    return module


def shown(name: str, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Return the command, what it printed on both streams, and its exit status."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(VIEWS[name]))
    out, err = capsys.readouterr()
    text = f"$ interlock {' '.join(VIEWS[name])}\n{out}"
    text += f"--- stderr\n{err}" if err else ""
    text += f"--- exit {ended.value.code or 0}\n"
    text = text.replace(str(folder.parent), "/ci")
    return re.sub(r"\d+ MiB free", "9000 MiB free", re.sub(r"module-[0-9a-f]{6}\b", "module-0a1b2c", text))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_the_one_that_was_reviewed(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(name, capsys, folder)
    kept = KEPT / f"{name}.txt"
    if os.environ.get(RENEW):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(text, "utf-8")
    assert text == kept.read_text("utf-8"), "when this is meant: make snapshots"


def wide_lines(text: str) -> list[str]:
    """Return lines that are too wide and hold nothing that must stay whole."""
    return [line for line in text.splitlines() if len(line) > COLUMNS and not is_copied(line)]


def is_copied(line: str) -> bool:
    """Say whether a line is a command to be typed, a row of a page's table, or one long word with its label."""
    return line.startswith(("$ ", "| ")) or "next " in line[:8] or max(map(len, line.split())) > COLUMNS // 2


@pytest.mark.parametrize("kept", sorted(KEPT.glob("*.txt")), ids=lambda kept: kept.stem)
def test_no_line_is_wider_than_80_columns(kept: Path) -> None:
    assert wide_lines(kept.read_text("utf-8")) == []


def test_every_kept_file_belongs_to_a_view() -> None:
    assert {kept.stem for kept in KEPT.glob("*.txt")} == set(VIEWS)
