"""A state that was moved to another place: the mark that its queue keeps, and what reads it.

The mark is a pause, so nobody is granted what was left behind, on any machine that queues there. It names where the
state is now, by which a second move knows the first one. While a state is being moved another mark stands, from before
anything is stored at the target: whoever is killed in between leaves one open place and never two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.coordinator import View
    from interlock.lock import Pause
    from interlock.site.ref import StateRef

_MOVED, _MOVING = "moved to ", "being moved to "


def moved_to(address: str) -> str:
    """Return the reason of the pause of a state that is at another address now."""
    return f"{_MOVED}{address}"


def moving_to(address: str) -> str:
    """Return the reason of the pause of a state that is being moved to another address."""
    return f"{_MOVING}{address}"


def address_moving_to(pause: Pause | None) -> str:
    """Return where the paused state is being moved; empty when it is paused for another reason, or not at all."""
    reason = pause.reason if pause is not None else ""
    return reason.removeprefix(_MOVING) if reason.startswith(_MOVING) else ""


def address_moved_to(pause: Pause | None) -> str:
    """Return where the paused state was moved; empty when it is paused for another reason, or not at all."""
    reason = pause.reason if pause is not None else ""
    return reason.removeprefix(_MOVED) if reason.startswith(_MOVED) else ""


def check_not_moved(view: View, ref: StateRef) -> None:
    """Refuse a run on what was left behind of a state.

    Raises:
        UsageError: The state is elsewhere now.
    """
    check_pause(view.lock.pause, ref)


def check_pause(pause: Pause | None, ref: StateRef) -> None:
    """Refuse to wait for a state whose pause says that it was moved, or is being moved: it could be for ever.

    Raises:
        UsageError: The state is elsewhere now, or will be.
    """
    if pause is not None and (address := address_moving_to(pause)):
        raise _is_under_way(pause, address, ref)
    address = address_moved_to(pause)
    if pause is None or not address:
        return
    place = ref.directory if ref.directory is not None else ref.queue
    here = command("leave", place) if not ref.is_own else command("adopt", place)
    raise UsageError(
        f"the state of {place} was moved to {address}",
        why=f"{pause.by} moved it at {pause.since:%Y-%m-%d %H:%M:%SZ}, and this configuration leads to what was left "
        f"at {ref.address}",
        fix=f"{_edit(ref)}    or bring the state back: {here}",
    )


def _is_under_way(pause: Pause, address: str, ref: StateRef) -> UsageError:
    place = ref.directory if ref.directory is not None else ref.queue
    again = command("leave", place) if ref.is_own else command("adopt", place)
    return UsageError(
        f"the state of {place} is being moved to {address}",
        why=f"{pause.by} began at {pause.since:%Y-%m-%d %H:%M:%SZ}; until it is done nobody works here",
        fix=f"{again}    finishes it if that command was killed"
        f"; to stay here, once nobody works at {address}: {command('queue', 'resume', ref.queue)}",
    )


def _edit(ref: StateRef) -> str:
    if ref.is_own:
        return "declare the backend where it is now"
    return command("adopt", ref.root_module, "--edit")
