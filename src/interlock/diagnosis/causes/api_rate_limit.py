"""The provider's API refuses because of too many requests."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import BudgetExhausted


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


RULE: Final = Rule(
    category=Category.API_RATE_LIMIT,
    meaning="the API refused because of too many requests",
    retry=Retry.AFTER_REPLAN,
    error=BudgetExhausted,
    signs=(
        Sign(
            words=words(r"HTTP 429", r"Too many requests", r"API Error: 429"),
            within=words(r"genesyscloud_tf_export", r"custom resolver", r"architectFlowResolver"),
            meaning="the API refused an export because of too many requests",
            advice=(
                "wait a minute and export fewer objects at once (include_filter_resources, a lower -parallelism); "
                "nothing is wrong with a flow"
            ),
        ),
        Sign(
            words=words(
                r"API Error: 429",
                r'"statusCode": ?429',
                r"invalid_request \(rate limit exceeded",
                r"\b429 Too Many Requests",
                r"googleapi: Error 429",
                r"StatusCode[=:] ?429",
                r"status(?: code)?:? 429",
                r"\b429[,:]? .{0,40}(?:rate|many|limit)",
                r"rateLimitExceeded",
                r"Rate exceeded",
                r"rate limit (?:exceeded|reached)",
                r"Rate limit exceeded the maximum",
                r"RequestLimitExceeded",
                r"TooManyRequests",
                r"Too many requests",
                r"ThrottlingException",
                r"Throttling:",
                r"API rate limit",
                r"exhausted retries on Genesys Cloud client credentials",
                r"\bHTTP 429\b",
                r"secondary rate limit",
                r"Quota exceeded for quota metric",
                r"RATE_LIMIT_EXCEEDED",
            ),
            unless=words(
                r"ProvisionedThroughputExceeded",
            ),
        ),
    ),
    advice=("wait a minute, make a new plan with a lower -parallelism, apply that; interlock apply waits by itself"),
    proof=_is_api,
)
