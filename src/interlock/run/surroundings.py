"""What a supervisor needs from the rooms beside and above it: small promises that `compose` fulfils."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from interlock.errors import InterlockError
from interlock.lock import Priority
from interlock.terraform.command import HttpBackend
from interlock.terraform.events import AnyEvent
from interlock.terraform.plan import PlanFacts

if TYPE_CHECKING:
    from interlock.creations.creation import Creation, Place
    from interlock.creations.looking import Ask
    from interlock.recovery.breaker import Noticed
    from interlock.run.entries import AnyEntry
    from interlock.run.order import Order
    from interlock.run.planned_creations import PlannedCreation
    from interlock.run.planned_for import Target
    from interlock.run.run_creations import Repeat

Tell = Callable[["AnyEntry"], None]
"""Writes one entry to the run's journal."""


class Current(Struct, frozen=True, kw_only=True):
    """The stored state as far as a run needs it; lineage empty and serial 0 when there is none.

    `at` is when it was stored by the store's own clock; None where the store does not say, or keeps a number.
    """

    lineage: str = ""
    serial: int = 0
    digest: str = ""
    number: int = 0
    at: datetime | None = None


class Seat(Struct, frozen=True, kw_only=True):
    """The right to act that a run was granted."""

    ticket: str
    token: int


class Way(Protocol):
    """What a Terraform is told of the way to its state."""

    @property
    def backend(self) -> HttpBackend | None:
        """What Terraform is told through TF_HTTP_*; None when the configuration's own backend is used."""
        ...

    @property
    def workspace(self) -> str:
        """Terraform's workspace, for TF_WORKSPACE; empty when there is only `default`."""
        ...

    @property
    def lock(self) -> bool | None:
        """What `-lock` says: None leaves Terraform its default, False when we hold Terraform's own lock."""
        ...

    @property
    def files(self) -> tuple[int, ...]:
        """Open files that Terraform keeps: Terraform's own lock is on them, and stays while it has them open."""
        ...


class StateAccess(Way, Protocol):
    """Terraform's way to its state during one run."""

    async def may_initialise(self) -> bool:
        """Say whether `terraform init` may run before the turn: it writes nothing to the backend."""
        ...

    def admit(self, seat: Seat) -> None:
        """From now on accept locks and writes of this grant; before, only reads."""
        ...

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """Keep others out who do not queue with us; wait until they have left, and say who is in the way.

        Args:
            tell: Told `standing` entries while somebody is.
            timeout_s: Seconds to wait at most; None for no bound.

        Raises:
            WaitTimeout: The time is up. Nothing is held.
        """
        ...

    async def rest(self) -> None:
        """After Terraform ended: wait, for a bounded time, until what it sent to us last is dealt with."""
        ...

    async def settle(self, tell: Tell) -> None:
        """After Terraform ended: look at what it stored, and mend what only we can; then `accepted` and `refused`."""
        ...

    async def leave(self) -> None:
        """Let others in again.

        Raises:
            InterlockError: That failed, so the grant must be left to recovery too.
        """
        ...

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """Hold every state that lacks a managed object which is not in `addresses` to be suspect (promise P6).

        Called when the apply begins. From then on Terraform acts, and what it writes is kept in any case.
        """
        ...

    def accepted(self) -> Current | None:
        """Return the last state that this run wrote; None when it wrote none."""
        ...

    def refused(self) -> InterlockError | None:
        """Return why the last write was refused; None when none was."""
        ...

    def suspect(self) -> tuple[str, ...]:
        """Return what the last state that this run wrote lacks without a reason; the state is paused then."""
        ...

    def unsaved(self) -> bytes | None:
        """Return the body of the last write that the store could not take; None when a later one was taken.

        Where Terraform writes to its own backend nothing of it comes by here.
        """
        ...

    async def current(self) -> Current:
        """Return what is stored now."""
        ...

    async def stored(self) -> bytes | None:
        """Return the stored state itself, as Terraform reads it; None when there is none."""
        ...

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:
        """Write a state that Terraform left behind, under this run's grant.

        Raises:
            InterlockError: It may not follow the current one; it is in quarantine then.
        """
        ...

    async def close(self) -> None:
        """End it."""
        ...


class Rescuer(Protocol):
    """Looks after a state while somebody waits for it: finds out whether a silent holder is gone, and acts on it."""

    async def attend(self, state: str, tell: Callable[[Noticed], None], cannot: Callable[[Exception], None]) -> None:
        """Run until cancelled; break a grant only on evidence, after its state was saved.

        `cannot` is told why it cannot be done now; it is tried again.
        """
        ...


