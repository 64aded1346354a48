"""An object that the run needs does not exist (any more)."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import TerraformFailed


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


RULE: Final = Rule(
    category=Category.API_GONE,
    meaning="an object that the run needs does not exist (any more)",
    retry=Retry.AFTER_REPLAN,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"API Error: 404",
                r'"statusCode": ?404',
                r"API Error: 410",
                r'"statusCode": ?410',
                r"404 Not Found",
                r"StatusCode[=:] ?404",
                r"googleapi: Error 404",
                r"status(?: code)?:? 404",
                r"Root (?:object|resource) was present, but now absent",
                r"API Error: 400 .{0,300}(?:does not exist|no longer exists|(?:was|could) not (?:be )?found)",
                r"couldn't find resource",
                r"\bNotFoundException\b",
                r"\bNoSuchEntity\b",
                r"Cannot import non-existent remote object",
                r"has been deleted outside",
                r"\bnot\.found\b",
                r"(?:unable to find|could not find|No) [\w ]{1,40} (?:found )?with name",
            ),
        ),
    ),
    advice=(
        "make a new plan: a vanished object is created again; a wrong id or name in the configuration: interlock deps"
    ),
    proof=_is_api,
)
