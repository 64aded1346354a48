"""`interlock approve | reject | approvals`: what waits for approval, and who decided what."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.errors import command

if TYPE_CHECKING:
    from datetime import datetime

    from interlock.policy.approval import Approval, Verdict

approve_app = typer.Typer()
reject_app = typer.Typer()
app = typer.Typer(help="Requests for approval, and who decided what.", no_args_is_help=True)

Request = Annotated[
    str, typer.Argument(metavar="RUN", help="The run that waits for approval, as `interlock approvals ls` shows it.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")]
Digest = Annotated[
    str,
    typer.Option(
        "--digest",
        metavar="DIGEST",
        help="Digest of the plan that you reviewed, or its beginning; any other plan is refused.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@approve_app.command()
def approve(run: Request, *, reason: Reason, digest: Digest = "", json: Json = False) -> None:
    """Approve exactly the plan, or the command, that a run asked approval for."""
    from interlock.policy.approval import Verdict

    _decide(run, Verdict.APPROVE, reason, digest, json=json)


@reject_app.command()
def reject(run: Request, *, reason: Reason, digest: Digest = "", json: Json = False) -> None:
    """Reject the request for good. Whoever still wants the change must start a new run."""
    from interlock.policy.approval import Verdict

    _decide(run, Verdict.REJECT, reason, digest, json=json)


@app.command("ls")
def list_(
    *,
    state: Annotated[str | None, typer.Option("--state", metavar="NAME", help="Only requests of this state.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also requests that are over.")] = False,
    json: Json = False,
) -> None:
    """List requests that wait for approval, and approved ones that are not applied yet."""
    found, unreadable, now = asyncio.run(_listed(state, everything=everything))
    from interlock.operate.approving import as_document

    for name in unreadable:
        view.note(f"request {name[:40]!a} cannot be read, so it cannot be decided or applied")
    documents = [as_document(one, now) for one in found]
    headings = ("RUN", "STATE", "WHAT", "ASKED BY", "APPROVED", "STANDING")
    view.emit(
        {"approvals": documents, "unreadable": list(unreadable)},
        json=json,
        human=lambda: view.table(headings, [_row(one, now) for one in found], empty="nothing waits for approval"),
    )


@app.command()
def show(run: Request, *, json: Json = False) -> None:
    """Show a request: what it would change, who asked, and who decided what."""
    approval, now = asyncio.run(_found(run))
    from interlock.operate.approving import as_document

    view.emit(as_document(approval, now), json=json, human=lambda: _tell(approval, now))


def _decide(run: str, verdict: Verdict, reason: str, digest: str, *, json: bool) -> None:
    approval, now = asyncio.run(_decided(run, verdict, reason, digest))
    from interlock.operate.approving import as_document

    view.emit(as_document(approval, now), json=json, human=lambda: _tell_decided(approval, now))


async def _decided(run: str, verdict: Verdict, reason: str, digest: str) -> tuple[Approval, datetime]:
    from interlock.compose.homes import at_home
    from interlock.operate.approving import decide

    async with at_home(os.environ, make=False) as home:
        after = await decide(run, verdict, home, reason=reason, digest=digest)
        return after, home.clock.now()


async def _listed(state: str | None, *, everything: bool) -> tuple[tuple[Approval, ...], tuple[str, ...], datetime]:
    from interlock.compose.homes import at_home
    from interlock.operate.approving import requests

    async with at_home(os.environ, make=False) as home:
        return *await requests(home, state=state, everything=everything), home.clock.now()


async def _found(run: str) -> tuple[Approval, datetime]:
    from interlock.compose.homes import at_home

    async with at_home(os.environ, make=False) as home:
        return await home.approvals.get(run), home.clock.now()


def _row(approval: Approval, now: datetime) -> tuple[str, ...]:
    from interlock.policy.approval import standing

    count = f"{approval.approved}/{approval.needed}"
    return (approval.id, approval.state, approval.what, approval.asked_by, count, standing(approval, now).value)


def _tell(approval: Approval, now: datetime) -> None:
    from interlock.cli.approval_view import decision_lines, standing_line
    from interlock.policy.approval import Standing, doubt_of, standing, why_over

    current = standing(approval, now)
    view.say(f"{approval.id}: {approval.what}")
    view.say(f"  state     {approval.state}")
    view.say(f"  standing  {standing_line(approval, now)}")
    view.say(f"  asked by  {approval.asked_by} at {view.instant(approval.asked_at)}")
    view.say(f"  good till {view.instant(approval.expires_at)}")
    view.say(f"  digest    {approval.digest}")
    if approval.job:
        view.say(f"  job       {approval.job}")
    if approval.ordered_by:
        view.say(f"  began by  {approval.ordered_by}")
    for heading, text in decision_lines(approval, now):
        view.say(f"  {heading:9} {text}")
    if current is Standing.WAITING and (doubt := doubt_of(approval)):
        view.note(doubt)
    if current not in {Standing.WAITING, Standing.APPROVED}:
        view.note(why_over(approval, current))
    elif approval.plan is not None:
        view.note(f"the plan: {command('runs', 'logs', approval.id)}")


def _tell_decided(approval: Approval, now: datetime) -> None:
    from interlock.policy.approval import Standing, doubt_of, standing

    match standing(approval, now):
        case Standing.APPROVED if approval.plan is not None:
            view.say(f"{approval.id} is approved")
            view.note(f"next: {command('apply', '--run', approval.id)}")
        case Standing.APPROVED:
            view.say(f"{approval.id} is approved; repeat the command: {approval.what}")
        case Standing.WAITING:
            view.say(f"{approval.id} has {approval.approved} of {amount(approval.needed, 'approval')}")
            if doubt := doubt_of(approval):
                view.note(doubt)
        case other:
            view.say(f"{approval.id} is {other.value}")
