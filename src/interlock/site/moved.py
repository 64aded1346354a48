"""A state that was moved to another place: the mark that its queue keeps, and what reads it.

The mark is a pause, so nobody is granted what was left behind, on any machine that queues there. It names where the
state is now, by which a second move knows the first one. While a state is being moved another mark stands, from before
anything is stored at the target: whoever is killed in between leaves one open place and never two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.errors import UsageError, command
from interlock.late_pattern import late

if TYPE_CHECKING:
    from interlock.coordinator import View
    from interlock.lock import Pause
    from interlock.site.interface import Site
    from interlock.site.ref import StateRef

_MOVED, _MOVING, _ARRIVING = "moved to ", "being moved to ", "being moved here from "
_STORED = late(r"interlock:(?P<state>\S+) (?P<which>at|in) (?P<place>.+)")
_SERVER, _MACHINE = "at", "in"


def name_of(site: Site, seen_from: Site) -> str:
    """Return by what address the queue of another place names this one.

    A state of our own backend is at `interlock:NAME` in every store, so that of another store, or of a server, which
    many know, is named with its store.
    """
    ref, home = site.ref, site.home
    if not ref.is_own:
        return ref.address
    if home.team_runs is not None:
        return f"{ref.address} {_SERVER} {home.place}"
    if home is seen_from.home:
        return ref.address
    return f"{ref.address} {_MACHINE} {home.place} on {home.me.rpartition('@')[2]}"


def moved_to(address: str) -> str:
    """Return the reason of the pause of a state that is at another address now."""
    return f"{_MOVED}{address}"


def moving_to(address: str) -> str:
    """Return the reason of the pause of a state that is being moved to another address."""
    return f"{_MOVING}{address}"


def arriving_from(address: str) -> str:
    """Return the reason of the pause of a state whose versions are still being brought here from another address."""
    return f"{_ARRIVING}{address}"


def address_arriving_from(pause: Pause | None) -> str:
    """Return from where the paused state is being moved here; empty when it is paused for another reason, or not."""
    return _address(pause, _ARRIVING)


def address_moving_to(pause: Pause | None) -> str:
    """Return where the paused state is being moved; empty when it is paused for another reason, or not at all."""
    return _address(pause, _MOVING)


def address_moved_to(pause: Pause | None) -> str:
    """Return where the paused state was moved; empty when it is paused for another reason, or not at all."""
    return _address(pause, _MOVED)


def _address(pause: Pause | None, mark: str) -> str:
    reason = pause.reason if pause is not None else ""
    return reason.removeprefix(mark) if reason.startswith(mark) else ""


def check_not_moved(view: View, ref: StateRef) -> None:
    """Refuse a run on what was left behind of a state.

    Raises:
        UsageError: The state is elsewhere now.
    """
    check_pause(view.lock.pause, ref)


def check_pause(pause: Pause | None, ref: StateRef) -> None:
    """Refuse to wait for a state whose pause says that it was moved, or is being moved: it could be for ever.

    Raises:
        UsageError: The state is elsewhere now, or will be, or is on its way here.
    """
    if pause is None:
        return
    place = str(ref.directory if ref.directory is not None else ref.queue)
    if address := address_moving_to(pause):
        raise UsageError(
            f"the state of {place} is being moved to {address}",
            why=f"{_began(pause)}; until it is done nobody works here",
            fix=f"{_again(ref, address, place)}    finishes it if that command was killed"
            f"; to stay here, once nobody works at {address}: {command('queue', 'resume', ref.queue)}",
        )
    if address := address_arriving_from(pause):
        raise UsageError(
            f"the state of {place} is being moved here from {address}",
            why=f"{_began(pause)}; until all of it is here nobody works on it",
            fix=f"{_bring(ref, address, place)}    finishes it if that command was killed",
        )
    if address := address_moved_to(pause):
        raise UsageError(
            f"the state of {place} was moved to {address}",
            why=f"{pause.by} moved it at {pause.since:%Y-%m-%d %H:%M:%SZ}, and this configuration leads to what was "
            f"left at {ref.address}",
            fix=_ways(ref, address, place),
        )


def _began(pause: Pause) -> str:
    return f"{pause.by} began at {pause.since:%Y-%m-%d %H:%M:%SZ}"


def _again(ref: StateRef, address: str, place: str) -> str:
    """Return the command that moves a state from here to an address, once more."""
    if not ref.is_own:
        return _at_server(address, command("adopt", place))
    match _store_of(address):
        case None:
            return command("leave", place)
        case "at", server:
            return f"{command('login', server)}    then: {_import(ref.queue, _state_of(address))}"
        case _, machine:
            return f"{_export(ref.queue, _state_of(address))}    on {_host(machine)}"


def _bring(ref: StateRef, address: str, place: str) -> str:
    """Return the command that moves a state from an address to here, once more; it is a state of our own backend."""
    match _store_of(address):
        case None:
            return command("adopt", place)
        case "at", server:
            return f"{command('login', server)}    then: {_export(_state_of(address), ref.queue)}"
        case _, machine:
            return f"{_import(_state_of(address), ref.queue)}    on {_host(machine)}"


def _ways(ref: StateRef, address: str, place: str) -> str:
    """Return what leads whoever came here to where the state is now, and what brings it back."""
    if not ref.is_own:
        back = f"or bring the state back: {command('leave', place)}"
        return f"{_at_server(address, command('adopt', place, '--edit'))}    {back}"
    match _store_of(address):
        case "at", server:
            back = _export(_state_of(address), ref.queue)
            return f"{command('login', server)}    to work there; to bring it back, then: {back}"
        case "in", _:
            return f"{_bring(ref, address, place)}, brings it back; or work there"
        case _:
            return f"declare the backend where it is now    or bring the state back: {_bring(ref, address, place)}"


def _import(state: str, name: str) -> str:
    return command("state", "import", state, *_renamed(state, name))


def _export(state: str, name: str) -> str:
    return command("state", "export", state, *_renamed(state, name))


def _renamed(state: str, name: str) -> tuple[str, ...]:
    return ("--as", name) if name != state else ()


def _at_server(address: str, words: str) -> str:
    """Return a command as it is given at the store that an address names."""
    match _store_of(address):
        case "at", server:
            return f"{command('login', server)}    then: {words}"
        case _:
            return words


def _store_of(address: str) -> tuple[str, str] | None:
    """Return which store an address names, and whether it is at a server or in a file; None when it names none."""
    found = _STORED.fullmatch(address)
    return None if found is None else (found["which"], found["place"])


def _state_of(address: str) -> str:
    found = _STORED.fullmatch(address)
    return address if found is None else found["state"]


def _host(machine: str) -> str:
    return machine.rpartition(" on ")[2]
