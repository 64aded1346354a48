"""What a saved plan file says about the state it was made from.

Source: internal/plans/planfile in Terraform: a zip with `tfplan`, `tfstate` (with lineage and serial), `tfconfig/…`.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import msgspec

from interlock.errors import PlanStale, UsageError

_STATE_BYTES = 256 << 20  # the state inside a plan; a larger one would not be accepted by the backend either


class _Header(msgspec.Struct):
    lineage: str = ""
    serial: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFrom:
    """Lineage and serial of the state that a plan was made from; empty and 0 for no state."""

    lineage: str
    serial: int


def read_planned_from(plan: bytes) -> PlannedFrom:
    """Read lineage and serial from a plan file.

    Raises:
        UsageError: The bytes are no Terraform plan.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(plan)) as archive:
            if archive.getinfo("tfstate").file_size > _STATE_BYTES:
                raise UsageError("the state inside the plan is too large", fix="make a new plan")
            header = msgspec.json.decode(archive.read("tfstate"), type=_Header)
    except (zipfile.BadZipFile, KeyError, msgspec.MsgspecError, NotImplementedError, EOFError) as error:
        raise UsageError("this is not a saved plan", why=str(error), fix="interlock plan --out FILE") from error
    return PlannedFrom(lineage=header.lineage, serial=header.serial)


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
