"""The stored state cannot be read."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import THIS_STATE, StateInvalid, command

RULE: Final = Rule(
    category=Category.STATE_CORRUPT,
    meaning="the stored state is damaged",
    retry=Retry.NO,
    error=StateInvalid,
    signs=(
        Sign(
            words=words(
                r"Unsupported state file format",
                r"state file could not be parsed",
                r"Duplicate resource instance in state",
                r"failed to decrypt state",
                r"Invalid resource instance data in state",
                r"state snapshot was created by",
                r"invalid (?:payload )?md5",
                r"State file is not valid",
                r"failed to decode the state",
                r"does not support state version",
                r"state file has no format version",
                r"Error reading (?:source )?state",
                r"invalid character .{1,40} (?:looking for|after) .{0,200}state",
                r"Invalid lineage",
            ),
            unless=words(
                r"newer Terraform version",
                r"or newer is required",
                r"created by Terraform v",
            ),
        ),
    ),
    advice=(
        f"{command('state', 'verify', THIS_STATE)}    then, for the newest whole version: "
        f"{command('state', 'restore', THIS_STATE)}"
    ),
)
