"""A damaged plan is told as that, by every reader, whatever byte is damaged: never as a defect of ours."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.unit.run.test_planned_for import field, plan_bytes

from interlock.ci.platforms.github import only_file
from interlock.errors import UsageError
from interlock.run.plan_size import check_plan_file
from interlock.run.planned_creations import read_planned_creations
from interlock.run.planned_for import (
    Label,
    in_one_form,
    read_planned_configuration,
    read_planned_files,
    read_planned_for,
    with_label,
    with_override,
)
from interlock.run.saved_plan import is_asking_again, is_asking_early, read_planned_from, read_refresh
from interlock.terraform.events import Action, PlannedChange, Resource
from interlock.terraform.plan import PlanFacts

_STATE = b'{"version":4,"lineage":"l-1","serial":7}'
_MAKES = PlanFacts(
    changes=(
        PlannedChange(
            resource=Resource(address="genesyscloud_group.a", type="genesyscloud_group", name="a"), action=Action.CREATE
        ),
    )
)

READERS: dict[str, Callable[[bytes], Any]] = {
    "made from": read_planned_from,
    "refresh": lambda plan: read_refresh(plan, _STATE),
    "made for": read_planned_for,
    "configuration": lambda plan: read_planned_configuration(plan, without=""),
    "files": lambda plan: read_planned_files(plan, without=""),
    "one form": in_one_form,
    "override": lambda plan: with_override(plan, "main.tf", "# another"),
    "creations": lambda plan: read_planned_creations(plan, _MAKES),
    "artifact": only_file,
}


def packed() -> bytes:
    """Return a plan whose entries are packed, as Terraform packs them."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(plan_bytes(files={"main.tf": "# root"}))) as plain,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in plain.namelist():
            content = plain.read(name)
            target.writestr(name, content + field(3, b"") if name == "tfplan" else content)
    return buffer.getvalue()


PLAN = packed()


@pytest.mark.parametrize("reader", READERS)
def test_every_byte_of_a_plan_may_be_damaged(reader: str) -> None:
    read = READERS[reader]
    for place in range(len(PLAN)):
        for change in (0x01, 0x08, 0xFF):
            damaged = bytearray(PLAN)
            damaged[place] ^= change
            with suppress(UsageError):
                read(bytes(damaged))


@pytest.mark.parametrize("reader", READERS)
def test_a_plan_may_be_cut_anywhere(reader: str) -> None:
    for length in range(len(PLAN)):
        with suppress(UsageError):
            READERS[reader](PLAN[:length])


def test_a_damaged_file_is_looked_at_before_a_run_and_told_later(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    for place in range(0, len(PLAN), 7):
        damaged = bytearray(PLAN)
        damaged[place] ^= 0x09
        file.write_bytes(damaged)
        with suppress(UsageError):
            check_plan_file(file)
        assert isinstance(is_asking_again(file), bool)
        assert isinstance(is_asking_early(file), bool)


def test_a_label_is_added_to_a_damaged_plan_or_it_is_told() -> None:
    for place in range(len(PLAN)):
        damaged = bytearray(PLAN)
        damaged[place] ^= 0xFF
        with suppress(UsageError):
            with_label(bytes(damaged), Label(state="app"))
