"""The stored state cannot be read."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import find_whole_version
from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import AuthenticationFailed, StateInvalid


def _advice(facts: Facts) -> str:
    return find_whole_version(facts.backend)


RULE: Final = Rule(
    category=Category.STATE_CORRUPT,
    meaning="the stored state is damaged",
    retry=Retry.NO,
    error=StateInvalid,
    signs=(
        Sign(
            words=words(
                r"decryption failed",
                r"failed to decrypt",
                r"Unable to decrypt",
                r"encountered unencrypted payload",
                r"cipher: message authentication failed",
                r"Unsupported state file format.{0,300}encrypt",
                r"is\s+encrypted and requires a valid\s+encryption configuration",
                r"Encryption (?:method|configuration) .{0,40}(?:failed|invalid)",
            ),
            meaning="the state is encrypted with a key that this run does not have; it is not damaged",
            advice=(
                "give this step the key of the last run (TF_ENCRYPTION, or the encryption block and "
                "its variables), and "
                "while a key is being changed the old one as fallback; restore nothing"
            ),
            error=AuthenticationFailed,
        ),
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
                r"invalid state metadata, \w{1,20} field mismatch",  # of an encrypted state that was edited
            ),
            unless=words(
                r"newer (?:Terraform|OpenTofu) version",
                r"or newer is required",
                r"created by (?:Terraform|OpenTofu) v",
                r"which is not supported by (?:Terraform|OpenTofu) ",
            ),
        ),
    ),
    advice=_advice,
)
