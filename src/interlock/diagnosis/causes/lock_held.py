"""Somebody else holds the state's lock."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, LockHeld, command


def _advice(facts: Facts) -> str:
    who = f" (lock {facts.lock.id}, {facts.lock.who})" if facts.lock and facts.lock.who else ""
    return f"wait for the holder{who} and run again; if it seems dead: {command('lock', 'explain', THIS_STATE)}"


RULE: Final = Rule(
    category=Category.LOCK_HELD,
    meaning="somebody else holds the lock of this state",
    retry=Retry.SAFE,
    error=LockHeld,
    signs=(
        Sign(
            words=words(
                r"already (?:locked|held|present)",
                r"is already locked",
                r"already a lease",
                r"LeaseAlreadyPresent",
                r"ConditionalCheckFailedException",
                r"PreconditionFailed",
                r"ConditionalRequestConflict",
                r"resource temporarily unavailable",
                r"lock file \S{1,500} (?:already )?exists",
                r'writing "gs://',
                r"due to lock timeout",
                r"The process cannot access the file because another process has locked",
                r"Lock Info:",  # the holder is only printed when there is one
            ),
            within=words(
                r"Error (?:acquiring|locking) (?:the )?(?:destination |source )?state",
                r"acquiring the state lock",
            ),
        ),
    ),
    advice=_advice,
)
