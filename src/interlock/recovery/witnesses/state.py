"""What became of the state since the lock was taken: last write, wholeness, digest.

Can prove: that somebody writes under the lock, when the state changes while we watch. What is there is what a next run
would begin with, so it says whether breaking the lock is enough.
Cannot prove: that the holder is gone. A run may work for an hour on one resource without writing: Terraform saves when
an operation ends, at most every 20 seconds, and never in between.
Source: docs/facts/terraform-runs.md#run-4.
"""

from __future__ import annotations

from datetime import datetime

from interlock.existing import StoredState, TerraformLock
from interlock.instants import spelled
from interlock.recovery.evidence import Evidence, Says
from interlock.state import is_encrypted, refusing, verify_state


def testify(
    before: StoredState | None, after: StoredState | None, lock: TerraformLock, *, address: str, now: datetime
) -> list[Evidence]:
    """Return what two looks at the state, before and after the watch, allow to say.

    Args:
        before: At the first look; None when there was no state.
        after: At the last look.
        lock: The lock.
        address: Of the state, for the record.
        now: The observer's clock.
    """
    if _body(before) != _body(after):
        text = "the state was written while we watched: somebody works under the lock"
        return [_say(Says.ALIVE, text, address, now)]
    if after is None or after.is_absent:
        return [_say(Says.FACT, "there is no state yet", address, now)]
    return [
        _say(Says.FACT, text, address, now) for text in (_last_write(after, lock), _wholeness(after), _digest(after))
    ]


def _body(state: StoredState | None) -> bytes | None:
    return None if state is None or state.is_absent else state.body


def _last_write(state: StoredState, lock: TerraformLock) -> str:
    if state.modified_at is None:
        return "the backend does not say when the state was last written"
    at = f"{spelled(state.modified_at)}"
    if lock.created_at is None:
        return f"the state was last written at {at}"
    # Two clocks: the store's and the holder's. Good enough to tell people, never used to decide.
    word = "after" if state.modified_at >= lock.created_at else "before"
    return f"the state was last written at {at}, {word} the lock was taken"


def _wholeness(state: StoredState) -> str:
    faults = refusing(verify_state(state.body))
    if faults:
        return f"the state is not whole: {faults[0].message}"
    if is_encrypted(state.body):
        return "the state is encrypted; its lineage and serial are readable"
    return "the state is whole"


def _digest(state: StoredState) -> str:
    if state.digest_stored is None:
        return "no digest is kept beside the state"
    if state.digest_agrees:
        return "the digest agrees with the state"
    return (
        f"the digest {state.digest_stored} is not that of the state, {state.digest_computed}: Terraform will refuse it"
    )


def _say(says: Says, text: str, address: str, now: datetime) -> Evidence:
    return Evidence(witness="state", says=says, text=text, source=address, observed_at=now)
