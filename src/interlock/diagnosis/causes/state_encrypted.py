"""OpenTofu cannot decrypt a state or a plan: no key, another key, or a state that is not encrypted yet."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, UsageError, command

RULE: Final = Rule(
    category=Category.STATE_ENCRYPTED,
    meaning="OpenTofu cannot read the state or the plan with the keys that it has",
    retry=Retry.NO,
    error=UsageError,
    signs=(
        Sign(
            words=words(
                r"decryption failed for all\s+provided methods",
                r"is\s+encrypted and can ?not be read without an encryption\s+configuration",
                r"is\s+encrypted and requires a valid\s+encryption configuration",
                r"encountered unencrypted payload\s+without unencrypted method",
                r"invalid state metadata, (?:serial|lineage|linage) field mismatch",
            )
        ),
    ),
    advice=(
        f"{command('state', 'history', THIS_STATE)}    says which run wrote it; give its key, and name a key that was "
        "replaced, or the method `unencrypted`, in a `fallback` block"
    ),
)
