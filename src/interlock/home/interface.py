"""What every home is: one queue, one set of states and one memory for all the people and pipelines that share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from interlock.audit import Head
from interlock.audit.interface import Audit
from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.coordinator.archive_interface import Archive
from interlock.coordinator.interface import HeadKeeper
from interlock.creations.book import CreationBook
from interlock.drift.ledger import LedgerBook
from interlock.home.known import KnownState, KnownStates
from interlock.ids import Ids
from interlock.policy.books import Approvals
from interlock.policy.policy_book import PolicyKeeper
from interlock.settings.values import Settings
from interlock.store.fault import Fault
from interlock.store.records import RecordStore

if TYPE_CHECKING:
    from interlock.home.server_runs import ServerRuns
    from interlock.rights import Right
    from interlock.store.vault import Vault

Told = Callable[[Head], None]
"""Is told the head of the audit log after each decision, so that a person's own log has it."""


Say = Callable[[str], None]
"""Tells whoever typed a command something while it works, in one line."""


class Home(Protocol):
    """Where a command works. Made in one place and passed in; nothing else opens a store or constructs a clock."""

    @property
    def settings(self) -> Settings:
        """What holds for this command."""
        ...

    @property
    def say(self) -> Say:
        """How whoever waits for a command hears what it waits for."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people: a file, or the address of a server."""
        ...

    @property
    def me(self) -> str:
        """Who acts, as Terraform spells it: `user@host`."""
        ...

    @property
    def person(self) -> str:
        """Who acts, by which nobody can call themselves another: two persons are told apart by it."""
        ...

    @property
    def policies(self) -> PolicyKeeper:
        """The home's own policies."""
        ...

    @property
    def approvals(self) -> Approvals:
        """Requests for approval, and the plans that wait for it."""
        ...

    @property
    def audit(self) -> Audit:
        """Who decided what.

        Raises:
            UsageError: The operator has named a key for it, which is none.
        """
        ...

    @property
    def coordinator(self) -> Coordinator:
        """Queues and locks of the states that are kept here."""
        ...

    @property
    def beside(self) -> HeadKeeper:
        """Queues of states in other backends, beside which none can be kept. It notes what their holders stored."""
        ...

    @property
    def archive(self) -> Archive:
        """Versions of the states that are kept here."""
        ...

    @property
    def drift(self) -> LedgerBook:
        """Scans and decisions about drift."""
        ...

    @property
    def creations(self) -> CreationBook:
        """What runs made that no state is known to hold."""
        ...

    @property
    def states(self) -> KnownStates:
        """The states that were worked with from here, wherever they are."""
        ...

    @property
    def runs(self) -> Path:
        """The folder that holds one folder a run."""
        ...

    @property
    def clock(self) -> Clock:
        """For instants and durations."""
        ...

    @property
    def ids(self) -> Ids:
        """For tickets and ids."""
        ...

    def budgets(self, state: str) -> RecordStore:
        """Return where runs share the limits of organisations; nothing else is kept there that decides.

        Args:
            state: On whose behalf; empty for a look.
        """
        ...

    async def faults(self) -> Sequence[Fault]:
        """Look at all that is stored; return what is wrong with it, as far as we may know."""
        ...

    @property
    def team_runs(self) -> ServerRuns | None:
        """The runs of all who use this home, wherever they work; None where all of them work on this machine."""
        ...

    @property
    def vault(self) -> Vault | None:
        """What encrypts the store of this home; None when nothing does, or when that is a server's own business."""
        ...

    async def check_may(self, right: Right, state: str) -> None:
        """Refuse what the server in use would refuse for its own states, of one whose queue it does not keep.

        Raises:
            AuthenticationFailed: Our token does not have that right there. On this machine everybody has every right.
        """
        ...

    async def keep_room(self) -> None:
        """Keep some space for states, should the disk become full."""
        ...

    def settings_in(self, directory: Path, environ: Mapping[str, str]) -> Settings:
        """Return what holds in a root module, as a run there would read it.

        Raises:
            UsageError: A value or a key is wrong.
        """
        ...

    async def keeps(self, state: str) -> bool:
        """Say whether a state of Interlock's own backend was ever asked for under this name."""
        ...

    async def has_version(self, state: str) -> bool:
        """Say whether such a state has content."""
        ...

    async def known(self, word: str) -> KnownState | None:
        """Return a state that was worked with, by its queue or its address."""
        ...

    async def known_in(self, directory: Path) -> Sequence[KnownState]:
        """Return the states that were worked with from a root module, the newest first."""
        ...

    def state_of_run(self, run: str) -> str | None:
        """Return the queue of a run's state; None when there is no such run."""
        ...

    async def state_of_lock(self, lock_id: str) -> str | None:
        """Return the state of Interlock's own backend that a lock id holds; None when none does."""
        ...
