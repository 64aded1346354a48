import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main

MAIN = """\
resource "genesyscloud_routing_queue" "support" {
  name = "Support"
}

resource "genesyscloud_flow" "ivr" {
  filepath = "${path.module}/ivr.yaml"
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.tf").write_text(MAIN)
    (tmp_path / "ivr.yaml").write_text("task:\n  targetQueue: Support\n")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["deps", *arguments])
    return int(ended.value.code or 0)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_json_has_nodes_edges_and_the_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", str(folder)) == 0
    document = answer(capsys)
    assert [node["id"] for node in document["nodes"]] == ["genesyscloud_routing_queue.support", "genesyscloud_flow.ivr"]
    (edge,) = document["edges"]
    assert (edge["hidden"], edge["kind"], edge["line"]) == (True, "content", 6)
    assert document["order"]["waves"] == [["genesyscloud_routing_queue.support"], ["genesyscloud_flow.ivr"]]


def test_people_see_evidence_fix_and_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(folder)) == 0
    shown = capsys.readouterr().out
    assert "hidden (content): genesyscloud_flow.ivr needs genesyscloud_routing_queue.support" in shown
    assert "add depends_on = [genesyscloud_routing_queue.support] to genesyscloud_flow.ivr" in shown
    assert "wave 2" in shown


def test_fix_writes_the_reference_and_nothing_is_hidden_afterwards(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--fix", "--json", str(folder)) == 0
    assert not [edge for edge in answer(capsys)["edges"] if edge["hidden"]]
    expected = MAIN.replace('ivr.yaml"\n', 'ivr.yaml"\n\n  depends_on = [genesyscloud_routing_queue.support]\n')
    assert (folder / "main.tf").read_text() == expected


def test_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--fix", "--dry-run", str(folder)) == 0
    assert (folder / "main.tf").read_text() == MAIN
    assert "would fix" in capsys.readouterr().err


def test_impact_of_a_resource(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "--impact", "genesyscloud_routing_queue.support", str(folder)) == 0
    assert answer(capsys)["affected"][0]["silent"] is True
    assert run("--impact", "genesyscloud_routing_queue.suport", str(folder)) == 3
    assert "the nearest is genesyscloud_routing_queue.support" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "begin"), [("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg"), ("html", "<!doctype")]
)
def test_each_picture_can_be_written(folder: Path, form: str, begin: str) -> None:
    target = folder / f"out.{form}"
    assert run("--format", form, "--out", str(target), str(folder)) == 0
    assert target.read_text().startswith(begin)


def test_bad_input_is_refused_with_status_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = folder / "empty"
    empty.mkdir()
    assert run(str(empty)) == 3
    assert run("--plan", str(folder / "none.json"), str(folder)) == 3
    assert run("--state-file", "a", "--state-file", "b", str(folder)) == 3
    assert "next" in capsys.readouterr().err


def test_an_unreadable_state_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "terraform.tfstate").write_text('{"version": 4, "ser')
    assert run(str(folder)) == 20
    assert "error" in capsys.readouterr().err
