"""The work was done, but the lock could not be given back."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, BackendUnavailable, command


def _advice(facts: Facts) -> str:
    lock = f" (lock {facts.lock.id})" if facts.lock else ""
    return (
        f"{command('lock', 'explain', THIS_STATE)}    the run's work is done, only its lock may be left{lock}; "
        "do not run it again for this"
    )


RULE: Final = Rule(
    category=Category.LOCK_RELEASE_FAILED,
    meaning="the work was done, but its lock could not be released",
    retry=Retry.NO,
    error=BackendUnavailable,
    signs=(
        Sign(
            words=words(
                r"Error releasing the state lock",
                r"failed to unlock (?:both )?(?:S3|DynamoDB)",
                r"Failed to unlock state",
                r"failed to retrieve lock info for lock ID",
            )
        ),
    ),
    advice=_advice,
)
