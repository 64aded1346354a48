"""How a run says which objects no state holds, and what to do about them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock.creations.creation import Creation, spell
from interlock.errors import DependencyRejected, InterlockError, command
from interlock.run.entries import OrphanRow, OrphansEntry

ROWS_MAX: Final = 200
"""Objects of one entry in the journal; `interlock recover --orphans` has all."""

OF_GENESYS: Final = "genesyscloud_"
"""Begins the types whose objects are written down as they are made."""

_EXISTS: Final = "api-exists"  # the category of `interlock.diagnosis.cause` for a name that is taken


def take_over(state: str) -> str:
    """Return the command that prints `import` blocks for the orphans of a state."""
    return command("recover", state, "--orphans")


def orphans_entry(when: str, creations: Sequence[Creation], state: str, texts: Sequence[str] = ()) -> OrphansEntry:
    """Return what the journal says of orphans.

    Args:
        when: See `OrphansEntry`.
        creations: The orphans.
        state: The run's state.
        texts: What people are told of each; by default how it is spelled.
    """
    told = texts or [spell(each) for each in creations]
    return OrphansEntry(
        when=when,
        orphans=[_row(each, text) for each, text in zip(creations[:ROWS_MAX], told, strict=False)],
        left_out=max(len(creations) - ROWS_MAX, 0),
        next=take_over(state),
    )


def spell_repeat(address: str, creation: Creation) -> str:
    """Return how people are told that a plan makes something once more; what is in doubt it only may."""
    return f"{address} {'may repeat' if creation.doubt else 'repeats'} {spell(creation)}"


def _row(creation: Creation, text: str) -> OrphanRow:
    return OrphanRow(
        type=creation.type,
        name=creation.name,
        id=creation.id,
        import_id=creation.import_id,
        address=creation.address,
        path=creation.path,
        run=creation.run,
        doubt=creation.doubt,
        text=text,
    )


def with_orphans(error: InterlockError, *, state: str, repeats: bool) -> None:
    """Let a failure name the way to what no state holds, before anything else: the next apply would make it twice.

    Args:
        error: The run's failure.
        state: The run's state.
        repeats: The plan made something once more that no state holds, so that a taken name needs no other cause.
    """
    is_taken = error.facts.get("category") == _EXISTS or (repeats and isinstance(error, DependencyRejected))
    if is_taken:
        error.fix = f"{take_over(state)}    put the blocks into the configuration, then plan again"
    else:
        error.fix = f"{take_over(state)}    then: {error.fix}" if error.fix else take_over(state)
