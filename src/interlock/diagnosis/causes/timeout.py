"""Something took longer than it may: a request, a resource, or the CI job itself."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind
from interlock.errors import TerraformFailed

RULE: Final = Rule(
    category=Category.TIMEOUT,
    meaning="something took longer than it may",
    retry=Retry.AFTER_REPLAN,
    retry_before=Retry.SAFE,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"exceeded the maximum execution time",
                r"ran longer than the maximum time",
                r"has timed out after",
                r"execution took longer than",
                r"nested steps due to timeout",
                r"Timeout has been exceeded",
                r"exit code 124\b",
            ),
            kinds=frozenset({Kind.NOTICE, Kind.FAILURE}),
            meaning="the CI job took longer than it may",
            advice=(
                "make a new plan before anything else, the run may have changed things; give the job "
                "more time than the "
                "run takes"
            ),
            advice_before="give the job more time than the run takes, and run again",
            retry=Retry.AFTER_REPLAN,
            retry_before=Retry.SAFE,
        ),
        Sign(
            words=words(
                r"timeout while waiting for",
                r"context deadline exceeded",
                r"Client\.Timeout exceeded",
                r"i/o timeout",
                r"timed out",
                r"API Error: 408",
                r'"statusCode": ?(?:408|504)',
                r"API Error: 504",
                r"504 Gateway",
                r"Gateway Time-?out",
                r"request timeout",
                r"failed to acquire client after",
                r"still exists\b",
                r"net/http: request canceled",
                r"awaiting headers",
                r"operation timed out",
            ),
        ),
    ),
    advice=(
        "make a new plan before anything else, the run may have changed things; give the job more time "
        "than the run takes"
    ),
    advice_before=(
        "run again; if it happens again, give what is named more time (timeouts block), or look whether the API is slow"
    ),
)
