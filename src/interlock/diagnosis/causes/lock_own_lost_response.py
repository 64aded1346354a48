"""The lock in the way is our own: the answer to our first request was lost, and the retry met our own lock.

The HTTP backend of Terraform up to 1.14 prints the asker's lock info beside the holder's id, so equal ids prove it;
from 1.15 the info is the holder's and proves nothing. With S3 the info is the holder's too: it is ours when it was made
on our machine after our command began.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from interlock.diagnosis.backends import KNOWN
from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Message
from interlock.errors import THIS_STATE, InterlockError, LockHeld, command
from interlock.foreign_text import shell_word
from interlock.terraform.lockinfo import LockInfo
from interlock.terraform.versions import Product, parse_version

_HTTP: Final = re.compile(r"already locked: ID=")
_SKEW: Final = timedelta(seconds=1)  # the CI system's timestamp and Terraform's come from one machine, some ms apart


def _is_ours(message: Message, facts: Facts, context: Context) -> bool:
    if facts.lock is None:
        return False
    if facts.lock.id in context.own_locks:
        return True
    if _HTTP.search(message.text):
        return bool(facts.lock.version) and _prints_own(facts.lock, context)
    return _was_made_here(facts.lock, context)


def _prints_own(lock: LockInfo, context: Context) -> bool:
    """Say whether the printed lock is the asker's own: by the asker's version, or else by what the block allows."""
    if context.version:
        product, _, version = context.version.partition(" ")
        return not _shows_holder(version, Product(product))
    made_before = lock.created_at is not None and context.began_at is not None and lock.created_at < context.began_at
    return not _shows_holder(lock.version, Product.TERRAFORM) and not made_before


def _shows_holder(version: str, product: Product) -> bool:
    try:
        return parse_version(version, product=product).shows_holder
    except InterlockError:
        return True


def _was_made_here(lock: LockInfo, context: Context) -> bool:
    if lock.created_at is None or context.began_at is None:
        return False
    return lock.who.rpartition("@")[2] in context.hosts and lock.created_at >= context.began_at - _SKEW


def _advice(facts: Facts) -> str:
    if facts.backend not in KNOWN | {""}:
        return f"{facts.tool} force-unlock {shell_word(facts.lock.id if facts.lock else 'LOCK_ID')}    then run again"
    named = ("--lock-id", facts.lock.id) if facts.lock and facts.lock.id else ()
    return f"{command('force-unlock', THIS_STATE, *named)}    then run again; nothing was done"


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
