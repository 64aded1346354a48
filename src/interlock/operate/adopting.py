"""The states of a root module, taken into Interlock's own store from wherever they are; and given back. A hand.

Which backend that is is read from the configuration, in both directions: `adopt` takes from the one that is declared,
or from files beside the configuration where none is, and `leave` gives to it. Every workspace that has a state there
is moved, each by `interlock.operate.moving`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.coordinator.names import DEFAULT_WORKSPACE, in_workspace
from interlock.errors import UsageError, command
from interlock.operate.backend_edit import BackendEdit, plan_edit, put_aside
from interlock.operate.moving import Content, Move, move, plan_move
from interlock.site.identity import default_state_name
from interlock.site.in_sight import tool_for
from interlock.site.opening import open_site
from interlock.site.ref import Existing, StateRef
from interlock.site.which import declared_in, own_ref, ref_of_run

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.site.interface import Site
    from interlock.source.tree import Tool

_LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """One state that is to be moved, or was.

    Attributes:
        source: Where it is.
        target: Where it is to be.
        workspace: Terraform's workspace.
        move: What was found out about it.
    """

    source: StateRef
    target: StateRef
    workspace: str
    move: Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command would do.

    Attributes:
        states: Each state.
        edit: What must change in the configuration, and is not changed unless a person says so.
        outside: Settings of the backend that stand outside the configuration and lead to it too: name and origin.
        renamed: What `terraform.workspace` is at the source and at the target, when the configuration asks for it and
            it is another one; a plan would show that.
    """

    states: tuple[Relocation, ...]
    edit: BackendEdit
    outside: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


async def plan_adoption(directory: Path, home: Home, environ: Mapping[str, str], *, named: str | None) -> Plan:
    """Look at what would be taken over; nothing is changed.

    Args:
        directory: The root module, absolute.
        home: Where states are taken to.
        environ: The user's.
        named: The state's name here; None for the usual one.

    Raises:
        UsageError: Nothing is elsewhere, or other content is stored under a name already.
        StateInvalid: A state is damaged.
    """
    declared = await declared_in(directory, home, environ)
    if declared.is_own:
        raise _nothing_elsewhere(directory, declared)
    name = named or usual_name(directory, home, environ)
    states = []
    for space in await _spaces_to_adopt(declared, name, home):
        source = _in_workspace(declared, space, directory, home, environ)
        target = own_ref(in_workspace(name, space), directory=directory)
        async with open_both(source, target, home) as (one, other):
            planned = await plan_move(one, other)
        if planned is not None:
            states.append(Relocation(source=source, target=target, workspace=space, move=planned))
    if not states:
        raise UsageError(f"there is no state at {declared.address}", fix=command("doctor", directory))
    edit = await asyncio.to_thread(plan_edit, directory, environ, _tool(directory, home, environ))
    renamed = await asyncio.to_thread(_renamed, states, directory)
    return Plan(states=tuple(states), edit=edit, outside=_outside(declared), renamed=renamed)


async def plan_leaving(directory: Path, home: Home, environ: Mapping[str, str], *, named: str | None) -> Plan:
    """Look at which states of a root module would be given back, each with its workspaces; nothing is changed.

    They go to the backend that the configuration declares; to files beside it where it declares none.

    Raises:
        UsageError: Nothing is stored under its name, or something else is in the way.
    """
    name = named or usual_name(directory, home, environ)
    kept = [one.state for one in await home.coordinator.states() if one.head and one.state.partition("@")[0] == name]
    if not kept:
        raise UsageError(f"nothing is stored as {name}", why="there is nothing to give back", fix="interlock state ls")
    declared = await _declared_or_files(directory, home, environ)
    states = []
    for state in kept:
        space = state.partition("@")[2] or DEFAULT_WORKSPACE
        source = own_ref(state, directory=directory)
        target = _in_workspace(declared, space, directory, home, environ)
        async with open_both(source, target, home) as (one, other):
            planned = await plan_move(one, other)
        if planned is not None:
            states.append(Relocation(source=source, target=target, workspace=space, move=planned))
    edit = BackendEdit()
    if declared.found.type == _LOCAL and not declared.found.is_declared:  # an empty `backend "http"` is in its way
        edit = await asyncio.to_thread(plan_edit, directory, environ, _tool(directory, home, environ))
    renamed = await asyncio.to_thread(_renamed, states, directory)
    return Plan(states=tuple(states), edit=edit, renamed=renamed)


async def carry_out(plan: Plan, home: Home, *, told: Callable[[Relocation, Content], None]) -> list[Path]:
    """Move every state; return the files that were put aside.

    Args:
        plan: What was looked at.
        home: The same home.
        told: Told of each state that was moved, also when a later one fails.
    """
    aside: list[Path] = []
    for each in plan.states:
        settle = _settle(each.source, aside)
        if each.move.done and (settle is None or each.move.gone):
            continue
        async with open_both(each.source, each.target, home) as (source, target):
            told(each, await move(source, target, settle=settle))
    return aside


