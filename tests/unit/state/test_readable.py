"""What Terraform's own reader accepts, against the verdicts of real binaries and against the one that is here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests import state_mutants

from interlock.state import refusing, verify_state
from interlock.state.addresses import MAX_ADDRESS_CHARS, is_dependency, is_module
from interlock.state.verify import STRICTER

LIVE = 30  # mutants that the Terraform of this machine is asked about; a start takes 0.1 s


def _codes(body: bytes) -> set[str]:
    return {finding.code for finding in refusing(verify_state(body))}


def test_the_table_is_of_these_mutants() -> None:
    assert state_mutants.read_table()["mutants"] == state_mutants.digest(), "make state-mutants"


@pytest.mark.promise("P6")
def test_what_a_terraform_refuses_to_read_is_refused() -> None:
    refused = state_mutants.read_table()["refused"]
    passed = [name for name, body in state_mutants.mutants().items() if name in refused and not _codes(body)]
    assert passed == ["text:encrypted"], "with its key OpenTofu reads it, so it is taken as it is"


@pytest.mark.promise("P6")
def test_what_every_terraform_reads_is_accepted_but_for_what_is_named() -> None:
    refused = state_mutants.read_table()["refused"]
    codes = {name: _codes(body) - STRICTER for name, body in state_mutants.mutants().items() if name not in refused}
    assert {name: more for name, more in codes.items() if more} == {}


def test_the_table_covers_both_verdicts() -> None:
    table = state_mutants.read_table()
    healthy = set(state_mutants.mutants()) - set(table["refused"])
    assert len(healthy) > 200
    assert len(table["refused"]) > 200
    assert len(table["versions"]) > 1


@pytest.mark.e2e
@pytest.mark.promise("P6")
def test_the_terraform_of_this_machine_agrees_with_the_table(tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    assert terraform is not None
    found = state_mutants.mutants()
    for name in state_mutants.sample(LIVE):
        read = state_mutants.is_read(terraform, found[name], tmp_path)
        mine = _codes(found[name])
        assert mine or read, f"{name}: Terraform cannot read it"
        assert not read or mine <= STRICTER or name in state_mutants.read_table()["refused"], f"{name}: {mine}"


def test_long_and_nested_addresses_end_soon() -> None:
    assert not is_dependency("a" * MAX_ADDRESS_CHARS + ".b")
    assert not is_module("module.a." * 400 + "!")
    assert is_module(".".join(["module.a"] * 400))
