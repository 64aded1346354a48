"""The bucket, table, container or address of the backend does not exist."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import UsageError


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


RULE: Final = Rule(
    category=Category.BACKEND_MISSING,
    meaning="the place where the state should be kept does not exist",
    retry=Retry.NO,
    error=UsageError,
    signs=(
        Sign(
            words=words(
                r"NoSuchBucket",
                r"S3 bucket \S{1,300} does not exist",
                r"ResourceNotFoundException",
                r"Requested resource not found",
                r"Cannot do operations on a non-existent table",
                r"ContainerNotFound",
                r"storage: bucket doesn't exist",
                r"bucket does not exist",
                r"The specified (?:bucket|container) does not exist",
                r"database \S{1,200} does not exist",
                r"Unexpected HTTP response code:? (?!5|429|401|403)\d",
                r"\b404\b",
                r"PermanentRedirect",
                r"AuthorizationHeaderMalformed",
                r"requested bucket from \S{1,40}, actual location",
                r"MovedPermanently",
                r"workspace \S{1,200} (?:doesn't|does not) exist",
                r"ValidationException: .{0,100}key element does not match",
            )
        ),
    ),
    advice="interlock bootstrap aws    creates bucket and table; or correct the backend block (interlock lint)",
    proof=_is_backend,
)
