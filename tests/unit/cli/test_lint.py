import json
from pathlib import Path

import pytest

from interlock.cli.main import main

BAD = 'provider "genesyscloud" {\n  concurrency = 5 # five\n}\n'
NAMES = "provider-unknown-argument"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.tf").write_text(BAD)
    return tmp_path


def lint(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["lint", *arguments])
    return int(left.value.code or 0)


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint("--json", "--select", NAMES) == 1
    captured = capsys.readouterr()
    (finding,) = json.loads(captured.out)["findings"]
    assert set(finding) == {"rule", "severity", "path", "line", "column", "message", "fix"}
    assert (finding["rule"], finding["path"], finding["line"], finding["column"]) == (NAMES, "main.tf", 2, 3)
    assert captured.err == ""


def test_the_exit_status_follows_fail_on(folder: Path) -> None:
    (folder / "main.tf").write_text('resource "genesyscloud_routing_queue" "q" {}\n')
    assert lint("--select", "force-deleted") == 0
    assert lint("--select", "force-deleted", "--fail-on", "info") == 1
    assert lint("--select", "lock-*") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("absent",),
        ("--select", "no-such-rule"),
        ("--format", "xml"),
        ("--baseline", "absent.json"),
        ("--write-baseline",),
        ("--no-such-option",),
        ("--baseline", "main.tf"),
    ],
    ids=" ".join,
)
def test_misuse_exits_with_3_and_says_what_to_do(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint(*arguments) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error[usage]")
    assert "  next   " in captured.err


def test_fix_writes_the_file_and_keeps_its_mode(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "main.tf").chmod(0o640)
    assert lint("--fix", "--select", NAMES) == 0
    assert (folder / "main.tf").read_text() == 'provider "genesyscloud" {\n}\n'
    assert (folder / "main.tf").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in folder.iterdir()] == ["main.tf"]
    assert capsys.readouterr().err == "fixed main.tf\n"


def test_a_baseline_is_written_and_then_accepts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint("--baseline", "lint.json", "--write-baseline") == 0
    assert lint("--baseline", "lint.json") == 0
    assert "in the baseline" in capsys.readouterr().out
    (folder / "main.tf").write_text(BAD.replace("5", "6"))
    assert lint("--baseline", "lint.json") == 1


@pytest.mark.parametrize(
    ("form", "begins"), [("sarif", "{"), ("gitlab", "["), ("github", "::error "), ("text", "error[")]
)
def test_every_form_is_printed(form: str, begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint("--format", form, "--select", NAMES) == 1
    assert capsys.readouterr().out.startswith(begins)


def test_rules_are_listed_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint("--list-rules", "--select", "lock-table-ttl") == 0
    assert "lock-table-ttl" in capsys.readouterr().out
    assert lint("--list-rules", "--json") == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert {"rule", "severity", "subject", "fixable", "what"} == set(rules[0])


def test_several_paths_are_linted_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "main.tf").write_text(BAD)
    assert lint("a", "b/main.tf", "--json", "--select", NAMES) == 1
    paths = [finding["path"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert paths == ["a/main.tf", "b/main.tf"]


def test_a_file_that_may_not_be_read_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "big.tf").write_bytes(b"#" * (8 * 1024 * 1024 + 1))
    assert lint("--json", "--select", "hcl-syntax") == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["message"] == "the file could not be read: it has more than 8388608 bytes"
