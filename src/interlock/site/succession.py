"""May this state follow the stored one? Promise P6, where the backend itself asks nothing."""

from __future__ import annotations

from interlock.errors import command
from interlock.existing import StoredState
from interlock.state import (
    UNPLANNED_DELETION,
    AnyDocument,
    EncryptedDocument,
    Refusal,
    is_written_again,
    judge_successor,
    parse_state,
    refusing,
    verify_state,
)

_NAMED = 5  # addresses in one sentence
_REASON_CHARS = 600  # the lock takes 1024 characters, and the path of a folder may be long


def find_refusal(
    stored: StoredState | None, candidate: AnyDocument, allowed: frozenset[str] | None, *, own: bool = False
) -> Refusal | None:
    """Return why a document may not follow what is stored; None when it may.

    Args:
        stored: What is stored.
        candidate: What would follow.
        allowed: See `judge_deletions`.
        own: The run that left the candidate stored the other; see `is_written_again`.

    Raises:
        StateInvalid: What is stored cannot be read.
    """
    current = parsed(stored)
    is_encrypted = isinstance(current, EncryptedDocument)
    if own and current is not None and is_written_again(current, candidate, encrypted=is_encrypted):
        return None
    judged = judge_successor(current, candidate, allowed)
    return judged if isinstance(judged, Refusal) else None


def find_fault(
    before: StoredState | None, after: StoredState | None, allowed: frozenset[str], *, own: bool = False
) -> Refusal | None:
    """Return what promise P6 has against what a run stored; None when it has nothing.

    Args:
        before: What was stored before.
        after: What is stored now.
        allowed: See `judge_deletions`.
        own: Only the run's own OpenTofu can have written, since the run holds the lock, and it encrypts: on `local` it
            changes the key of a state under the serial that this has.
    """
    if after is None or after.is_absent:
        return Refusal(code="state-missing", why="the state object was deleted during the run")
    if findings := refusing(verify_state(after.body)):
        return Refusal(code=findings[0].code, why="; ".join(finding.message for finding in findings[:3]))
    return find_refusal(before, parse_state(after.body), allowed, own=own)


def is_suspect(refusal: Refusal | None) -> bool:
    """Whether a document is only suspect: what a running apply writes is kept when nothing but deletions is odd."""
    return refusal is not None and refusal.code == UNPLANNED_DELETION


def spell(refusal: Refusal) -> str:
    """Say why, with the first of the addresses."""
    return ", ".join((refusal.why, *refusal.addresses[:_NAMED]))


def review_reason(refusal: Refusal, run: str, directory: str) -> str:
    """Say why a state is paused, and what ends it: whoever waits for it reads this."""
    what = f"run {run} stored a state of which {spell(refusal)}"[:_REASON_CHARS]
    return f"{what}: {command('state', 'accept', directory)}"


def parsed(stored: StoredState | None) -> AnyDocument | None:
    """Return what is stored as a document; None when there is no state.

    Raises:
        StateInvalid: It cannot be read.
    """
    return parse_state(stored.body) if stored is not None and stored.body else None
