"""`interlock policies`: what may change when, and who must agree."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.amounts import amount, percent
from interlock.cli import view
from interlock.errors import command

if TYPE_CHECKING:
    from interlock.policy.policy import Policies, Policy
    from interlock.policy.windows import Held

app = typer.Typer(help="What may change when, and who must agree.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("ls")
def list_(*, json: Json = False) -> None:
    """List all policies that are said here: by the server or home itself, the operator's file and interlock.yaml."""
    found = asyncio.run(_all())
    from interlock.operate.policies import as_document

    view.emit(
        {"policies": [as_document(one) for one in found]},
        json=json,
        human=lambda: view.table(
            ("POLICY", "STATES", "SAID BY", "WHAT"),
            [(one.name, one.states, one.layer.value, "; ".join(_rules(one))) for one in found],
            empty="there are no policies",
        ),
    )


@app.command()
def show(
    state: Annotated[str, typer.Argument(help="Name of a state.", metavar="STATE")], *, json: Json = False
) -> None:
    """Show what holds for a state: the strictest word of all policies, and whether changes may begin now."""
    joined, held = asyncio.run(_of_state(state))
    view.emit(_values(state, joined, held), json=json, human=lambda: _tell(state, joined, held))


@app.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="A YAML file with `policies`, as in interlock.yaml.", metavar="FILE")],
    *,
    json: Json = False,
) -> None:
    """Put the policies of a file in the place of the home's own; they hold for everybody who works in it."""
    found = asyncio.run(_replace(file))
    from interlock.operate.policies import as_document

    view.emit(
        {"policies": [as_document(one) for one in found]},
        json=json,
        human=lambda: view.say(
            f"{amount(len(found), 'policy holds', 'policies hold')} for everybody who works in this home"
        ),
    )


async def _all() -> tuple[Policy, ...]:
    from interlock.compose.homes import at_home
    from interlock.operate.policies import all_policies

    async with at_home(os.environ, make=False) as home:
        return await all_policies(home)


async def _of_state(state: str) -> tuple[Policies, Held | None]:
    from interlock.compose.homes import at_home
    from interlock.operate.policies import policies_of

    async with at_home(os.environ, make=False) as home:
        return await policies_of(state, home)


async def _replace(file: Path) -> tuple[Policy, ...]:
    from interlock.compose.homes import at_home
    from interlock.operate.policies import replace_own
    from interlock.settings.reading import read_document

    document = read_document(file, otherwise=command("policies", "set", "--help"))
    async with at_home(os.environ) as home:
        return await replace_own(document, home, file=str(file))


def _values(state: str, joined: Policies, held: Held | None) -> dict[str, Any]:
    from interlock.operate.policies import as_document

    cap = joined.api_budget_share
    return {
        "state": state,
        "policies": [as_document(one) for one in joined.each],
        "held": None if held is None else {"policy": held.policy, "reason": held.reason, "until": held.until},
        "approvals": joined.approvals,
        "own_approval": joined.own_approval if joined.approvals else None,
        "wait_s": joined.wait_s,
        "api_budget_share": None if cap is None else cap.api_budget_share,
        "two_persons": joined.two_persons,
    }


def _tell(state: str, joined: Policies, held: Held | None) -> None:
    for one in joined.each:
        view.say(f"{one.name} ({one.layer.value}): {'; '.join(_rules(one)) or 'says nothing'}")
    if not joined.each:
        view.note(f"no policy names {state}")
    else:
        view.note("changes may begin now" if held is None else f"changes wait now: {held.text}")


def _rules(policy: Policy) -> list[str]:
    """Return what a policy says, each rule in a few words."""
    said = [amount(len(policy.windows), "window") if policy.windows else ""]
    said += [f"frozen: {freeze.reason}" for freeze in policy.freezes]
    said.append(f"at most {amount(policy.max_deletes, 'deletion')}" if policy.max_deletes is not None else "")
    said.append(f"protected: {', '.join((*policy.protected_types, *policy.protected_addresses))}" * _any(policy))
    said.append(amount(policy.approvals, "approval") if policy.approvals else "")
    said.append("two persons for force-unlock and restore" if policy.two_persons else "")
    said.append(f"waits at most {view.duration(policy.wait_s)}" if policy.wait_s is not None else "")
    if policy.api_budget_share is not None:
        said.append(f"at most {percent(policy.api_budget_share)} of the API budget for each state")
    said.append("newer previews supersede older ones" if policy.supersede_previews else "")
    said += [f"check {check.name}" for check in policy.checks]
    said += [f"{program.tool} {program.name}" for program in policy.programs]
    return [each for each in said if each]


def _any(policy: Policy) -> int:
    return int(bool(policy.protected_types or policy.protected_addresses))
