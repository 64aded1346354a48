"""May this state follow the stored one? Promise P6, where the backend itself asks nothing."""

from __future__ import annotations

from interlock.errors import command
from interlock.existing import StoredState
from interlock.state import (
    UNPLANNED_DELETION,
    Document,
    Refusal,
    judge_successor,
    parse_document,
    refusing,
    verify_state,
)

_NAMED = 5  # addresses in one sentence
_REASON_CHARS = 600  # the lock takes 1024 characters, and the path of a folder may be long


def find_refusal(stored: StoredState | None, candidate: Document, allowed: frozenset[str] | None) -> Refusal | None:
    """Return why a document may not follow what is stored; None when it may.

    Raises:
        StateInvalid: What is stored cannot be read.
    """
    judged = judge_successor(parsed(stored), candidate, allowed)
    return judged if isinstance(judged, Refusal) else None


def find_fault(before: StoredState | None, after: StoredState | None, allowed: frozenset[str]) -> Refusal | None:
    """Return what promise P6 has against what a run stored; None when it has nothing."""
    if after is None or after.is_absent:
        return Refusal(code="state-missing", why="the state object was deleted during the run")
    if findings := refusing(verify_state(after.body)):
        return Refusal(code=findings[0].code, why="; ".join(finding.message for finding in findings[:3]))
    return find_refusal(before, parse_document(after.body), allowed)


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


def parsed(stored: StoredState | None) -> Document | None:
    """Return what is stored as a document; None when there is no state.

    Raises:
        StateInvalid: It cannot be read.
    """
    return parse_document(stored.body) if stored is not None and stored.body else None
