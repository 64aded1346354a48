"""Several simulated organisations behind one address, as a region of the vendor has them. Pure.

The OAuth client decides to which organisation a token request goes, the token decides for every other call. What bears
no token (an upload to a presigned address) goes to the organisation that gave the address away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .answer import Moment, Reply, Request
from .control import CONTROL_PREFIX
from .oauth import asked_client, bearer
from .simulation import Outcome, Simulation

ORGANISATIONS_PATH = CONTROL_PREFIX + "organisations"


class Handles(Protocol):
    """What can be served: it turns a request and a moment into an outcome."""

    def handle(self, request: Request, moment: Moment) -> Outcome:
        """Serve one request; raises nothing."""


class Region:
    """Organisations that share an address.

    Args:
        organisations: At least one, each with OAuth clients of its own; ids of clients must not repeat.

    Raises:
        ValueError: There is none, or two have an OAuth client in common.
    """

    def __init__(self, organisations: Sequence[Simulation]) -> None:
        clients = [client.id for each in organisations for client in each.terms.clients]
        if not organisations or len(set(clients)) != len(clients):
            raise ValueError("a region needs organisations whose OAuth clients differ")
        self.organisations = tuple(organisations)

    def handle(self, request: Request, moment: Moment) -> Outcome:
        """Serve one request in the organisation that it belongs to; the first where it belongs to none."""
        if request.path == ORGANISATIONS_PATH:
            return Outcome(reply=Reply(content={"organisations": [_described(each) for each in self.organisations]}))
        if request.path.startswith(CONTROL_PREFIX):
            return self._named(request).handle(request, moment)
        return self._owner(request).handle(request, moment)

    def _named(self, request: Request) -> Simulation:
        """Return the organisation that a control request names with `?organisation=N`, counted from 1."""
        given = request.query.get("organisation", "1")
        at = int(given) if given.isascii() and given.isdigit() and len(given) < 4 else 1  # noqa: PLR2004 - three digits
        return self.organisations[min(max(at, 1), len(self.organisations)) - 1]

    def _owner(self, request: Request) -> Simulation:
        client, token = asked_client(request), bearer(request)
        for each in self.organisations:
            if each.login.client(client) is not None or each.login.knows(token) or each.gave_away(request.path):
                return each
        return self.organisations[0]


def _described(organisation: Simulation) -> dict[str, object]:
    clients = [client.id for client in organisation.terms.clients]
    return {"id": organisation.org.id, "clients": clients, "requests": organisation.statuses.total()}
