"""States moved between two stores of Interlock's own: that of this machine, and a server's. A hand.

Each keeps its name, unless a person gives another, and its earlier versions come along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.coordinator.names import DEFAULT_WORKSPACE, in_workspace, root_and_workspace
from interlock.errors import InterlockError, UsageError, command
from interlock.operate.adopting import Plan, Relocation
from interlock.operate.backend_edit import BackendEdit
from interlock.operate.moving import Content, is_begun, move, plan_move
from interlock.site.moved import address_moved_to, name_of
from interlock.site.opening import open_site, queue_of
from interlock.site.which import own_ref, resolve

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.site.interface import Site
    from interlock.site.ref import StateRef

_LISTED = 5  # names of what is there, where something else was asked for


async def plan_transfers(
    words: Sequence[str], source: Home, target: Home, environ: Mapping[str, str], *, renamed: str | None = None
) -> Plan:
    """Look at what would be moved; nothing is changed.

    Args:
        words: States, or root modules, each with its workspaces; none for all that is stored.
        source: Where they are.
        target: Where they are to be.
        environ: The user's.
        renamed: The name at the target, for one state.

    Raises:
        UsageError: Nothing is stored there under a name, or other content is stored under it at the target.
        StateInvalid: A state is damaged, or under review.
    """
    kept = [one.state for one in await source.coordinator.states() if one.head]
    if renamed is not None and len(words) != 1:
        raise UsageError("--as gives one state another name", why=f"{len(words)} were named", fix="name one state")
    if renamed is not None:
        _check_workspace(renamed, words[0])
    meant = [await _meant(word, kept, source, environ) for word in words] if words else [own_ref(name) for name in kept]
    states: list[Relocation] = []
    for ref in dict.fromkeys(each for one in meant for each in _with_workspaces(one, kept)):
        space = root_and_workspace(ref.queue)[1]
        name = ref.queue if renamed is None else in_workspace(root_and_workspace(renamed)[0], space)
        at = own_ref(name, directory=ref.directory)
        async with open_site(ref, source) as one, open_site(at, target) as other:
            planned = None if not words and await _has_left(one, other) else await plan_move(one, other)
        if planned is not None:
            states.append(Relocation(source=ref, target=at, workspace=space, move=planned))
    if not states:
        left = "those that were there were moved elsewhere" if kept else "nothing was stored there"
        raise UsageError(f"no state is in {source.place}", why=left, fix="interlock queue ls    says which was moved")
    return Plan(states=tuple(states), edit=BackendEdit())


async def transfer(
    plan: Plan,
    source: Home,
    target: Home,
    *,
    told: Callable[[Relocation, Content], None],
    broke_off: Callable[[Relocation], None],
    history: bool = True,
) -> None:
    """Move every state.

    Args:
        plan: What was looked at.
        source: The same homes.
        target: Likewise.
        told: Told of each state that was moved, also when a later one fails.
        broke_off: Told of the one that failed, where its move was begun: it stays closed until that is finished.
        history: Bring earlier versions along.
    """
    for each in plan.states:
        if not each.move.done:
            async with open_site(each.source, source) as one, open_site(each.target, target) as other:
                try:
                    content = await move(one, other, history=history)
                except InterlockError:
                    if await is_begun(one):
                        broke_off(each)
                    raise
                told(each, content)


async def _has_left(site: Site, target: Site) -> bool:
    """Say whether a state was moved to another place than this target; of all states only those here are meant."""
    address = address_moved_to((await queue_of(site).view(site.ref.queue)).lock.pause)
    return address not in {"", name_of(target, site)}


async def _meant(word: str, kept: Sequence[str], source: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state of our own that a person means.

    Raises:
        UsageError: It is on another backend, or nothing is stored under its name.
    """
    ref = await resolve(word, source, environ)
    if not ref.is_own:
        raise UsageError(
            f"the state of {word} is at {ref.address}, not in a store of Interlock's own",
            why="between backends a state is moved by its root module",
            fix=f"{command('adopt', ref.root_module)}    or, to bring one there: {command('leave', ref.root_module)}",
        )
    if not _with_workspaces(ref, kept):
        there = f"it has {', '.join(kept[:_LISTED])}" if kept else "nothing is stored there"
        which = command("state", "import", "--all", "--dry-run")
        if source.team_runs is not None:
            which = command("state", "export", "--all", "--dry-run")
        raise UsageError(f"nothing is stored as {ref.queue} in {source.place}", why=there, fix=f"{which}    lists all")
    return ref


def _check_workspace(renamed: str, word: str) -> None:
    """Refuse another name that names another workspace, since a workspace keeps its own.

    Raises:
        UsageError: It does.
    """
    name, space = root_and_workspace(renamed)
    if space not in {DEFAULT_WORKSPACE, root_and_workspace(word)[1]}:
        raise UsageError(
            f"--as {renamed} names the workspace {space}",
            why=f"{word} is not of that workspace, and each workspace keeps its name",
            fix=f"--as {name}    names it without a workspace",
        )


def _with_workspaces(ref: StateRef, kept: Sequence[str]) -> list[StateRef]:
    """Return a state and those of its other workspaces, as far as they are stored; one workspace when that is named."""
    root, space = root_and_workspace(ref.queue)
    names = [name for name in kept if name == ref.queue or (space == DEFAULT_WORKSPACE and _is_of(name, root))]
    return [own_ref(name, directory=ref.directory) for name in names]


def _is_of(name: str, root: str) -> bool:
    return root_and_workspace(name)[0] == root