@asynccontextmanager
async def open_both(source: StateRef, target: StateRef, home: Home) -> AsyncIterator[tuple[Site, Site]]:
    """Open both ends of a move for as long as the context lasts."""
    async with open_site(source, home) as one, open_site(target, home) as other:
        yield one, other


def _settle(source: StateRef, aside: list[Path]) -> Callable[[], Awaitable[None]] | None:
    """Return what takes a state in a file out of Terraform's sight; other places have their mark."""
    if source.is_own or source.found.type != _LOCAL:
        return None

    async def settle() -> None:
        aside.append(await asyncio.to_thread(put_aside, Path(source.address)))

    return settle


async def _spaces_of(declared: StateRef, home: Home) -> Sequence[str]:
    async with open_site(declared, home) as site:
        assert site.backend is not None, "it is elsewhere"
        return await site.backend.workspaces()


async def _spaces_to_adopt(declared: StateRef, name: str, home: Home) -> Sequence[str]:
    """Return the workspaces that have a state there, and of files also those whose file was put aside by a move."""
    there = await _spaces_of(declared, home)
    if declared.found.type != _LOCAL:
        return there
    kept = [one.state.partition("@") for one in await home.coordinator.states() if one.head]
    before = {space or DEFAULT_WORKSPACE for state, _, space in kept if state == name}
    return sorted({*there, *before})


def _in_workspace(declared: StateRef, space: str, directory: Path, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state of another workspace of the same backend.

    Raises:
        UsageError: The backend cannot have it.
    """
    assert isinstance(declared.where, Existing)
    if space == declared.found.workspace:
        ref = declared
    elif declared.found.type == _LOCAL and not declared.found.is_declared:
        ref = _beside(directory, space)
    else:
        settings = home.settings_in(directory, environ)
        ref = ref_of_run(directory, settings, {**environ, "TF_WORKSPACE": space}, declared.where.flags)
    if isinstance(ref.where, Existing) and ref.where.refusal is not None and ref.found.type != _LOCAL:
        raise ref.where.refusal
    return ref


async def _declared_or_files(directory: Path, home: Home, environ: Mapping[str, str]) -> StateRef:
    declared = await declared_in(directory, home, environ)
    if declared.is_own or not declared.found.is_declared:
        return _beside(directory, DEFAULT_WORKSPACE)
    return declared


def _beside(directory: Path, space: str) -> StateRef:
    """Return the state of a workspace that Terraform's own default, files beside the configuration, would use."""
    from interlock.existing import Found
    from interlock.existing.opening import whole_address_of
    from interlock.site.naming import name_of_address

    found = Found(type=_LOCAL, workspace=space)
    address = whole_address_of(found, directory)
    where = Existing(found=found, refusal=UsageError(f"{address} is left to plain Terraform"))
    return StateRef(queue=name_of_address(_LOCAL, address), address=address, where=where, directory=directory)


def usual_name(directory: Path, home: Home, environ: Mapping[str, str]) -> str:
    """Return the name that the state of a root module has where nobody gives another."""
    return home.settings_in(directory, environ).state_for(directory) or default_state_name(directory)


def _tool(directory: Path, home: Home, environ: Mapping[str, str]) -> Tool:
    return tool_for(directory, environ, home.settings_in(directory, environ).terraform)


def _outside(declared: StateRef) -> tuple[tuple[str, str], ...]:
    """Return the settings that no edit of the configuration takes away.

    Of the environment only Terraform's own variables lead anywhere without a block; credentials have other uses.
    """
    return tuple(
        (origin.name, origin.source)
        for origin in declared.found.origins
        if origin.source.startswith("-backend-config") or (origin.source.isupper() and origin.source.startswith("TF_"))
    )


def _renamed(states: Sequence[Relocation], directory: Path) -> tuple[tuple[str, str], ...]:
    """Return the names of workspaces that differ, when a file of the configuration asks for them."""
    from interlock.site.existing import workspace_of

    def name(ref: StateRef, space: str) -> str:
        return space if ref.is_own else workspace_of(ref)

    names = {(name(each.source, each.workspace), name(each.target, each.workspace)) for each in states}
    asked = any(b"terraform.workspace" in path.read_bytes() for path in directory.glob("*.t*f*") if path.is_file())
    return tuple(sorted(pair for pair in names if asked and pair[0] != pair[1]))


def _nothing_elsewhere(directory: Path, own: StateRef) -> UsageError:
    return UsageError(
        f"{directory} has no state elsewhere",
        why=f"it declares no other backend and has no local state; its state is {own.address}",
        fix=command("state", "show", own.queue),
    )
