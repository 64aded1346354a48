"""Somebody else changed the object at the same time."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import TerraformFailed


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


RULE: Final = Rule(
    category=Category.API_VERSION_CONFLICT,
    meaning="somebody else changed the object at the same time",
    retry=Retry.AFTER_REPLAN,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"\bACTION\.PROCESSING\b",
                r"(?:is|are) (?:still |currently |already )?being"
                r" (?:processed|published|created|updated|deleted|modified|saved)",
                r"(?:still|currently) (?:processing|publishing|in progress|provisioning|deploying)",
                r"(?:another|previous) (?:operation|update|publish|change|request) .{0,60}(?:in"
                r" progress|running|pending)",
                r"(?:operation|update|publish) (?:is )?(?:already )?in progress",
                r"AnotherOperationInProgress",
                r"OperationInProgress",
                r"OperationNotAllowed.{0,200}in progress",
                r"ResourceNotReady",
                r"in a transitional state",
                r"flow(?: is|'s)? (?:currently )?(?:locked|checked out)",
            ),
            unless=words(r"wait(?:ing)? for", r"API Error: 5\d\d"),
            meaning="the API is still busy with this object",
            advice="wait a minute, make a new plan, apply that; nothing in the configuration is wrong",
        ),
        Sign(
            words=words(
                r"does not match the current version",
                r"version number .{0,80}must match",
                r"version (?:mismatch|conflict)",
                r"version\.(?:mismatch|conflict)",
                r"has been (?:modified|updated) by another",
                r"ConcurrentModification",
                r"OperationAborted",
                r"edit conflict",
                r"ConcurrentUpdateException",
                r"object has been modified",
            )
        ),
    ),
    advice=(
        "make a new plan and look who changed it (interlock drift), then apply that; let runs take "
        "turns with interlock apply"
    ),
    proof=_is_api,
)
