"""What can be done with a state, by where it is: the one table of backend types.

A backend on which runs can work is one row that names what keeps the queue beside it. Every run's front end imports
this, so what a row needs is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from interlock.errors import UsageError, command
from interlock.site.ref import Existing, StateRef

if TYPE_CHECKING:
    from interlock.coordinator.interface import HeadKeeper
    from interlock.errors import BackendUnavailable
    from interlock.existing import ExistingBackend, Found
    from interlock.existing.inspection import Inspected
    from interlock.gateway.sharing import LedgerPlace
    from interlock.home.interface import Home


class Can(Enum):
    """What not every state can."""

    QUEUE = "queue"
    """It has a queue, so runs work on it where it is."""
    HOLD = "hold"
    """Its lock outlives the command that took it, so a person can hold it."""
    QUARANTINE = "quarantine"
    """Refused writes are kept for review."""
    PRUNE = "prune"
    """Old versions are ours to delete."""


class QueueBeside(Protocol):
    """The queue of a state that stays elsewhere, kept beside it."""

    @property
    def coordinator(self) -> HeadKeeper:
        """The queue."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether asking it costs no request over a network."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """What a run says first of where the queue is, when that is not beside the state."""
        ...

    def budgets(self) -> LedgerPlace | None:
        """Return where the runs of all machines with states here share their organisations' limits; None: nowhere."""
        ...

    async def inspect(self) -> list[Inspected]:
        """Say whether the place is fit for runs, for `interlock doctor`."""
        ...

    async def explained(self, error: BackendUnavailable) -> BackendUnavailable:
        """See `interlock.site.interface.Site.explained`."""
        ...

    async def close(self) -> None:
        """Let go of its connections; those of the backend are not its own."""
        ...


class OpenQueue(Protocol):
    """Opens the queue beside a backend."""

    def __call__(self, backend: ExistingBackend, found: Found, home: Home) -> QueueBeside:
        """Return it; makes no request."""
        ...


class Way(Enum):
    """How a run's Terraform comes to its state."""

    OWN_BACKEND = "own-backend"
    """By the configuration's own backend, without a lock of its own: ours keeps others out, and lets it write."""
    DOOR = "door"
    """By an address of the run on loopback: who holds the lock of such a backend is the only one who can write."""


class Kind(Struct, frozen=True, kw_only=True):
    """A place where states are.

    Attributes:
        can: What can be done with them there.
        queue: Returns what opens a queue there; None without one.
        place: The settings that say which state it is, as Terraform records them in `.terraform`.
        way: How a run's Terraform comes to them.
    """

    can: frozenset[Can]
    queue: Callable[[], OpenQueue] | None = None
    place: tuple[str, ...] = ()
    way: Way = Way.OWN_BACKEND


def _queue_on_s3() -> OpenQueue:
    from interlock.site.s3_queue import open_s3_queue

    return open_s3_queue


def _queue_on_google() -> OpenQueue:
    from interlock.site.beside_queue import open_gcs_queue

    return open_gcs_queue


def _queue_on_azure() -> OpenQueue:
    from interlock.site.beside_queue import open_azure_queue

    return open_azure_queue


def _queue_in_postgres() -> OpenQueue:
    from interlock.site.beside_queue import open_pg_queue

    return open_pg_queue


def _queue_in_consul() -> OpenQueue:
    from interlock.site.beside_queue import open_consul_queue

    return open_consul_queue


def _queue_in_kubernetes() -> OpenQueue:
    from interlock.site.beside_queue import open_kubernetes_queue

    return open_kubernetes_queue


def _queue_at_home() -> OpenQueue:
    from interlock.site.home_queue import HomeQueue

    return lambda backend, _, home: HomeQueue(backend, home)


OWN = Kind(can=frozenset(Can))
"""Interlock's own backend."""

