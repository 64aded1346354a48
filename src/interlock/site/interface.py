"""One state, wherever it is: what every command and every run asks of it.

`OwnSite` keeps the state in the home; `ExistingSite` leaves it where plain Terraform has it. Open one with
`interlock.site.opening.open_site`; who has one need not know which it is. What one of them cannot do it says by `can`,
and `check` refuses with the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.errors import BackendUnavailable
    from interlock.existing import ExistingBackend, StoredState, TerraformLock
    from interlock.existing.inspection import Inspected
    from interlock.home.interface import Home
    from interlock.recovery.breaker import Leftovers
    from interlock.run.order import Order
    from interlock.run.surroundings import Seat, StateAccess
    from interlock.site.existing_history import StoredVersion
    from interlock.site.kinds import Can
    from interlock.site.own_versions import OwnVersions
    from interlock.site.ref import StateRef
    from interlock.state import Document, Finding, RestorePlan, Version
    from interlock.terraform.versions import ToolVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRestore:
    """A restore that was planned.

    Attributes:
        chosen: What is restored, as plain values.
        label: The same for people.
        plan: What happens.
        stored: What it would replace where the backend is not ours, as it was read for the plan; None when nothing.
    """

    chosen: Version | StoredVersion
    label: str
    plan: RestorePlan
    stored: StoredState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRepair:
    """What would make the stored state the accepted one again.

    Attributes:
        text: What it would do, or why there is nothing to do; empty where there is nothing to say.
        target: What is repaired; None when there is nothing left to do.
        question: What a person is asked.
        warning: What a person must know before; empty for nothing.
        outcome: What a person is told after it.
        is_done: It was done while it was looked for: nothing could be lost by it.
    """

    text: str
    target: Version | StoredState | None = None
    question: str = ""
    warning: str = ""
    outcome: str = ""
    is_done: bool = False


class Versions(Protocol):
    """The stored versions of one state. Everything may raise what its backend raises."""

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version.

        Args:
            text: A number, `serial:N`, the beginning of a digest; None for the current one.

        Raises:
            UsageError: There is no such version.
        """
        ...

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        ...

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before."""
        ...

    async def history(self, limit: int) -> Sequence[Version] | Sequence[StoredVersion]:
        """Return at most `limit` versions, newest first."""
        ...

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """Return what is wrong with the state and with what is around it, or with one version by itself."""
        ...

    async def plan_restore(self, text: str | None) -> PlannedRestore:
        """Plan to make a version current again; by default the newest whole one.

        Raises:
            UsageError: There is none.
            StateInvalid: It cannot be restored.
        """
        ...

    async def restore(self, planned: PlannedRestore) -> int:
        """Do what was planned, under the lock; return the serial that is current now."""
        ...

    async def accept(self) -> tuple[str, ...]:
        """End the review of a suspect version, which stands; return what it lacks, nothing when it was not suspect."""
        ...

    async def accept_deletions(self) -> None:
        """Write down that what is gone from the current state was meant to go."""
        ...

    async def current(self) -> bytes | None:
        """Return the bytes of the current version as they are stored, damaged or not; None when there is none."""
        ...

    async def push(
        self, body: bytes, *, force: bool, note: str = "pushed by hand", back_from: str = ""
    ) -> Mapping[str, Any]:
        """Store a document under the lock; return what was stored, as plain values with `serial` and `repeated`.

        Args:
            body: The document.
            force: Another lineage or an older serial is meant.
            note: Kept with the version where versions have notes, and in the audit log.
            back_from: The address to which the state was moved before and from which it comes back; its mark ends.

        Raises:
            StateInvalid: It is damaged, or may not follow the current one and `force` does not say that it may.
        """
        ...

    async def plan_repair(self) -> PlannedRepair:
        """Say what would make the stored state the accepted one again.

        Raises:
            StateInvalid: The state itself is damaged, so that a repair would only hide it.
        """
        ...

    async def repair(self, planned: PlannedRepair) -> None:
        """Do what was planned, under the lock."""
        ...


class Site(Protocol):
    """One state, opened."""

    @property
    def ref(self) -> StateRef:
        """Which state it is."""
        ...

    @property
    def home(self) -> Home:
        """Where it was opened from."""
        ...

    @property
    def subject(self) -> str:
        """What a person types for it, in hints."""
        ...

    @property
    def can(self) -> frozenset[Can]:
        """What can be done with it beyond what every state can."""
        ...

    def check(self, can: Can) -> None:
        """Refuse what cannot be done with it.

        Raises:
            UsageError: It cannot; `fix` says what can.
        """
        ...

    @property
    def kind(self) -> str:
        """`interlock`, or Terraform's word for its backend."""
        ...

    @property
    def coordinator(self) -> Coordinator | None:
        """Its queue; None without `Can.QUEUE`."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether asking its queue costs no request over a network; only with `Can.QUEUE`."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """What a run says first: where the queue is, when not beside the state, and whom that keeps out."""
        ...

    @property
    def versions(self) -> Versions:
        """What is stored of it.

        Raises:
            UsageError: The key of the audit log, where changes are written down, is none.
        """
        ...

    @property
    def backend(self) -> ExistingBackend | None:
        """Where Terraform itself keeps state and locks; None when that is our own backend."""
        ...

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """Return Terraform's own locks; none on our own backend, where Terraform's lock is a grant of the queue."""
        ...

    @property
    def leftovers(self) -> Leftovers:
        """What dead runs of this machine left of it; only with `Can.QUEUE`."""
        ...

    def access(self, order: Order, *, version: Callable[[], ToolVersion]) -> AbstractAsyncContextManager[StateAccess]:
        """Open a run's way to it; only with `Can.QUEUE`.

        Args:
            order: The run.
            version: Returns Terraform's version; asks the program, so it is called only where it is needed.
        """
        ...

    async def check_not_lost(self) -> None:
        """Refuse to begin a run on a state of which a run saw a newer one stored; elsewhere a run's access looks.

        Raises:
            StateInvalid: As after an older database was put in the place of this one.
        """
        ...

    def held(self, what: str, *, through: str = "") -> AbstractAsyncContextManager[Seat | None]:
        """Hold the state for a person's command as long as the context lasts: against runs and plain Terraform.

        Yields its grant; None where the state has no queue, or was moved, so that nobody is granted it.

        Args:
            what: What for, for people.
            through: The reason of a pause that does not hold the command back.

        Raises:
            WaitTimeout: It was not to be had in the time for which runs wait.
            LockHeld: A plain Terraform holds it.
        """
        ...

    async def keep(self) -> str:
        """Save the state as it is now, before its lock is broken; return where it is, empty when there is none."""
        ...

    async def inspect(self) -> list[Inspected]:
        """Say whether the place of its queue is fit for runs; nothing of our own backend, which `doctor` looks at."""
        ...

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """Return a failure with what decides its remedy, such as the billing mode of a table; as it was without."""
        ...

    @property
    def own(self) -> OwnVersions:
        """The versions with what only our own backend has: quarantine, pruning, records that can be mended.

        Raises:
            UsageError: The state is elsewhere.
        """
        ...
