"""The only place where hands are chosen and joined: stores, clocks, ids, the environment, servers.

A name's module is imported when the name is first asked for: what `queue ls` needs is a third of what a run needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.compose.drifting import DriftRoom, drift_room
    from interlock.compose.locks import Queue, breaker, change_lock, hold_by_hand, holding, queues, release_by_hand
    from interlock.compose.ordering import Asked, order_run
    from interlock.compose.runs import await_run, bury, cancel_run, find_run, is_abandoned, prune_runs, recent_runs
    from interlock.compose.serving import parse_listen, serve
    from interlock.compose.sites import BootstrapAsked, open_account, wanted_of
    from interlock.compose.states import StateRoom, StoredState, prune_state, stored_states
    from interlock.compose.supervising import Desk, at_most_every, diagnose_failure, open_desk, supervise

__all__ = [
    "Asked",
    "BootstrapAsked",
    "Desk",
    "DriftRoom",
    "Queue",
    "StateRoom",
    "StoredState",
    "at_most_every",
    "await_run",
    "breaker",
    "bury",
    "cancel_run",
    "change_lock",
    "diagnose_failure",
    "drift_room",
    "find_run",
    "hold_by_hand",
    "holding",
    "is_abandoned",
    "open_account",
    "open_desk",
    "order_run",
    "parse_listen",
    "prune_runs",
    "prune_state",
    "queues",
    "recent_runs",
    "release_by_hand",
    "serve",
    "stored_states",
    "supervise",
    "wanted_of",
]

_MODULES = {
    "drifting": (
        "DriftRoom",
        "drift_room",
    ),
    "locks": (
        "Queue",
        "breaker",
        "change_lock",
        "hold_by_hand",
        "holding",
        "queues",
        "release_by_hand",
    ),
    "ordering": (
        "Asked",
        "order_run",
    ),
    "runs": (
        "await_run",
        "bury",
        "cancel_run",
        "find_run",
        "is_abandoned",
        "prune_runs",
        "recent_runs",
    ),
    "serving": (
        "parse_listen",
        "serve",
    ),
    "sites": (
        "BootstrapAsked",
        "open_account",
        "wanted_of",
    ),
    "states": (
        "StateRoom",
        "StoredState",
        "prune_state",
        "stored_states",
    ),
    "supervising": (
        "Desk",
        "at_most_every",
        "diagnose_failure",
        "open_desk",
        "supervise",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return found