KINDS: Mapping[str, Kind] = {
    "s3": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_on_s3, place=("bucket", "key")),
    # Terraform's lock is one of the process that took it, so nobody can hold it by hand
    "local": Kind(can=frozenset({Can.QUEUE}), queue=_queue_at_home, place=("path",)),
    # Terraform's lock is one of the session that took it
    "pg": Kind(can=frozenset({Can.QUEUE}), queue=_queue_in_postgres, way=Way.DOOR),
    "gcs": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_on_google, place=("bucket", "prefix")),
    "azurerm": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_on_azure, way=Way.DOOR),
    # Terraform's lock is one of a session that its holder renews
    "consul": Kind(can=frozenset({Can.QUEUE}), queue=_queue_in_consul, way=Way.DOOR),
    "kubernetes": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_in_kubernetes, way=Way.DOOR),
    # The platform takes a state from the user that locked the workspace, whichever process it is.
    "cloud": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_at_home),
    "remote": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_at_home, place=("organization",)),
    "http": Kind(can=frozenset({Can.QUEUE, Can.HOLD}), queue=_queue_at_home, way=Way.DOOR),
}
"""Terraform's backends by its word for them; of those that are not here only Terraform's own lock can be held."""

_ELSEWHERE = Kind(can=frozenset({Can.HOLD}))

WITH_QUEUE = frozenset(name for name, kind in KINDS.items() if Can.QUEUE in kind.can)
"""Backend types on which runs can be made without moving the state."""


def kind_of(ref: StateRef) -> Kind:
    """Return the row of the table for one state. One on which no run can work has no queue, whatever its backend."""
    if not isinstance(ref.where, Existing):
        return OWN
    row = KINDS.get(ref.where.found.type, _ELSEWHERE)
    return row if ref.where.refusal is None else Kind(can=row.can - {Can.QUEUE})


def uses_own_backend(ref: StateRef) -> bool:
    """Say whether a run's Terraform uses the configuration's own backend; else it comes by the run's own address."""
    return not ref.is_own and kind_of(ref).way is Way.OWN_BACKEND


def space_behind_door(ref: StateRef) -> str:
    """Return the workspace of a state that a run reaches by an address of its own; empty for any other state."""
    return "" if ref.is_own or kind_of(ref).way is Way.OWN_BACKEND else ref.found.workspace


def is_queue_near(ref: StateRef) -> bool:
    """Say whether a state's queue is on this machine, so that a sign of life costs no request."""
    return ref.is_own or kind_of(ref).queue is _queue_at_home


def has_queue(ref: StateRef) -> bool:
    """Say whether a state has a queue: our own has, and those elsewhere beside which one can be kept."""
    return Can.QUEUE in kind_of(ref).can


def check_can(ref: StateRef, can: Can, subject: str, *, kept: Path | None = None) -> None:
    """Refuse what cannot be done with a state.

    Args:
        ref: The state.
        can: What is wanted.
        subject: What the person named.
        kept: The folder of states of it that we replaced; None when there are none.

    Raises:
        UsageError: It cannot.
    """
    if can in kind_of(ref).can:
        return
    match can:
        case Can.QUEUE:
            raise UsageError(
                f'a state on backend "{ref.found.type}" has no queue',
                why=f"Interlock keeps queues on its own backend and beside {', '.join(sorted(WITH_QUEUE))}",
                fix=command("lock", "show", ref.root_module),
            )
        case Can.HOLD:
            raise UsageError(
                f'backend "{ref.found.type}" cannot be held by hand',
                why="its lock belongs to a process, and this command ends",
                fix=f"stop the pipelines for as long as you need, then: {command('lock', 'show', subject)}",
            )
        case Can.QUARANTINE | Can.PRUNE:
            raise UsageError(
                f"{subject} has no quarantine, and none of its versions can be pruned here",
                why=f"its backend, {ref.address}, refuses no writes and keeps its versions itself"
                + (f"; states that were replaced are in {kept}" if kept is not None else ""),
                fix=command("state", "history", subject),
            )
