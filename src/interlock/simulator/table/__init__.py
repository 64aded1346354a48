"""The table of collections: what each kind of object holds, and the few ways in which it behaves like no other. Pure.

Fields, versions and paths come from the published SDK models and from what the provider sends; statuses of refusals
that nobody outside documents are ours and stand so in docs/reference/simulator.md.
"""

from __future__ import annotations

from functools import cache

from interlock.simulator.answer import Moment
from interlock.simulator.collection import Declared
from interlock.simulator.org import Kind, Organisation
from interlock.simulator.routes import Route
from interlock.simulator.row import Row

from . import digital, edges, integrations, knowledge, menus, outbound, people, quality, queues, telephony, work

_ROOMS = (people, queues, menus, integrations, outbound, knowledge, telephony, edges, work, quality, digital)

ROWS: tuple[Row, ...] = tuple(row for room in _ROOMS for row in room.ROWS)
"""Every row, in no order that matters."""


def kinds() -> tuple[Kind, ...]:
    """Return the kinds that the rows need in the organisation."""
    return (*(row.as_kind() for row in ROWS), *(kind for room in _ROOMS for kind in room.KINDS))


@cache
def routes() -> tuple[Route, ...]:
    """Return the routes of every row, and those of the special behaviours; they hold no organisation's state."""
    engines = {row.kind: Declared(row, ROWS) for row in ROWS}
    usual = [route for engine in engines.values() for route in engine.routes()]
    return (*usual, *(route for room in _ROOMS for route in room.routes(engines)))


def found(org: Organisation, moment: Moment) -> None:
    """Create what every organisation has from its first day."""
    for room in _ROOMS:
        room.found(org, moment)
