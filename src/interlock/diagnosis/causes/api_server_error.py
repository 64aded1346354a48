"""The API itself failed."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import TerraformFailed


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


def _advice(facts: Facts) -> str:
    case = f"; for a support case: correlation id {facts.correlation_id}" if facts.correlation_id else ""
    return f"look at the API's status page, make a new plan when it is well, apply that{case}"


RULE: Final = Rule(
    category=Category.API_SERVER_ERROR,
    meaning="the API itself failed",
    retry=Retry.AFTER_REPLAN,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"API Error: 5\d\d",
                r'"statusCode": ?5\d\d',
                r"giving up after \d{1,3} attempt",
                r"50[0234] (?:Internal|Bad|Service|Gateway)",
                r"Internal Server Error",
                r"Service Unavailable",
                r"Bad Gateway",
                r"StatusCode[=:] ?5\d\d",
                r"googleapi: Error 5\d\d",
                r"status(?: code)?[:=]? ?5\d\d\b",
                r"\bHTTP 5\d\d\b",
                r"internal\.(?:server\.)?error",
            ),
            unless=words(
                r"API Error: 504",
                r'"statusCode": ?504',
                r"\b504 ",
                r"Gateway Time",
            ),
        ),
    ),
    advice=_advice,
    proof=_is_api,
)