class Gateway(Protocol):
    """The way of one run to the Genesys Cloud API."""

    async def open(self, run: str, priority: Priority, seat: Seat, folder: Path) -> Mapping[str, str]:
        """Stand before the API for a run that was granted.

        Args:
            run: Run id.
            priority: Its class of service.
            seat: Its grant; its calls pass only while the grant is current.
            folder: The folder that Terraform works in; the override file there is written anew.

        Returns:
            Environment variables for Terraform.

        Raises:
            AuthenticationFailed: The login service refused the OAuth client, or a proxy its user.
            BackendUnavailable: No connection to the login service stands.
        """
        ...

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of loopback at which it listens; none while it is not open."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What opens this way, and so is hidden in whatever is shown or kept; nothing while it is not open."""
        ...

    @property
    def writes(self) -> int | None:
        """How many calls came that may change something; None when a provider has a way of its own past the gateway."""
        ...

    async def targets(self) -> Mapping[str, Target]:
        """Return where each provider configuration leads, by its label; asks each organisation for its id."""
        ...

    def expect(self, targets: Mapping[str, Target]) -> None:
        """Refuse clients that are learned only when a provider logs in and that lead elsewhere than a plan did."""
        ...

    def ask_for(self, alias: str) -> Ask | None:
        """Return what reads from the organisation of a provider configuration of the root module, by its alias."""
        ...

    def ask_of(self, place: Place) -> Ask | None:
        """Return what reads from an organisation, as Interlock itself; None when this gateway does not lead there."""
        ...

    def adapt(self, plan: bytes) -> bytes:
        """Return a saved plan that goes through this gateway instead of the one of the run that made it."""
        ...

    def check_changes(self, plan: bytes, facts: PlanFacts, order: Order) -> None:
        """Let a plan pass whose apply can reach the organisation.

        Args:
            plan: The plan file.
            facts: What its events said.
            order: The run.

        Raises:
            UsageError: A change would ask past the gateway with a client that a server keeps.
        """
        ...

    def forecast(self, plan: PlanFacts, deadline_s: float | None, parallelism: int | None) -> Mapping[str, object]:
        """Return what the plan costs: calls, shortest duration, advice.

        Raises:
            BudgetExhausted: It cannot be done within `deadline_s`.
        """
        ...

    async def close(self) -> Mapping[str, object]:
        """Stop and return counts for the journal; nothing when it was not opened."""
        ...


Generated = tuple[str, bytes, str]
"""The configuration that Terraform generated, its plan's JSON, why it failed."""

Generate = Callable[[str, tuple[str, ...]], Awaitable[Generated]]
"""(import blocks, their addresses) -> what Terraform made of them."""


class Review(Protocol):
    """Looks at what changed outside Terraform, while the run holds its state and its gateway is open."""

    def is_needed(self, plan: PlanFacts) -> bool:
        """Say whether an apply of this plan must be looked at before it may go on."""
        ...

    async def scan(self, shown: bytes, generate: Generate) -> Mapping[str, object]:
        """Keep what a refresh-only plan found; return counts for the journal, `open` among them.

        Args:
            shown: The JSON of the plan, with secrets in clear.
            generate: Lets Terraform write configuration for unmanaged objects.
        """
        ...

    async def check(self, shown: bytes) -> None:
        """Let a plan pass.

        Raises:
            DriftGate: It would revert drift that nobody decided to revert.
        """
        ...

    async def applied(self, made: Mapping[str, str]) -> None:
        """Take note of the objects (address to id) that an apply has made or changed."""
        ...


class Creations(Protocol):
    """What a run makes, and what earlier ones made that is in no state; `RunCreations` is the real one."""

    async def begin(
        self, stored: Callable[[], Awaitable[bytes | None]], ask_of: Callable[[Place], Ask | None]
    ) -> tuple[Creation, ...]:
        """Return what earlier runs of this state left. Called while the run holds the state."""
        ...

    def expect(self, planned: Sequence[PlannedCreation]) -> tuple[Repeat, ...]:
        """Take note of what the plan makes; return what of it exists already and is in no state."""
        ...

    async def settle(
        self, stored: Callable[[], Awaitable[bytes | None]], ask_of: Callable[[Place], Ask | None], *, succeeded: bool
    ) -> tuple[Creation, ...]:
        """Strike out what the stored state holds; return what this run made that is in no state."""
        ...


class Diagnose(Protocol):
    """Names the cause of a failed Terraform command."""

    def __call__(self, events: list[AnyEvent], text: str) -> InterlockError:
        """Return the failure from its events and its plain output (stderr)."""
        ...
