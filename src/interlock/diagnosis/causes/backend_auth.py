"""The state's backend refuses our credentials."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import renew_credentials
from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import AuthenticationFailed


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


def _advice(facts: Facts) -> str:
    look = renew_credentials(facts.backend, facts.tool)
    return "renew the backend's credentials of this step (plan needs the same as apply), then: " + (
        f"interlock doctor    {look}" if look else "interlock doctor"
    )


def _role(_facts: Facts) -> str:
    return (
        "the credentials are known but may not do this: give their role what the line says (the state's object, the "
        "lock table, or the KMS key), then run again"
    )


RULE: Final = Rule(
    category=Category.BACKEND_AUTH,
    meaning="the state's backend refuses the credentials",
    retry=Retry.NO,
    error=AuthenticationFailed,
    signs=(
        Sign(
            words=words(
                r"not authorized to perform: \S{1,100}",
                r"kms:\w{1,40}",
                r"AuthorizationPermissionMismatch",
                r"does not have .{0,120}(?:access|permission)",
                r"is forbidden: User",
            ),
            meaning="the state's backend knows the credentials, and they may not do this",
            advice=_role,
        ),
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
                r"AuthorizationPermissionMismatch",
                r"KeyBasedAuthenticationNotPermitted",
                r"Required token could not be found",
                r"could not find AzureCLI|running Azure CLI",
                r"RequestExpired",
                r"RequestTimeTooSkewed",
                r"InvalidSecurity",
                r"The security token included in the request is (?:expired|invalid)",
                r"pq: (?:password|no pg_hba)",
            )
        ),
    ),
    advice=_advice,
    proof=_is_backend,
)
