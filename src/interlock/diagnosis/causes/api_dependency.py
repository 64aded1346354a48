"""The API refuses a change because another object depends on it or is in its way: 409, 412, "in use", a taken name."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import DependencyRejected


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


def _advice(facts: Facts) -> str:
    where = f" around {facts.address}" if facts.address else ""
    return f"interlock deps    find and write the missing reference{where}, then make a new plan and apply that"


RULE: Final = Rule(
    category=Category.API_DEPENDENCY,
    meaning="the API refused a change because another object depends on it or is in its way",
    retry=Retry.AFTER_REPLAN,
    error=DependencyRejected,
    signs=(
        Sign(
            words=words(r"API Error: 4(?:09|12)", r'"statusCode": ?4(?:09|12)'),
            unless=words(r"does not match the current version", r"version (?:mismatch|conflict)"),
        ),
        Sign(
            words=words(
                r"may not be deleted because",
                r"cannot be deleted because",
                r"can't be deleted",
                r"unable to delete .{0,200}because",
                r"(?:currently |still )?in use by",
                r"is (?:currently |still )?(?:being )?(?:in use|used|referenced)\b",
                r"has (?:dependent|objects|dependencies)",
                r"DependencyViolation",
                r"dependent objects?",
                r"resource(?: is)? in use",
                r"delete.conflict",
                r"DeleteConflict",
                r"ResourceInUseException",
                r"general\.conflict",
                r"referential integrity",
            ),
            unless=words(
                r"does not match the current version",
                r"version (?:mismatch|conflict)",
                r"already exists",
                r"must be unique",
                r"duplicate",
                r"not unique",
                r"name (?:is )?already",
                r"(?:name|email|number|extension) .{0,60}is (?:already )?in use",
            ),
        ),
    ),
    advice=_advice,
    proof=_is_api,
)
