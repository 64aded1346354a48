from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.drift import Attribute, Finding, Kind, Scan
from interlock.drift.finding import digest_of
from interlock.home.embedded import open_home, read_settings

QUEUE = "genesyscloud_routing_queue.orders"
SKILL = "genesyscloud_routing_skill.fraud"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('resource "genesyscloud_routing_queue" "orders" {\n  name = "Orders"\n}\n')
    monkeypatch.chdir(module)
    return module


@pytest.fixture
def scanned(folder: Path) -> Path:
    """A module whose last scan found a change and an unmanaged object."""
    changed = Attribute(
        path="description", before="a", after="b", digest=digest_of("b", "s"), suggestion='description = "b"'
    )
    findings = (
        Finding(
            kind=Kind.CHANGED, address=QUEUE, type="genesyscloud_routing_queue", object="q-1", attributes=(changed,)
        ),
        Finding(
            kind=Kind.UNMANAGED,
            address=SKILL,
            type="genesyscloud_routing_skill",
            object="s-1",
            name="Fraud",
            attributes=(Attribute(path="", after="s-1", digest=digest_of("s-1", "s")),),
        ),
    )
    scan = Scan(state="s", run="r", at=datetime(2026, 11, 24, tzinfo=UTC), salt="s", findings=findings)

    async def keep() -> None:
        async with open_home(read_settings()) as home:
            await home.drift.keep(scan, lambda ledger: ledger)

    asyncio.run(keep())
    return folder


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["drift", *arguments])
    return int(ended.value.code or 0)


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert run("ls", "--state", "s", "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {each["address"]: each["verdict"] for each in document["findings"]}


def test_the_last_scan_is_shown_in_every_form(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, sign in (("text", QUEUE), ("markdown", "### Drift"), ("html", "<!doctype html>"), ("json", '"findings"')):
        assert run("ls", "--state", "s", "--format", form) == 0
        assert sign in capsys.readouterr().out


def test_accepting_prints_the_line_to_write_and_where(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("accept", QUEUE, "--state", "s", "--reason", "right so") == 0
    told = capsys.readouterr()
    assert told.out == 'description = "b"\n'
    assert "main.tf:1" in told.err
    assert listed(capsys) == {QUEUE: "accepted", SKILL: "open"}


def test_all_means_what_is_open_and_fits_the_choice(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("revert", "--all", "--state", "s", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["address"] for each in document["decided"]] == [QUEUE]
    assert listed(capsys) == {QUEUE: "to-revert", SKILL: "open"}


def test_imports_are_written_to_a_new_file_only(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scanned / "imported.tf"
    assert run("import", "Fraud", "--state", "s", "--out", str(out)) == 0
    assert out.read_text().startswith(f'import {{\n  to = {SKILL}\n  id = "s-1"\n}}\n')
    assert capsys.readouterr().out == ""
    assert run("import", "Fraud", "--state", "s", "--out", str(out)) == 3
    assert listed(capsys) == {QUEUE: "open", SKILL: "to-import"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("accept", "--state", "s"),
        ("accept", "x", "--all", "--state", "s"),
        ("accept", "nothing.like_it", "--state", "s"),
        ("accept", QUEUE, "--attribute", "name", "--state", "s"),
        ("import", QUEUE, "--state", "s"),
        ("revert", "s-1", "--state", "s"),
        ("ls", "--state", "other"),
        ("ls", "--state", "../x"),
        ("--unmanaged", "nonsense"),
        ("--name", "x"),
        ("no-such-folder",),
        ("ls", "--format", "pdf"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    arguments: tuple[str, ...], scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 3
    assert "error[usage]" in capsys.readouterr().err
    assert listed(capsys) == {QUEUE: "open", SKILL: "open"}
