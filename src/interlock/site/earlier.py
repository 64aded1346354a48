"""A root module whose state was kept under another name before: found before an empty state is begun. A hand.

Names change when interlock.yaml gives one, when a folder is moved or cloned, when it becomes a repository or gets an
origin. A plan against the empty state of the new name would create everything a second time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.coordinator.names import root_and_workspace
from interlock.errors import InterlockError, UsageError, command
from interlock.foreign_text import one_line
from interlock.late_pattern import late_bytes
from interlock.rights.token import Forbidden
from interlock.site.identity import Identity, default_state_names, identities_of
from interlock.site.which import holds_configuration
from interlock.source.tree import MAX_FILE_BYTES, is_configuration

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.home.known import KnownState
    from interlock.run.order import Order

_RESOURCE = late_bytes(rb'^[ \t]*resource[ \t]+"([^"\n]{1,200})"[ \t]+"([^"\n]{1,200})"', re.MULTILINE)
_TYPED = frozenset({"plan", "apply", "destroy"})
_ALIKE = 0.5  # share of a state's resources that a moved configuration declares; people rarely move and rewrite at once


class Earlier(Struct, frozen=True, kw_only=True):
    """A state that a root module most likely had before.

    Attributes:
        state: Its name.
        why: What speaks for it, for people.
    """

    state: str
    why: str


async def check_not_renamed(home: Home, order: Order) -> None:
    """Refuse to begin an empty state for a root module that had one under another name.

    Raises:
        UsageError: It had one, and nobody said with `--state` which is meant.
    """
    if order.named or await home.has_version(order.state):
        return
    earlier = await find_earlier(home, Path(order.directory), order.former, state=order.state)
    if earlier is None:
        return
    verb = order.operation.value if order.operation.value in _TYPED else "plan"
    words = (verb, order.directory, "--state")
    raise UsageError(
        f"state {order.state} is empty, and {order.directory} seems to have had its state as {earlier.state} so far",
        why=f"{earlier.why}; a plan against the empty state would create everything a second time",
        fix=f"{command(*words, earlier.state)}    or, for a new one: {command(*words, order.state)}",
    )


async def states_so_far(home: Home, directories: Sequence[Path]) -> list[str | None]:
    """Return the state that each root module has had so far without being named; None where there is none."""
    found = [await find_earlier(home, each.resolve(), default_state_names(each)) for each in directories]
    return [None if earlier is None else earlier.state for earlier in found]


async def find_earlier(
    home: Home, directory: Path, former: Sequence[str], *, state: str | None = None
) -> Earlier | None:
    """Return the state with content that a root module most likely had before.

    Args:
        home: Where states are.
        directory: The root module, absolute.
        former: Names that were right for it at another time.
        state: The name that is right now, which is not looked for.
    """
    for name in former:
        if name != state and await _has_resources(home, name):
            return Earlier(state=name, why="that was its name before it had another one, a repository or an origin")
    own = {root_and_workspace(name)[0] for name in (state, *former) if name}  # another workspace is another state
    candidates = [
        known
        for known in await home.states.all()
        if not known.type and known.queue not in {state, *former} and root_and_workspace(known.queue)[0] not in own
    ]
    if not candidates:
        return None
    identity = identities_of(directory)
    for known in sorted(candidates, key=lambda each: each.seen_at, reverse=True):
        why = await _speaks(known, directory, identity, home)
        if why and await _has_resources(home, known.queue):
            return Earlier(state=known.queue, why=why)
    return None


async def _speaks(known: KnownState, directory: Path, identity: Identity, home: Home) -> str:
    """Say why a state is that of a root module; empty when nothing speaks for it."""
    is_same = not set(identity.repositories).isdisjoint(known.repositories)
    before = one_line(known.folders[0]) if known.folders else "another folder"
    if str(directory) in known.folders:
        # Pipelines that mount every repository at one path use that path for states that have nothing in common.
        is_other = not is_same and identity.repositories and known.repositories
        return "" if is_other and not await _is_alike(known.queue, directory, home) else "it was used from this folder"
    if is_same and known.module == identity.module:
        return f"it was used from {before}, the same folder of the same repository"
    if (is_same and _is_module(identity, known.module)) or any(map(_is_there, known.folders)):
        return ""  # a copy beside its original is most likely meant to become another state
    if await _is_alike(known.queue, directory, home):
        return f"it was used from {before}, which is gone, and holds what is configured here"
    return ""


def _is_module(identity: Identity, module: str) -> bool:
    """Say whether the checkout has that root module still: a job's checkout is gone, and so is each folder known."""
    try:
        return identity.top is not None and holds_configuration(identity.top / module)
    except (OSError, ValueError):
        return False


def _is_there(folder: str) -> bool:
    """Say whether a folder is seen to be there. One that may not be looked at may be gone: then it is asked."""
    try:
        return Path(folder).exists()
    except OSError:
        return False


async def _has_resources(home: Home, state: str) -> bool:
    """Say whether a state has anything that would be created a second time; a damaged one may have."""
    try:
        if not await home.has_version(state):
            return False
    except Forbidden:  # a token for other states alone; who works with it neither made that one nor can be shown it
        return False
    try:
        return bool(await _held(home, state))
    except InterlockError:
        return True


async def _is_alike(state: str, directory: Path, home: Home) -> bool:
    """Say whether a state holds mostly what a root module declares."""
    try:
        held = await _held(home, state)
    except InterlockError:  # a damaged state says nothing of whose it is; it is told where it is asked for
        return False
    return bool(held) and len(held & _declared(directory)) >= _ALIKE * len(held)


async def _held(home: Home, state: str) -> frozenset[str]:
    """Return the managed resources of a state, without modules and instances."""
    from interlock.state import parse_document

    found = await home.archive.current(state)
    if found is None:
        return frozenset()
    return frozenset(
        f"{each.type}.{each.name}" for each in parse_document(found[1]).resources if each.mode == "managed"
    )


def _declared(directory: Path) -> frozenset[str]:
    """Return the resources that the files of a folder begin, by a look that needs no HCL reader."""
    found: set[str] = set()
    for path in directory.iterdir():
        if is_configuration(path.name) and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
            pairs = _RESOURCE.findall(path.read_bytes())
            found |= {b".".join(pair).decode(errors="replace") for pair in pairs}
    return frozenset(found)
