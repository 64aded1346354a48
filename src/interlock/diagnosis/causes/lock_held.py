"""Somebody else holds the state's lock."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import look_at_lock
from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Message
from interlock.errors import LockHeld

_LOCKING: Final = words(
    r"Error (?:acquiring|locking) (?:the )?(?:destination |source )?state",
    r"acquiring the state lock",
    r"Error locking (?:destination |source )?state",
)


def _is_locking(message: Message, _facts: Facts, _context: Context) -> bool:
    return _LOCKING.search(message.text) is not None


def _look(facts: Facts) -> str:
    return look_at_lock(facts.backend, path=facts.path, lock_id=facts.lock.id if facts.lock else "", tool=facts.tool)


def _advice(facts: Facts) -> str:
    who = f" (lock {facts.lock.id}, {facts.lock.who})" if facts.lock and facts.lock.who else ""
    return f"wait for the holder{who} and run again; if it seems dead: {_look(facts)}"


def _lease(facts: Facts) -> str:
    return f"a lease without Terraform's mark is of another program, or left by a killed run: {_look(facts)}"


RULE: Final = Rule(
    category=Category.LOCK_HELD,
    meaning="somebody else holds the lock of this state",
    retry=Retry.SAFE,
    error=LockHeld,
    signs=(
        Sign(
            words=words(
                r"PreconditionFailed",
                r"ConditionalCheckFailedException",
                r"ConditionalRequestConflict",
                r"conditionNotMet",
            ),
            within=words(
                r"NoSuchKey",
                r"GetObject, .{0,80}StatusCode: 404",
                r"object doesn't exist",
                r"no lock info found",
            ),
            meaning="the lock was refused, and then there was no lock: it was released in that moment, or the store "
            "cannot lock",
            advice=(
                "run again; if it happens again while nobody works, this store answers a conditional write wrongly "
                "(If-None-Match, some S3-compatible stores with versions): lock with dynamodb_table, "
                "or in another store"
            ),
            proof=_is_locking,
        ),
        Sign(
            words=words(r'blob metadata "terraformlockid" was empty', r"lease ID .{0,60}empty"),
            within=_LOCKING,
            meaning="the state's blob has a lease that no Terraform took, or whose mark is lost",
            advice=_lease,
        ),
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
            within=_LOCKING,
        ),
        Sign(
            words=words(
                r"already locked by another (?:terraform|tofu) client",
                r"state blob is already locked",
                r"HTTP remote state already locked",
                r"failed to lock \S{1,20} state: .{0,300}ConditionalCheckFailedException",
            ),
        ),
        Sign(
            words=words(
                r"project is currently locked by an unapplied plan",
                r"currently locked by .{0,200}(?:apply|plan|command|pull)",
                r"Wait until the previous command is complete",
                r"locks? (?:is|are) held by (?:pull|merge) request",
            ),
            meaning="Atlantis refused the command: another pull request, or another command, has the lock",
            advice=(
                "apply or close the pull request that is named, or comment there: atlantis unlock    then comment "
                "here: atlantis plan"
            ),
        ),
        Sign(
            words=words(
                r"workspace .{0,120}is (?:currently )?locked",
                r"workspace already locked",
                r"Unable to lock (?:the )?workspace",
                r"Run .{0,60}waiting .{0,60}lock",
            ),
            meaning="a person or another run has locked the workspace",
            advice=_advice,
        ),
    ),
    advice=_advice,
)
