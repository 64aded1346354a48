"""Resources were changed, and the state that says so could not be stored."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import StateNotSaved

RULE: Final = Rule(
    category=Category.STATE_NOT_SAVED,
    meaning="the newest state could not be stored; errored.tfstate, or the file that the run names, has it",
    retry=Retry.NO,
    error=StateNotSaved,
    signs=(
        Sign(
            words=words(
                r"Failed to save state",
                r"Failed to persist state",
                r"Failed to write state",
                r"Error saving state",
                r"failed to upload state",
                r"HTTP error: \d{3}",
                r"errored\.tfstate",
                r"Error saving current state",
                r"Error saving the state",
            ),
            unless=words(
                r"cannot import state with",
                r"cannot overwrite existing state",
            ),
        ),
    ),
    advice=(
        "keep errored.tfstate, do not apply again: interlock state push errored.tfstate    (it checks "
        "lineage and serial; for another file name that)"
    ),
)
