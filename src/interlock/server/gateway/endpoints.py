"""Endpoints about organisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.api.organisations import (
    AskedPlaceholder,
    NewClient,
    NewOrganisation,
    Placeholder,
    ToldGateway,
    ToldOrganisation,
    ToldOrganisations,
)
from interlock.audit.announcing import Announce, announcing
from interlock.gateway.allotment import Allotment
from interlock.rights import Right
from interlock.server.api.locks import OfQueue
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, acts, reads
from interlock.server.gateway.book import OrganisationBook
from interlock.server.gateway.organisation import Organisation
from interlock.store.before import Before

if TYPE_CHECKING:
    from interlock.audit.log import AuditLog
    from interlock.server.gateway.doors import GatewayDoors


class Named(Struct, frozen=True, kw_only=True):
    """Asks about one organisation.

    Attributes:
        name: Its name.
    """

    name: str


def told_organisation(found: Organisation) -> ToldOrganisation:
    """Return what may be told of an organisation."""
    return ToldOrganisation(
        name=found.name,
        region=found.region,
        client_id=found.client_id,
        states=list(found.states),
        made_by=found.made_by,
        made_at=found.made_at,
        rotated_at=found.rotated_at,
    )


class OrganisationKeeper:
    """Changes organisations, and writes each change down.

    Args:
        book: Where they are.
        audit: Hears who did what.
    """

    def __init__(self, book: OrganisationBook, audit: AuditLog) -> None:
        self._book = book
        self._audit = audit

    async def add(self, asked: NewOrganisation, *, by: str, upstream: tuple[str, str] | None = None) -> Organisation:
        """See `OrganisationBook.add`."""
        async with announcing(self._audit, by=by) as announce:

            async def before(made: Organisation, _version: int) -> None:
                facts = {"region": made.region, "client": made.client_id, "states": ", ".join(made.states)}
                await announce("organisation-added", subject=made.name, facts=facts)

            return await self._book.add(asked, by=by, upstream=upstream, before=before)

    async def rotate(self, name: str, asked: NewClient, *, by: str) -> Organisation:
        """See `OrganisationBook.rotate`."""
        async with announcing(self._audit, by=by) as announce:
            before = _telling(announce, "organisation-rotated")
            return await self._book.rotate(name, secret=asked.secret, client_id=asked.client_id, before=before)

    async def remove(self, name: str, *, by: str) -> Organisation:
        """See `OrganisationBook.remove`."""
        async with announcing(self._audit, by=by) as announce:
            return await self._book.remove(name, before=_telling(announce, "organisation-removed"))

    async def all(self) -> ToldOrganisations:
        """Return all, without secrets."""
        return ToldOrganisations(organisations=[told_organisation(each) for each in await self._book.all()])


def _telling(announce: Announce, action: str) -> Before[Organisation]:
    async def before(one: Organisation, version: int) -> None:
        await announce(action, subject=one.name, facts={"client": one.client_id, "record_version": version})

    return before


def organisation_endpoints(keeper: OrganisationKeeper) -> list[AnyEndpoint]:
    """Return the rows: for administrators alone."""

    async def add(call: Call[NoQuery, NewOrganisation]) -> ToldOrganisation:
        """Keep the OAuth client of an organisation, encrypted."""
        return told_organisation(await keeper.add(call.body, by=call.caller.who))

    async def all_of_them(_call: Call[NoQuery, NoBody]) -> ToldOrganisations:
        """The organisations whose OAuth clients the server keeps, without their secrets."""
        return await keeper.all()

    async def rotate(call: Call[Named, NewClient]) -> ToldOrganisation:
        """Replace the OAuth client of an organisation, or its secret."""
        return told_organisation(await keeper.rotate(call.query.name, call.body, by=call.caller.who))

    async def remove(call: Call[Named, NoBody]) -> None:
        """Forget an organisation and its OAuth client."""
        await keeper.remove(call.query.name, by=call.caller.who)

    return [
        reads("/organisations", all_of_them, right=Right.ADMINISTER, query=NoQuery, answer=ToldOrganisations),
        acts(
            "/organisations", add, right=Right.ADMINISTER, query=NoQuery, body=NewOrganisation, answer=ToldOrganisation
        ),
        acts(
            "/organisations/client",
            rotate,
            method="PUT",
            right=Right.ADMINISTER,
            query=Named,
            body=NewClient,
            answer=ToldOrganisation,
        ),
        acts("/organisations", remove, method="DELETE", right=Right.ADMINISTER, query=Named, body=NoBody, answer=None),
    ]


def gateway_endpoints(doors: GatewayDoors) -> list[AnyEndpoint]:
    """Return the rows: for runs."""

    async def tell(call: Call[OfQueue, NoBody]) -> ToldGateway:
        """The organisation whose gateway runs of a state go through."""
        return await doors.tell(call.query.state)

    async def give(call: Call[OfQueue, AskedPlaceholder]) -> Placeholder:
        """A way to the organisation for the run that holds a state, good while it does."""
        query, asked = call.query, call.body
        allotment = None if asked.share is None else Allotment(share=asked.share, policy=asked.policy)
        return await doors.give(
            call.caller,
            query.state,
            beside=query.beside,
            ticket=asked.ticket,
            token=asked.token,
            allotment=allotment,
        )

    return [
        reads("/gateway", tell, right=Right.PLAN, query=OfQueue, answer=ToldGateway),
        acts("/gateway/placeholder", give, right=Right.PLAN, query=OfQueue, body=AskedPlaceholder, answer=Placeholder),
    ]
