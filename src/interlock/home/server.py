"""The home of a team: queues, states and memory at a server; runs stay on this machine, in the folder of its own home.

What a command does not ask for is not imported: each part is made late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.clock import SystemClock
from interlock.errors import AuthenticationFailed, UsageError, command
from interlock.home.parts import FromParts
from interlock.ids import RandomIds
from interlock.settings.values import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.audit.interface import Audit
    from interlock.clock import Clock
    from interlock.coordinator import Coordinator
    from interlock.coordinator.archive_interface import Archive
    from interlock.coordinator.interface import HeadKeeper
    from interlock.creations.book import CreationBook
    from interlock.drift.ledger import LedgerBook
    from interlock.home.interface import Told
    from interlock.home.known import KnownStates
    from interlock.home.line import Line
    from interlock.home.server_runs import ServerRuns
    from interlock.ids import Ids
    from interlock.policy.books import Approvals
    from interlock.policy.policy_book import PolicyKeeper
    from interlock.rights import Right
    from interlock.store.fault import Fault
    from interlock.store.records import RecordStore


class MyRights(Struct, frozen=True, kw_only=True):
    """What a server says that our token may do to a state.

    Attributes:
        who: As the server writes us down.
        rights: Their names.
    """

    who: str
    rights: list[str]


class ServerHome(FromParts):
    """See `interlock.home.interface.Home`.

    Args:
        settings: What holds for this command.
        line: The way to the server.
        clock: For durations here; instants that decide anything are the server's.
        ids: For tickets.
        told: See `Told`; None for nobody.
    """

    def __init__(self, settings: Settings, line: Line, *, clock: Clock, ids: Ids, told: Told | None = None) -> None:
        self.settings = settings
        self.line = line
        self.clock = clock
        self.ids = ids
        self._told = told
        self._mine: dict[str, MyRights] = {}

    @property
    def place(self) -> str:
        """See `Home.place`."""
        return self.line.url

    @cached_property
    def policies(self) -> PolicyKeeper:
        """See `Home.policies`: those of the server, which no repository can leave out."""
        from interlock.home.server_books import ServerPolicies

        return ServerPolicies(self.line)

    @cached_property
    def approvals(self) -> Approvals:
        """See `Home.approvals`: at the server, which says who asks and who decides."""
        from interlock.home.server_approvals import ServerApprovals

        return ServerApprovals(self.line, self.clock)

    @cached_property
    def audit(self) -> Audit:
        """See `Home.audit`."""
        from interlock.home.server_books import ServerAudit

        return ServerAudit(self.line, self.ids, told=self._told)

    @cached_property
    def coordinator(self) -> Coordinator:
        """See `Home.coordinator`."""
        from interlock.home.server_coordinator import ServerCoordinator

        return ServerCoordinator(self.line, self.clock, self.ids)

    @cached_property
    def beside(self) -> HeadKeeper:
        """See `Home.beside`."""
        from interlock.home.server_coordinator import ServerQueueBeside

        return ServerQueueBeside(self.line, self.clock, self.ids)

    @cached_property
    def archive(self) -> Archive:
        """See `Home.archive`."""
        from interlock.home.server_archive import ServerArchive

        return ServerArchive(self.line)

    @cached_property
    def drift(self) -> LedgerBook:
        """See `Home.drift`."""
        from interlock.drift.ledger import LedgerBook
        from interlock.home.server_books import ServerScans

        return LedgerBook(self.budgets(""), ServerScans(self.line))

    @cached_property
    def creations(self) -> CreationBook:
        """See `Home.creations`."""
        from interlock.creations.book import CreationBook

        return CreationBook(self.budgets(""))

    @cached_property
    def states(self) -> KnownStates:
        """See `Home.states`."""
        from interlock.home.known import KnownStates

        return KnownStates(self.budgets(""))

    def budgets(self, state: str) -> RecordStore:
        """See `Home.budgets`."""
        from interlock.home.server_books import ServerRecords

        return ServerRecords(self.line, self.clock, on_behalf=state)

    async def faults(self) -> Sequence[Fault]:
        """See `Home.faults`. Who may not administer the server is not told."""
        from interlock.api.books import ToldFaults
        from interlock.store.fault import Fault

        try:
            told: ToldFaults = await self.line.ask_for(ToldFaults, "GET", "/store/faults")
        except AuthenticationFailed as error:
            if error.http_status == AuthenticationFailed.http_status:
                raise
            return ()
        return tuple(Fault(what=each.what, key=each.key) for each in told.faults)

    @cached_property
    def team_runs(self) -> ServerRuns:
        """See `Home.team_runs`."""
        from interlock.home.server_runs import ServerRuns

        return ServerRuns(self.line)

    @property
    def vault(self) -> None:
        """See `Home.vault`."""

    async def check_may(self, right: Right, state: str) -> None:
        """See `Home.check_may`. Asked once a state: a run goes on with what its token could do when it began."""
        if state not in self._mine:
            told: MyRights = await self.line.ask_for(MyRights, "GET", "/me", {"state": state})
            self._mine[state] = told
        mine = self._mine[state]
        if right.value not in mine.rights:
            from interlock.rights.roles import least_role
            from interlock.rights.token import Forbidden, token_for

            raise Forbidden(
                f"{mine.who} may not {right.value} {state}",
                why=f"the token for {self.place} does not have that right on this state",
                fix=token_for(least_role(right), state),
            )

    async def keep_room(self) -> None:
        """See `Home.keep_room`: the server keeps its own."""


@asynccontextmanager
async def open_server_home(
    settings: Settings, *, told: Told | None = None, patience_s: float = 0.0
) -> AsyncIterator[ServerHome]:
    """Open the home at the server that the settings name, for as long as the context lasts.

    Args:
        settings: Which.
        told: See `Told`; None for nobody.
        patience_s: See `Line`.

    Raises:
        UsageError: There is no token for it.
    """
    from interlock.home.line import Line

    assert settings.server is not None, "no server was chosen"
    if settings.token is None:
        raise UsageError(
            f"there is no token for {settings.server}",
            why=f"the server is set ({settings.origins.get('server', 'by the run')}), and it asks who you are",
            fix=f"{command('login', settings.server)}    or set INTERLOCK_TOKEN",
        )
    clock = SystemClock()
    line = Line(settings.server, settings.token, clock, patience_s=patience_s)
    try:
        yield ServerHome(settings, line, clock=clock, ids=RandomIds(), told=told)
    finally:
        await line.close()
