"""Results never depend on how a path is spelled, nor on where a checkout is."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.lint.engine import Request, lint
from interlock.source.disk import DiskTree

BARE = 'provider "genesyscloud" {}\nresource "genesyscloud_routing_skill" "s" {\n  name = "S"\n}\n'


def rules(target: str) -> set[str]:
    return {item.finding.rule for item in lint(DiskTree(), Request(targets=(target,))).findings}


@pytest.mark.parametrize("is_checkout", [True, False])
@pytest.mark.parametrize("above", ["test/examples", "plain"])
def test_a_checkout_in_a_folder_called_test_is_judged_like_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str, *, is_checkout: bool
) -> None:
    checkout = tmp_path / above / "cc"
    (checkout / "live").mkdir(parents=True)
    (checkout / "live" / "main.tf").write_text(BARE)
    if is_checkout:
        (checkout / ".git").mkdir()
    found = []
    for folder, target in (
        (checkout, "."),
        (checkout, "live"),
        (checkout / "live", "."),
        (checkout / "live", "../live"),
        (tmp_path, str(checkout)),
        (tmp_path, str(checkout / "live")),
        (tmp_path, f"{above}/cc"),
    ):
        monkeypatch.chdir(folder)
        found.append("backend-missing" in rules(target))
    assert found == [True] * 7


def test_an_example_of_a_checkout_is_one_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = tmp_path / "cc" / "examples" / "one"
    example.mkdir(parents=True)
    (tmp_path / "cc" / ".git").mkdir()
    (example / "main.tf").write_text(BARE)
    for folder, target in ((tmp_path / "cc", "."), (example, "."), (tmp_path, "cc/examples"), (tmp_path, str(example))):
        monkeypatch.chdir(folder)
        assert "backend-missing" not in rules(target)


@pytest.mark.parametrize("name", ["terragrunt.hcl", "atmos.yaml"])
def test_a_backend_that_another_program_writes_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = tmp_path / "cc" / "components" / "queues"
    module.mkdir(parents=True)
    (tmp_path / "cc" / ".git").mkdir()
    (module / "main.tf").write_text(BARE)
    (tmp_path / "cc" / name).write_text("")
    for folder, target in ((tmp_path / "cc", "."), (module, "."), (tmp_path, str(module))):
        monkeypatch.chdir(folder)
        assert "backend-missing" not in rules(target)


def test_the_shipped_example_passes_its_own_linter(monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[3] / "examples" / "contact-center"
    monkeypatch.chdir(example)
    report = lint(DiskTree(), Request())
    assert [item.finding.rule for item in report.findings if item.finding.severity.value != "info"] == []


def test_a_configuration_that_powershell_wrote_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.tf").write_bytes(BARE.encode("utf-16"))
    monkeypatch.chdir(tmp_path)
    (item,) = lint(DiskTree(), Request()).findings
    assert item.finding.rule == "hcl-syntax"
    assert "UTF-16" in item.finding.message
    assert "Set-Content -Encoding utf8" in item.finding.message
    (tmp_path / "main.tf").write_bytes(b"\xef\xbb\xbf" + BARE.encode())
    assert "hcl-syntax" not in rules(".")  # Terraform takes it (1.11.4, measured)
