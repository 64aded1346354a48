"""Somebody else holds the state's lock."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import LockHeld


def _advice(facts: Facts) -> str:
    who = f" (lock {facts.lock.id}, {facts.lock.who})" if facts.lock and facts.lock.who else ""
    return f"wait for the holder{who} and run again; if it seems dead: interlock lock explain"


RULE: Final = Rule(
    category=Category.LOCK_HELD,
    meaning="somebody else holds the lock of this state",
    retry=Retry.SAFE,
    error=LockHeld,
    signs=(
        Sign(
            words=words(
                r"(?:HTTP remote state|state blob is|workspace is|remote state) already locked",
                r"ConditionalCheckFailedException",
                r"PreconditionFailed",
                r"ConditionalRequestConflict",
                r"resource temporarily unavailable",
                r"already locked by another terraform client",
                r"lock file \S{1,500} (?:already )?exists",
                r'writing "gs://',
                r"the state is already locked by",
                r"state lock is already held",
                r"Lock already held",
                r"The process cannot access the file because another process has locked",
            ),
            within=words(
                r"Error (?:acquiring|locking) (?:the )?(?:destination |source )?state",
                r"acquiring the state lock",
            ),
        ),
    ),
    advice=_advice,
)
