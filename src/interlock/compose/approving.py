"""A run that applies what persons approved, from the request alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.compose.homes import at_home
from interlock.errors import UsageError, command
from interlock.policy.approval import Approval, check_approved
from interlock.run.order import MASK, Operation

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
    directory = asked.directory if asked.directory != Path() else Path(plan.directory)
    if not directory.is_dir():
        raise UsageError(
            f"the root module of {approval.id} is not on this machine",
            why=f"{plan.directory} is not there",
            fix=f"{command('apply', '--run', approval.id, 'FOLDER')}    with the folder of {plan.module or 'the root'}",
        )
    flags = asked.extra or tuple(flag for flag in plan.flags if MASK not in flag)
    return replace(
        asked,
        operation=Operation(plan.operation),
        directory=directory,
        extra=flags,
        state=asked.state or plan.named or None,
        allow_destroy=plan.allow_destroy,
        max_deletes=plan.max_deletes,
        auto_approve=True,
    )


async def _approved(name: str, environ: Mapping[str, str], directory: Path) -> Approval:
    async with at_home(environ, directory=directory if directory.is_dir() else None, make=False) as home:
        approval = await home.approvals.get(name)
        check_approved(approval, home.clock.now())
        return approval
