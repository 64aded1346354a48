"""Every promise is proven by a property test, by a simulation and end to end, or the page says why not.

The page names tests; a test that is marked later need not be on it before `python scripts/write_proofs.py` is run next,
but nothing that it names may be missing.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "proofs.md"
RENEW = "run python scripts/write_proofs.py"


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "write_proofs.py"))


@pytest.fixture(scope="module")
def proofs(writer: dict[str, Any]) -> list[Any]:
    found: list[Any] = writer["collect"]()
    return found


def test_every_promise_is_proven_at_every_level_or_the_reason_is_written_down(
    writer: dict[str, Any], proofs: list[Any]
) -> None:
    proven = {(proof.promise, proof.level) for proof in proofs}
    wanted = {(promise, level) for promise in writer["PROMISES"] for level in writer["LEVELS"]}
    assert wanted - proven - writer["ABSENT"].keys() == set()
    assert proven & writer["ABSENT"].keys() == set(), "there is a proof now: take the reason out"
    assert all(writer["ABSENT"].values())


def test_every_promise_keeps_a_quick_proof_at_every_level_in_make_test(proofs: list[Any]) -> None:
    every = {(proof.promise, proof.level) for proof in proofs}
    assert every - {(proof.promise, proof.level) for proof in proofs if not proof.slow} == set()


def test_the_promises_are_those_of_the_architecture(writer: dict[str, Any]) -> None:
    assert tuple(writer["sentences"]()) == writer["PROMISES"]


def test_every_test_that_the_page_names_is_there_and_marked(writer: dict[str, Any], proofs: list[Any]) -> None:
    known = {(proof.promise, proof.file, writer["_sentence"](proof)) for proof in proofs}
    files = {(proof.promise, proof.file) for proof in proofs}
    promise = file = ""
    unknown = []
    for line in PAGE.read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"## (P\d+)", line):
            promise = heading[1]
        elif named := re.fullmatch(r"`(tests/\S+)`", line):
            file = named[1]
        elif besides := re.fullmatch(r"- `(tests/\S+)`", line):
            unknown += [f"{promise} {besides[1]}"] if (promise, besides[1]) not in files else []
        elif promise and line.startswith("- ") and (promise, file, line[2:]) not in known:
            unknown.append(f"{promise} {file}: {line[2:]}")
    assert not unknown, f"{RENEW}\n" + "\n".join(unknown)


def test_the_table_of_the_page_is_current(writer: dict[str, Any], proofs: list[Any]) -> None:
    rows = [line for line in writer["render"](proofs).splitlines() if line.startswith("| [P")]
    assert [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| [P")] == rows, RENEW


def test_every_seeded_file_that_is_named_is_there(writer: dict[str, Any]) -> None:
    assert [file for file in writer["SEEDED"] if not (ROOT / file).is_file()] == []


def test_marks_of_a_test_its_class_and_its_module_count_and_unknown_ones_are_refused(writer: dict[str, Any]) -> None:
    source = """
pytestmark = [pytest.mark.e2e, pytest.mark.promise("P1")]
class TestX:
    @pytest.mark.promise("P2", "P3")
    async def test_a(self): ...
    @pytest.mark.slow
    def test_c(self): ...
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.promise("P1")
def test_b(x): ...
def helper(): ...
"""
    assert list(writer["marked"](source)) == [
        ("test_a", ["P1", "P2", "P3"], False),
        ("test_c", ["P1"], True),
        ("test_b", ["P1"], False),
    ]
    assert list(writer["marked"]('pytestmark = [pytest.mark.slow, pytest.mark.promise("P7")]\ndef test_a(): ...')) == [
        ("test_a", ["P7"], True)
    ]
    for wrong in ('"P12"', "NAME"):
        with pytest.raises(ValueError, match="written out"):
            list(writer["marked"](f"@pytest.mark.promise({wrong})\ndef test_a(): ...\n"))


def test_a_promise_without_a_proof_is_seen(writer: dict[str, Any], proofs: list[Any]) -> None:
    fewer = [proof for proof in proofs if (proof.promise, proof.level) != ("P5", "property")]
    assert "none: missing" in writer["render"](fewer)
    assert "none: missing" not in writer["render"](proofs)
