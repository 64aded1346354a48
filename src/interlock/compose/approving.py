"""A run that applies what persons approved, from the request alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.compose.homes import at_home
from interlock.errors import UsageError, command
from interlock.policy.approval import Approval, KeptPlan, check_approved
from interlock.run.order import Operation, kept_flags, withheld_variables
from interlock.site.which import holds_configuration

if TYPE_CHECKING:
    from interlock.operate.ordering import Asked


def as_approved(asked: Asked, environ: Mapping[str, str]) -> Asked:
    """Return what was asked, with what the approved request says: its root, state, operation and flags.

    Args:
        asked: With the request's name; the folder counts where a person named one, as in another checkout.
        environ: The environment.

    Raises:
        UsageError: There is no such request, or its root module is not on this machine.
        PolicyGate: It is not approved, or is over.
    """
    approval = asyncio.run(_approved(asked.approval, environ, asked.directory))
    plan = approval.plan
    if plan is None:
        raise UsageError(
            f"request {approval.id} is for a command",
            why=f"it is for: {approval.what}",
            fix="repeat that command; it finds its approval itself",
        )
    return replace(
        asked,
        operation=Operation(plan.operation),
        directory=_root_of(approval.id, plan, asked.directory),
        extra=asked.extra or kept_flags(plan.flags),
        withheld=withheld_variables(plan.flags, asked.extra),
        state=asked.state or plan.named or None,
        allow_destroy=plan.allow_destroy,
        max_deletes=plan.max_deletes,
        auto_approve=True,
    )


def _root_of(request: str, plan: KeptPlan, named: Path) -> Path:
    """Return the folder of the root module: the one that was named, else where the plan was made.

    On another machine a checkout is elsewhere: there it is the folder where the command is typed, as for any apply.

    Raises:
        UsageError: It is not on this machine.
    """
    if named != Path():
        return named
    made = Path(plan.directory)
    if made.is_dir():
        return made
    if holds_configuration(named):
        return named
    raise UsageError(
        f"the root module of {request} is not on this machine",
        why=f"{plan.directory} is not there, and no root module is here",
        fix=f"{command('apply', '--run', request, 'FOLDER')}    with the folder of {plan.module or 'the root'}",
    )


async def _approved(name: str, environ: Mapping[str, str], directory: Path) -> Approval:
    async with at_home(environ, directory=directory if directory.is_dir() else None, make=False) as home:
        approval = await home.approvals.get(name)
        check_approved(approval, home.clock.now())
        return approval
