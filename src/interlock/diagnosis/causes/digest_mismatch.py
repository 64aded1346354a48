"""The state object and the checksum that DynamoDB holds for it do not belong together."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import StateInvalid


def _advice(facts: Facts) -> str:
    state = facts.path or "STATE"
    return (
        f"run again once after two minutes; if it stays: interlock state verify {state}    it repairs "
        "the digest of a whole state"
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
