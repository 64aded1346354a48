"""The work was done, but the lock could not be given back."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import look_at_lock
from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import BackendUnavailable, UsageError


def _look(facts: Facts) -> str:
    return look_at_lock(facts.backend, path=facts.path, lock_id=facts.lock.id if facts.lock else "", tool=facts.tool)


def _advice(facts: Facts) -> str:
    lock = f" (lock {facts.lock.id})" if facts.lock else ""
    return f"{_look(facts)}    only the lock may be left{lock}; do not run it again for this"


def _after_renewal(facts: Facts) -> str:
    return f"renew the credentials, then: {_look(facts)}    do not run it again for this"


RULE: Final = Rule(
    category=Category.LOCK_RELEASE_FAILED,
    meaning="the lock could not be released, and may be left",
    retry=Retry.NO,
    error=BackendUnavailable,
    signs=(
        Sign(
            words=words(
                r"Local state cannot be unlocked",
                r"lock ID \S{1,100} does not match existing lock",
                r"LockID .{0,100}does not match",
                r"lock id .{0,100}does not match",
                r"failed to retrieve lock info: (?:unexpected end|no lock|EOF)",
            ),
            within=words(r"Failed to unlock state", r"Local state cannot be unlocked"),
            meaning="force-unlock was given the id of another lock, or there is none (any more)",
            retry=Retry.NO,
            advice=_look,
            error=UsageError,
        ),
        Sign(
            words=words(r"Error releasing the state lock", r"failed to unlock (?:both )?(?:S3|DynamoDB)"),
            within=words(
                r"ExpiredToken",
                r"token .{0,60}expired",
                r"expired.{0,20}token",
                r"AADSTS\d",
                r"AccessDenied",
                r"not authorized",
                r"invalid_grant",
                r"\b40[13]\b",
            ),
            meaning="the lock could not be released, and is left: the credentials ran out or may not do it",
            advice=_after_renewal,
        ),
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
