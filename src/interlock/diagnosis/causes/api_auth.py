"""The provider's API refuses our credentials."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import AuthenticationFailed


def _is_api(message: Message, _facts: Facts, _context: Context) -> bool:
    return not is_about_backend(message)


_LOOK: Final = {
    "aws": "aws sts get-caller-identity",
    "azurerm": "az account show",
    "azuread": "az account show",
    "google": "gcloud auth list",
}


def _advice(facts: Facts) -> str:
    if facts.provider in {"", "genesyscloud"}:
        return (
            "check GENESYSCLOUD_OAUTHCLIENT_ID, _SECRET and _REGION in this very step (plan and apply both), then: "
            "interlock doctor"
        )
    look = f": {_LOOK[facts.provider]}" if facts.provider in _LOOK else ""
    return f"check the credentials of provider {facts.provider} in this very step (plan and apply both){look}"


RULE: Final = Rule(
    category=Category.API_AUTH,
    meaning="the API refuses the credentials: missing, wrong or expired",
    retry=Retry.NO,
    error=AuthenticationFailed,
    signs=(
        Sign(
            words=words(
                r"API Error: 401",
                r'"statusCode": ?401',
                r"Auth Error: 4\d\d",
                r"failed to authorize Genesys Cloud client credentials",
                r"invalid_client",
                r"ExpiredToken",
                r"InvalidClientTokenId",
                r"No valid credential sources",
                r"\bUnauthorized\b",
                r"StatusCode[=:] ?401",
                r"status(?: code)?:? 401",
                r"AADSTS\d",
                r"Error 401",
                r"invalid_grant",
                r"unauthorized_client",
                r"authentication failed",
                r"token (?:has )?expired",
                r"could not find default credentials",
                r"bad\.credentials",
                r"no authentication bearer token",
                r"oauthclient_(?:id|secret) .{0,60}(?:required|missing|must be)",
                r"Missing credentials",
                r"AuthFailure\b",
            ),
            unless=words(r"rate limit exceeded", r"no such host", r"dial tcp", r"timeout", r"connection refused"),
        ),
    ),
    advice=_advice,
    proof=_is_api,
)
