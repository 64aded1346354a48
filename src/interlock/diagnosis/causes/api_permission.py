"""The API knows us, but we may not do that."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import AuthenticationFailed


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


def _advice(facts: Facts) -> str:
    missing = facts.permission or "the missing permission"
    if facts.provider not in {"", "genesyscloud"}:
        return f"give what the line names to the role that provider {facts.provider} uses, make a new plan, apply that"
    return f"give {missing} to a role of the OAuth client (in the division of the object), make a new plan, apply that"


RULE: Final = Rule(
    category=Category.API_PERMISSION,
    meaning="the API client lacks a permission",
    retry=Retry.NO,
    error=AuthenticationFailed,
    signs=(
        Sign(
            words=words(r"sts:AssumeRole\w{0,40}", r"Could not assume role", r"AADSTS7002\d+"),
            within=words(r"[Nn]ot authorized", r"AccessDenied", r"AADSTS7002\d+", r"Request ARN is invalid"),
            meaning="the cloud does not let this CI job take on the role",
            advice=(
                "compare the role's trust policy with this job: repository, branch or environment in sub, and the "
                "audience; a pull request and a push have different ones"
            ),
        ),
        Sign(
            words=words(
                r"API Error: 403",
                r'"statusCode": ?403',
                r"at least one of the following permissions",
                r"missing the following permission",
                r"403 Forbidden",
                r"StatusCode[=:] ?403",
                r"status(?: code)?:? 403",
                r"AccessDenied",
                r"UnauthorizedOperation",
                r"not authorized to",
                r"insufficient permissions?",
                r"Error 403",
                r"AuthorizationFailed",
                r"missing\.(?:any\.)?permissions?",
                r"does not have permission",
                r"not\.authorized",
            )
        ),
    ),
    advice=_advice,
    proof=_is_api,
)
