"""A state was not accepted: of another lineage, or older than the stored one."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, StateInvalid, command

RULE: Final = Rule(
    category=Category.STATE_REFUSED,
    meaning="the state that was to be written may not follow the stored one",
    retry=Retry.NO,
    error=StateInvalid,
    signs=(
        Sign(
            words=words(
                r"cannot import state with",
                r"cannot overwrite existing state with serial",
                r"state that has the same serial",
                r"over newer state with serial",
                r"over unrelated state with lineage",
                r"state was refused",
            )
        ),
    ),
    advice=(
        f"{command('state', 'diff', THIS_STATE)}    compare the two before anything is pushed; "
        "never use -force on a newer state"
    ),
)
