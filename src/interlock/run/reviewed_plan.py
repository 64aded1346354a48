"""A plan that one run keeps (`--out`) and a later run applies: taken once, and compared with what is there then.

Everything about such a plan is asked before anything of it runs, or leads anywhere: the gateway would send the OAuth
client where the plan's provider block says, and `show` starts providers (P11).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from interlock.errors import UsageError
from interlock.run.binary import Binary
from interlock.run.entries import NoteEntry, SavedPlanEntry
from interlock.run.order import Operation, Order
from interlock.run.planned_files import Difference, check_digest, check_same, digest_of
from interlock.run.planned_for import (
    Label,
    check_label,
    check_place,
    check_targets,
    in_one_form,
    read_planned_for,
    with_label,
    with_override,
)
from interlock.run.saved_plan import check_current, read_planned_from
from interlock.run.summary import recent
from interlock.run.surroundings import Current, Gateway
from interlock.run.transcript import Journal
from interlock.run.workspace import OVERRIDE_NAME, Workspace
from interlock.source.disk import write_file

_REMEMBERED = 200  # runs that are asked whether they made a plan; older ones are cleared away anyway


def keep_plan(plan: Path, out: Path, label: Label) -> str:
    """Keep a plan for later, and return its digest.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        kept = with_label(plan.read_bytes(), label)
        write_file(out, kept)
    except OSError as error:
        raise UsageError(
            f"the plan could not be kept in {out}",
            why=error.strerror or str(error),
            fix="name a file that can be written",
        ) from error
    return digest_of(kept)


def take_plan(
    path: Path, order: Order, workspace: Workspace, binary: Binary, *, environ: Mapping[str, str], journal: Journal
) -> bytes:
    """Read a saved plan, and compare it with the digest, the files and the values of this run.

    Args:
        path: The plan.
        order: The run; what it says of the plan's digest and of other files is obeyed.
        workspace: Where the run works, initialised.
        binary: What would run it.
        environ: The environment of Terraform.
        journal: The run's record; it gets the digest, and what differs where that is allowed.

    Returns:
        The plan in the one form in which later questions are asked.

    Raises:
        PolicyGate: It is another plan than the one that was approved.
        PlanStale: It was made from other files or values.
        UsageError: It cannot be read.
    """
    from interlock.run.plan_comparison import find_planned_elsewhere  # most runs apply their own plan

    plan = path.read_bytes()
    digest = digest_of(plan)
    if order.plan_digest is not None:
        check_digest(plan, order.plan_digest)
    journal.change(plan_digest=digest)
    journal.tell(SavedPlanEntry(digest=digest))
    plan = in_one_form(plan)
    vouched = order.plan_digest is not None or _was_kept_here(digest, journal.folder.parent)
    found = find_planned_elsewhere(plan, workspace, binary, flags=order.extra, environ=environ, vouched=vouched)
    _allow(found, order, journal)
    return plan


def _allow(difference: Difference | None, order: Order, journal: Journal) -> None:
    if difference is not None and order.allow_other_files:
        text = f"the plan was made from other files or values: {difference.subject}: {difference.why}"
        journal.tell(NoteEntry(text=text))
    else:
        check_same(difference)


def _was_kept_here(digest: str, runs: Path) -> bool:
    """Say whether a run of this home made that plan; only the home's owner can say so."""
    past = recent(runs, limit=_REMEMBERED)
    return any(run.plan_digest == digest and run.operation == Operation.PLAN.value for run in past)


async def check_target(
    plan: bytes, order: Order, workspace: Workspace, *, space: str, current: Current, gateway: Gateway | None
) -> None:
    """Refuse a plan that was made for another backend, state, root module or organisation, or another state's version.

    Args:
        plan: The plan, as `take_plan` returned it.
        order: The run.
        workspace: Where the run works.
        space: Terraform's workspace.
        current: What is stored now.
        gateway: The run's way to the API, which knows the organisations; None without.

    Raises:
        PlanStale: Likewise.
        UsageError: It cannot be read.
    """
    planned, made_from = read_planned_for(plan), read_planned_from(plan)
    check_place(planned, backend=workspace.backend, place=workspace.place, workspace=space)
    check_label(planned, state=order.state, module=order.module, is_new=made_from.serial == 0)
    if planned.label is not None and planned.label.targets:
        check_targets(planned, dict(await gateway.targets()) if gateway is not None else {})
        if gateway is not None:
            gateway.expect(planned.label.targets)
    check_current(made_from, lineage=current.lineage, serial=current.serial)


def adapted(plan: bytes, workspace: Workspace, gateway: Gateway | None) -> bytes:
    """Return a plan without the way to the gateway of the run that made it: nobody knows who listens there now."""
    if gateway is not None:
        return gateway.adapt(plan)
    return with_override(plan, OVERRIDE_NAME, workspace.base)
