"""The only place where hands are chosen and joined: stores, clocks, ids, the environment, servers.

A name's module is imported when the name is first asked for: what `queue ls` needs is a third of what a run needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.compose.drifting import DriftRoom, drift_room
    from interlock.compose.locks import breaker, change_lock, hold_by_hand, holding, release_by_hand, views
    from interlock.compose.names import (
        check_not_renamed,
        find_root_module,
        holds_configuration,
        is_state_name,
        meant_state,
        named_state,
        state_name,
        states_so_far,
    )
    from interlock.compose.ordering import Asked, order_run
    from interlock.compose.runs import await_run, bury, cancel_run, find_run, is_abandoned, prune_runs
    from interlock.compose.serving import parse_listen, serve
    from interlock.compose.sites import (
        BootstrapAsked,
        check_reads,
        declared_site,
        locate,
        named_site,
        open_account,
        open_site_of,
        wanted_of,
    )
    from interlock.compose.states import StateRoom, prune_state
    from interlock.compose.stores import Embedded, me, open_embedded, read_settings
    from interlock.compose.supervising import Desk, at_most_every, diagnose_failure, open_desk, supervise

__all__ = [
    "Asked",
    "BootstrapAsked",
    "Desk",
    "DriftRoom",
    "Embedded",
    "StateRoom",
    "at_most_every",
    "await_run",
    "breaker",
    "bury",
    "cancel_run",
    "change_lock",
    "check_not_renamed",
    "check_reads",
    "declared_site",
    "diagnose_failure",
    "drift_room",
    "find_root_module",
    "find_run",
    "hold_by_hand",
    "holding",
    "holds_configuration",
    "is_abandoned",
    "is_state_name",
    "locate",
    "me",
    "meant_state",
    "named_site",
    "named_state",
    "open_account",
    "open_desk",
    "open_embedded",
    "open_site_of",
    "order_run",
    "parse_listen",
    "prune_runs",
    "prune_state",
    "read_settings",
    "release_by_hand",
    "serve",
    "state_name",
    "states_so_far",
    "supervise",
    "views",
    "wanted_of",
]

_MODULES = {
    "drifting": (
        "DriftRoom",
        "drift_room",
    ),
    "locks": (
        "breaker",
        "change_lock",
        "hold_by_hand",
        "holding",
        "release_by_hand",
        "views",
    ),
    "names": (
        "check_not_renamed",
        "find_root_module",
        "holds_configuration",
        "is_state_name",
        "meant_state",
        "named_state",
        "state_name",
        "states_so_far",
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
    ),
    "serving": (
        "parse_listen",
        "serve",
    ),
    "sites": (
        "BootstrapAsked",
        "check_reads",
        "declared_site",
        "locate",
        "named_site",
        "open_account",
        "open_site_of",
        "wanted_of",
    ),
    "states": (
        "StateRoom",
        "prune_state",
    ),
    "stores": (
        "Embedded",
        "me",
        "open_embedded",
        "read_settings",
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
