"""The state object and the checksum that DynamoDB holds for it do not belong together."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, StateInvalid, command


def _advice(_: Facts) -> str:
    return (
        f"run again once after two minutes; if it happens again: {command('state', 'verify', THIS_STATE)}    "
        f"then, to repair the digest of a whole state: {command('state', 'repair', THIS_STATE)}"
    )


RULE: Final = Rule(
    category=Category.DIGEST_MISMATCH,
    meaning="the stored state does not match its checksum",
    retry=Retry.SAFE,
    error=StateInvalid,
    signs=(
        Sign(
            words=words(
                r"does not have the expected content",
                r"checksum calculated for the state .{0,60}does not match",
                r"state data in \S{1,40} does not have the expected",
            )
        ),
    ),
    advice=_advice,
)
