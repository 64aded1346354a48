"""The state's backend refuses our credentials."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import AuthenticationFailed


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


RULE: Final = Rule(
    category=Category.BACKEND_AUTH,
    meaning="the state's backend refuses the credentials",
    retry=Retry.NO,
    error=AuthenticationFailed,
    signs=(
        Sign(
            words=words(
                r"AccessDenied",
                r"Access Denied",
                r"ExpiredToken",
                r"InvalidClientTokenId",
                r"SignatureDoesNotMatch",
                r"InvalidAccessKeyId",
                r"UnrecognizedClientException",
                r"No valid credential sources",
                r"NoCredentialProviders",
                r"EC2 IMDS",
                r"requires auth",
                r"invalid auth",
                r"\b401\b",
                r"\b403\b",
                r"Unauthorized",
                r"AuthorizationFailed",
                r"AuthenticationFailed",
                r"not authorized to perform",
                r"could not find default credentials",
                r"token has expired",
                r"Token is expired",
                r"SSO session",
                r"AADSTS",
                r"invalid_grant",
                r"password authentication failed",
                r"permission denied",
                r"failed to refresh cached credentials",
                r"get identity: get credentials",
                r"static credentials are empty",
            )
        ),
    ),
    advice="renew the backend's credentials of this step (plan needs the same as apply), then: interlock doctor",
    proof=_is_backend,
)
