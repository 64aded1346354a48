"""The loop of load, decide, swap, perform. The only room that knows both locks and stores.

Hands are imported by full path: `interlock.coordinator.local`.
"""

from __future__ import annotations

from interlock.coordinator.interface import Coordinator, OnChange
from interlock.coordinator.names import check_state_name
from interlock.coordinator.record import Head, StateRecord
from interlock.coordinator.refusals import HeadMoved, PlaceLost
from interlock.coordinator.view import Standing, View, standing_of

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
