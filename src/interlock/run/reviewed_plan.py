"""A plan that one run keeps (`--out`) and a later run applies: taken once, and compared with what is there then.

Everything about such a plan is asked before anything of it runs, or leads anywhere: the gateway would send the OAuth
client where the plan's provider block says, and `show` starts providers (P11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from interlock.bounded import read_json
from interlock.errors import PlanStale, UsageError, command, reason_of
from interlock.run import plan_comparison
from interlock.run.binary import Binary, tool_of
from interlock.run.encrypted_plan import (
    BoundLabel,
    bind,
    check_bound,
    check_vouched,
    digest_of_files,
    is_encrypted_plan,
    read_bound_label,
    with_bound_label,
)
from interlock.run.entries import NoteEntry, SavedPlanEntry
from interlock.run.order import Operation, Order
from interlock.run.planned_files import VARIABLE, Difference, check_digest, check_same, digest_of
from interlock.run.planned_for import (
    Label,
    check_label,
    check_place,
    check_targets,
    in_one_form,
    read_planned_configuration,
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


def keep_plan(plan: Path, out: Path, label: Label, bound: Callable[[Label], BoundLabel] | None = None) -> str:
    """Keep a plan for later, and return its digest.

    Args:
        plan: The plan.
        out: Where it is to be kept.
        label: What it was made for.
        bound: Makes what is to stand beside a plan that OpenTofu encrypted; see `binding_of`.

    Raises:
        UsageError: It cannot be written there, or `bound` refuses.
    """
    content = plan.read_bytes()
    if bound is not None and is_encrypted_plan(content):
        content = with_bound_label(content, bound(label))
    try:
        kept = with_label(content, label)
        write_file(out, kept)
    except OSError as error:
        raise UsageError(
            f"the plan could not be kept in {out}",
            why=reason_of(error),
            fix="name a file that can be written",
        ) from error
    return digest_of(kept)


def binding_of(
    order: Order, workspace: Workspace, binary: Binary, *, space: str, current: Current, gateway: Gateway | None
) -> Callable[[Label], BoundLabel]:
    """Return what makes the label of an encrypted plan; it reads the checkout, so only when there is one.

    Args:
        order: The run.
        workspace: Where it worked.
        binary: What ran it.
        space: Terraform's workspace.
        current: The state that the plan was made from.
        gateway: The run's way to the API, whose address is in the plan; None without.
    """

    def make(label: Label) -> BoundLabel:
        if gateway is not None:
            again = command("plan", "--out", order.out or "FILE", order.directory)
            raise no_gateway("the plan was not kept", command_with=again)
        files = plan_comparison.read_checkout(workspace, tool_of(binary.name))
        return bind(label, files, current, backend=workspace.backend, place=workspace.place, workspace=space)

    return make


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
    plan = path.read_bytes()
    digest = digest_of(plan)
    if order.plan_digest is not None:
        check_digest(plan, order.plan_digest)
    journal.change(plan_digest=digest)
    journal.tell(SavedPlanEntry(digest=digest))
    vouched = order.plan_digest is not None or was_kept_here(digest, journal.folder.parent)
    if is_encrypted_plan(plan):
        bound = check_vouched(plan, vouched=vouched)
        files = digest_of_files(plan_comparison.read_checkout(workspace, tool_of(binary.name)))
        _allow(None if files == bound.binding.files else _OTHER_FILES, order, journal)
        return plan
    plan = in_one_form(plan)
    found = plan_comparison.find_planned_elsewhere(
        plan, workspace, binary, flags=order.extra, environ=environ, vouched=vouched
    )
    _allow(found, order, journal)
    return plan


_OTHER_FILES = Difference(
    subject="its files or providers",
    why="which of them cannot be said, since the plan is encrypted",
)


def check_values(
    shown: bytes, order: Order, workspace: Workspace, *, environ: Mapping[str, str], journal: Journal
) -> None:
    """Compare the values in an encrypted plan, as OpenTofu itself shows them, with those that are given here.

    Args:
        shown: The plan's JSON.
        order: The run.
        workspace: Where it works.
        environ: The environment of Terraform.
        journal: The run's record.

    Raises:
        PlanStale: One differs.
    """
    told = read_json(shown).get("variables") or {}
    planned = {name: entry.get("value") for name, entry in told.items()}
    _allow(
        plan_comparison.find_other_value(planned, workspace, flags=order.extra, environ=environ, vouched=True),
        order,
        journal,
    )


def check_can_be_made_again(
    plan: bytes, order: Order, workspace: Workspace, binary: Binary, *, environ: Mapping[str, str], why: str
) -> None:
    """Refuse to make an approved plan again without a value that it was made with: it would do something else.

    Args:
        plan: The one that was approved.
        order: The run that is to apply it.
        workspace: Where it works.
        binary: What would run it.
        environ: The environment of Terraform.
        why: Why it does not hold any more.

    Raises:
        PlanStale: Nothing here gives one.
    """
    if is_encrypted_plan(plan):  # its values are Terraform's to read, and with defaults among them
        check_can_be_made(order, why=why)
        return
    found = plan_comparison.find_other_value(
        read_planned_configuration(plan, without=OVERRIDE_NAME).variables,
        workspace,
        flags=order.extra,
        environ=environ,
        vouched=False,
        tool=tool_of(binary.name),
    )
    if found is not None:
        raise _not_made_again(order, found.subject.removeprefix(VARIABLE), why)


def check_can_be_made(order: Order, *, why: str) -> None:
    """Refuse to make an approved plan again without a value that was typed for it, where there is no plan to look at.

    Raises:
        PlanStale: Nothing here gives one.
    """
    if order.withheld:
        raise _not_made_again(order, order.withheld[0], why)


def _not_made_again(order: Order, variable: str, why: str) -> PlanStale:
    again = command("apply", order.directory, "--run", order.approval, "--", "-var", f"{variable}=VALUE")
    return PlanStale(
        "the approved plan does not hold any more, and was not made again",
        why=f"{why}; it was made with a value of variable {variable}, which is not kept with it and is not given here",
        fix=f"{again}    with the value that it was made with, and the other flags",
    )


def no_gateway(what: str, *, command_with: str) -> UsageError:
    """Return the refusal of an encrypted plan whose providers would go through a gateway.

    Args:
        what: What was not done.
        command_with: The command that does it without one.
    """
    return UsageError(
        what,
        why="OpenTofu encrypted it, so the address of this run's gateway in it cannot be replaced when it is applied",
        fix=f"{command_with} --no-gateway    or encrypt the state alone",
    )


def _allow(difference: Difference | None, order: Order, journal: Journal) -> None:
    if difference is not None and order.allow_other_files:
        text = f"the plan was made from other files or values: {difference.subject}: {difference.why}"
        journal.tell(NoteEntry(text=text))
    else:
        check_same(difference)


def was_kept_here(digest: str, runs: Path) -> bool:
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
    if is_encrypted_plan(plan) and (bound := read_bound_label(plan)) is not None:
        check_bound(
            bound,
            state=order.state,
            module=order.module,
            current=current,
            backend=workspace.backend,
            place=workspace.place,
            workspace=space,
        )
        return
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
    if is_encrypted_plan(plan):
        return plan  # made without a gateway, and its override is the same for every run
    if gateway is not None:
        return gateway.adapt(plan)
    return with_override(plan, OVERRIDE_NAME, workspace.base)
