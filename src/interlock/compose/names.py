"""Which state a person means: a name, a folder, or what interlock.yaml says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.compose.stores import Embedded, open_embedded, read_settings
from interlock.errors import UsageError, command
from interlock.settings import Settings, default_state_name, default_state_names
from interlock.source import is_configuration

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.run.order import Order


def state_name(settings: Settings, directory: Path, named: str | None) -> str:
    """Return the state of a root module: as named, as interlock.yaml says, or made from the folder's identity."""
    from interlock.coordinator import check_state_name

    return check_state_name(named or settings.state_for(directory) or default_state_name(directory))


def names_of(settings: Settings, directory: Path, named: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the state of a root module, and the names under which it may have been kept before."""
    if named is not None:
        return state_name(settings, directory, named), ()
    usual = default_state_names(directory)
    name = settings.state_for(directory) or usual[0]
    return state_name(settings, directory, name), tuple(each for each in usual if each != name)


async def states_so_far(directories: Sequence[Path]) -> list[str | None]:
    """Return the state in which each root module was kept without being named; None where there is none."""
    settings = read_settings()
    if not settings.database.exists():
        return [None for _ in directories]
    async with open_embedded(settings) as embedded:
        return [await _kept_as(embedded.coordinator, default_state_names(directory)) for directory in directories]


async def _kept_as(coordinator: Coordinator, names: Sequence[str]) -> str | None:
    """Return the first of these names under which there is a state."""
    for name in names:
        if (await coordinator.view(name)).head is not None:
            return name
    return None


async def check_not_renamed(coordinator: Coordinator, order: Order) -> None:
    """Refuse to begin an empty state for a root module that had a state under another name before.

    Names change when interlock.yaml gives one, and when a folder becomes a repository or gets its origin.

    Raises:
        UsageError: Its earlier state holds what a plan would create a second time.
    """
    if not order.former or (await coordinator.view(order.state)).head is not None:
        return
    former = await _kept_as(coordinator, order.former)
    if former is not None:
        raise UsageError(
            f"state {order.state} is empty, and {order.directory} has kept its state as {former} so far",
            why="a plan against the empty state would create everything a second time",
            fix=f"--state {former}, or that name in interlock.yaml    or: "
            f"{command('state', 'pull', former)} > state.json; "
            f"{command('state', 'push', '--state', order.state, 'state.json')}",
        )


def named_state(settings: Settings, text: str) -> str:
    """Return the state that a person means: a state name, or the folder of its root module."""
    if (folder := find_root_module(text)) is not None:
        return state_name(settings, folder, None)
    from interlock.coordinator import check_state_name

    return check_state_name(text)


async def meant_state(embedded: Embedded, settings: Settings, text: str) -> str:
    """Return the state that a person means; a state of exactly this name goes before a folder, `./name` does not.

    Otherwise a run of `--state cc` in a folder above `cc` would leave a state that no command finds as `cc`.
    """
    if find_root_module(text) is None or not is_state_name(text):
        return named_state(settings, text)
    if text in settings.states or (await embedded.coordinator.view(text)).version is not None:
        return text
    return named_state(settings, text)


def is_state_name(text: str) -> bool:
    """Say whether a state may have this name."""
    from interlock.coordinator import check_state_name

    try:
        check_state_name(text)
    except UsageError:
        return False
    return True


def find_root_module(text: str) -> Path | None:
    """Return the folder that a person names in the place of a state; None when it is the name of a state."""
    folder = Path(text)
    try:
        if not text or not folder.is_dir():
            return None
        return folder if text in {".", ".."} or holds_configuration(folder) else None
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return None


def holds_configuration(folder: Path) -> bool:
    """Say whether a folder holds Terraform or OpenTofu files."""
    return any(is_configuration(entry.name) for entry in folder.iterdir())
