"""The lock in the way is our own: the answer to our first request was lost, and the retry met our own lock.

The HTTP backend of Terraform up to 1.14 prints the asker's lock info beside the holder's id, so equal ids prove it.
With S3 the info is the holder's; it is ours when it was made on our machine after our command began.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Message
from interlock.errors import InterlockError, LockHeld
from interlock.terraform.versions import parse_version

_HTTP: Final = re.compile(r"already locked: ID=")
_SKEW: Final = timedelta(seconds=1)  # the CI system's timestamp and Terraform's come from one machine, some ms apart


def _is_ours(message: Message, facts: Facts, context: Context) -> bool:
    if facts.lock is None:
        return False
    if facts.lock.id in context.own_locks:
        return True
    if _HTTP.search(message.text):
        return bool(facts.lock.version) and _prints_own(facts.lock.version)
    return _was_made_here(facts, context)


def _prints_own(version: str) -> bool:
    """Up to 1.14 the printed info is the asker's own; from 1.15 it is the holder's, so equal ids prove nothing."""
    try:
        return not parse_version(version).shows_holder
    except InterlockError:
        return False


def _was_made_here(facts: Facts, context: Context) -> bool:
    if facts.lock is None or facts.lock.created_at is None or context.began_at is None:
        return False
    host = facts.lock.who.rpartition("@")[2]
    return host in context.hosts and facts.lock.created_at >= context.began_at - _SKEW


def _advice(facts: Facts) -> str:
    lock = facts.lock.id if facts.lock else "LOCK_ID"
    return f"interlock force-unlock {lock}    then run again; nothing was done"


RULE: Final = Rule(
    category=Category.LOCK_OWN_LOST_RESPONSE,
    meaning="the lock in the way is this run's own: the answer to its first lock request was lost",
    retry=Retry.SAFE,
    error=LockHeld,
    signs=(
        Sign(
            words=words(
                r"already locked: ID=",
                r"ConditionalCheckFailedException",
                r"PreconditionFailed",
            ),
            within=words(r"Error (?:acquiring|locking) (?:the )?state"),
        ),
    ),
    advice=_advice,
    proof=_is_ours,
)
