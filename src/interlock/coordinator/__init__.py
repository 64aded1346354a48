"""The loop of load, decide, swap, perform. The only room that knows both locks and stores.

Hands are imported by full path: `interlock.coordinator.local`. Names load when they are first used: what orders a run
needs the names of states alone, and the lock takes 10 ms to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.coordinator.interface import Coordinator, OnChange
    from interlock.coordinator.names import check_state_name
    from interlock.coordinator.record import Head, StateRecord
    from interlock.coordinator.refusals import HeadMoved, PlaceLost
    from interlock.coordinator.view import Standing, View, standing_of
else:
    _HOMES = {
        "interface": ("Coordinator", "OnChange"),
        "names": ("check_state_name",),
        "record": ("Head", "StateRecord"),
        "refusals": ("HeadMoved", "PlaceLost"),
        "view": ("Standing", "View", "standing_of"),
    }
    _MODULES = {name: module for module, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(name)
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "Coordinator",
    "Head",
    "HeadMoved",
    "OnChange",
    "PlaceLost",
    "Standing",
    "StateRecord",
    "View",
    "check_state_name",
    "standing_of",
]
