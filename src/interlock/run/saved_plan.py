"""What a saved plan file says about the state it was made from.

Source: internal/plans/planfile in Terraform: a zip with `tfplan`, `tfstate` (with lineage and serial), `tfconfig/…`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import PlanStale, StateInvalid, UsageError
from interlock.late_pattern import late_bytes
from interlock.run.plan_archive import opened_plan
from interlock.state import Document, ObjectKey, find_lost, parse_document
from interlock.state.document import compact
from interlock.terraform.plan import PlanFacts

_EARLY = late_bytes(
    rb"\bconst\b|^\s*(?:source|version)\s*=\s*(?:[^\"\s]|\"[^\"\n]*\$\{)|\"(?:source|version)\"\s*:\s*\"[^\"]*\$\{"
    rb"|\bprovider\s+\"[^\"]*\"\s*\{[^}]*\bfor_each\b|\bbackend\s+\"[^\"]*\"\s*\{[^}]*\b(?:var|local)\.",
    re.MULTILINE,
)


class _Header(msgspec.Struct):
    lineage: str = ""
    serial: int = 0


class PlannedFrom(Struct, frozen=True, kw_only=True):
    """Lineage and serial of the state that a plan was made from; empty and 0 for no state."""

    lineage: str
    serial: int


def read_planned_from(plan: bytes) -> PlannedFrom:
    """Read lineage and serial from a plan file.

    Raises:
        UsageError: The bytes are not Terraform plan.
    """
    with opened_plan(plan) as archive:
        header = decode_json(archive.read("tfstate"), type=_Header)
    return PlannedFrom(lineage=header.lineage, serial=header.serial)


def is_asking_again(plan: Path) -> bool:
    """Say whether a plan's configuration may have ephemeral values, for which Terraform asks again at apply.

    Every other value may be given once more too then, when it is the same. False for a plan that is not there yet. One
    that OpenTofu encrypted may have any: nobody can look.
    """
    with suppress(OSError), plan.open("rb") as file:
        if file.read(1) == b"{":
            return True
    with suppress(UsageError), opened_plan(plan) as archive:
        return any(b"ephemeral" in archive.read(name) for name in archive.namelist() if name.startswith("tfconfig/"))
    return False


def is_asking_early(plan: Path) -> bool:
    """Say whether OpenTofu may need values to load a plan's configuration, which it does not take from the plan.

    It evaluates the sources of modules, constants, backends and repeated providers first. False for a plan that is not
    there yet, or that is encrypted: see `is_asking_again`. Source: docs/facts/opentofu.md#tofu-11.
    """
    with suppress(OSError, UsageError), opened_plan(plan) as archive:
        names = (name for name in archive.namelist() if name.startswith("tfconfig/"))
        return any(_EARLY.search(archive.read(name)) for name in names)
    return False


class Refresh(Struct, frozen=True, kw_only=True):
    """What planning made of the state that it was given, before anything is applied.

    Attributes:
        gone: Managed objects that refresh found gone or a `moved` block renamed, spelled as `judge_deletions` wants
            them. Terraform compares the plan with the state after refresh, so neither events nor `show -json` name all.
        differs: Whether any managed object, or where it is, is another than before.
    """

    gone: frozenset[str] = frozenset()
    differs: bool = False


def read_refresh(plan: bytes, stored: bytes | None) -> Refresh | None:
    """Compare the state in a plan file, `tfstate`, with the stored one: refresh and moves made the one of the other.

    The file also holds `tfstate-prev`, the state before refresh. That is not the stored one for a destroy: there
    Terraform refreshes and moves first and plans from what came out (seen with 1.11.4 and 1.15.9).

    Args:
        plan: The plan file.
        stored: The stored state that it was made from; None when there is none.

    Returns:
        None when the file cannot be looked into (OpenTofu's encrypted plan is not a zip), or was made from a state of
        another lineage or serial.
    """
    try:
        with opened_plan(plan) as archive:
            after = parse_document(archive.read("tfstate"))
        before = parse_document(stored) if stored else None
        if before is None:
            return Refresh()
        if (before.lineage, before.serial) != (after.lineage, after.serial):
            return None
        lost = find_lost(before, after)
        return Refresh(gone=frozenset(str(key) for key in lost), differs=_managed(before) != _managed(after))
    except (StateInvalid, UsageError):
        return None


def with_refresh(facts: PlanFacts, plan: Path, stored: bytes | None) -> PlanFacts:
    """Add to the facts of a plan what only its file says; see `read_refresh`."""
    found = read_refresh(plan.read_bytes(), stored)
    if found is None:
        return facts
    return replace(
        facts, may_delete=facts.may_delete | found.gone, refreshed_out=found.gone, refresh_differs=found.differs
    )


def _managed(document: Document) -> dict[ObjectKey, bytes]:
    """Index the managed objects by key; white space does not count."""
    return {key: compact(raw) for key, raw in document.objects().items() if key.mode == "managed"}


def check_current(planned: PlannedFrom, *, lineage: str, serial: int) -> None:
    """Refuse a plan that was not made from the current state (`lineage` empty and `serial` 0 when there is none).

    Raises:
        PlanStale: Somebody changed the state since, or the plan belongs to another state.
    """
    if planned.serial == 0 and serial == 0:
        return
    if planned.lineage != lineage and planned.serial != 0:
        raise PlanStale(
            "the saved plan belongs to another state",
            why=f"it was made from lineage {planned.lineage}, the state has {lineage or 'none'}",
            fix="check --state, or make a new plan",
        )
    if planned.serial != serial:
        raise PlanStale(
            "the saved plan is stale",
            why=f"it was made from serial {planned.serial}, the state is at {serial} now",
            fix="make a new plan and have it reviewed",
        )
