"""Resources were changed, and the state that says so could not be stored."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import KNOWN, renew_credentials
from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import StateNotSaved

_SAVING: Final = words(
    r"Failed to save state",
    r"Error saving (?:the |current )?state",
    r"failed to upload state",
    r"Failed to (?:persist|write) state",
)
_KEEP: Final = "keep errored.tfstate (copy it off a runner that is about to vanish), do not apply again"


def _push(facts: Facts) -> str:
    if facts.backend in KNOWN or not facts.backend:
        return "interlock state push errored.tfstate    (it checks lineage and serial; for another file name that)"
    return f"{facts.tool} state push errored.tfstate    (for another file name that)"


def _advice(facts: Facts) -> str:
    return f"{_KEEP}: {_push(facts)}"


def _expired(facts: Facts) -> str:
    look = renew_credentials(facts.backend, facts.tool)
    return (
        f"{_KEEP}; renew the credentials, then: {_push(facts)}; for the next time credentials that "
        f"outlive the apply: a "
        "longer session (role-duration-seconds), or a login right before it" + (f"; {look}" if look else "")
    )


def _denied(facts: Facts) -> str:
    return f"{_KEEP}; give the role what the line above says is missing (writing, or the key), then: {_push(facts)}"


def _too_large(facts: Facts) -> str:
    return (
        f"{_KEEP}; raise the server's limit of one request (proxy: client_max_body_size; GitLab: the limit of "
        f"Terraform states), then: {_push(facts)}; for the next time split the state"
    )


def _not_s3(facts: Facts) -> str:
    return (
        f"{_KEEP}; set skip_s3_checksum = true in the backend block (a bucket with object lock wants the checksums "
        f"instead), then: {_push(facts)}"
    )


def _not_now(facts: Facts) -> str:
    return (
        f"{_KEEP}; wait a minute, then: {_push(facts)}; if it fails so again, the backend is down or cannot be reached"
    )


def _locked(facts: Facts) -> str:
    return f"{_KEEP}; somebody else has the lock by now: look what they wrote, then: {_push(facts)}"


RULE: Final = Rule(
    category=Category.STATE_NOT_SAVED,
    meaning="the newest state could not be stored; errored.tfstate, or the file that the run names, has it",
    retry=Retry.NO,
    error=StateNotSaved,
    signs=(
        Sign(
            words=_SAVING,
            within=words(
                r"ExpiredToken(?:Exception)?",
                r"token .{0,60}(?:is|has) expired",
                r"expired .{0,40}token",
                r"AADSTS\d+",
                r"not within its valid time range",
                r"invalid_grant",
                r"RequestExpired",
                r"credentials .{0,40}expired",
                r"(?:HTTP error|code): 401\b",
                r"requires auth",
                r"failed to refresh cached credentials",
            ),
            meaning="the newest state could not be stored because the credentials ran out; errored.tfstate has it",
            advice=_expired,
        ),
        Sign(
            words=_SAVING,
            within=words(
                r"not authorized to perform: \S{1,100}",
                r"kms:\w{1,40}",
                r"AccessDenied(?:Exception)?",
                r"Access Denied",
                r"AuthorizationPermissionMismatch",
                r"AuthorizationFailed",
                r"googleapi: Error 403",
                r"(?:HTTP error|code): 403\b",
                r"does not have .{0,80}access",
                r"permission denied",
                r"invalid auth",
            ),
            meaning="the newest state could not be stored because the credentials may not write it; errored.tfstate "
            "has it",
            advice=_denied,
        ),
        Sign(
            words=_SAVING,
            within=words(
                r"\b413\b",
                r"EntityTooLarge",
                r"RequestBodyTooLarge",
                r"(?:request|payload|entity|body|item|value) .{0,30}too (?:large|long)",
                r"exceeds the (?:maximum|limit)",
                r"Item size .{0,60}exceeded",
            ),
            meaning="the newest state could not be stored because it is larger than the server takes; errored.tfstate "
            "has it",
            advice=_too_large,
        ),
        Sign(
            words=_SAVING,
            within=words(
                r"HTTP error: (?:409|423)", r"LeaseIdMissing", r"LeaseLost", r"CAS failed", r"state .{0,40}is locked"
            ),
            meaning=(
                "the newest state could not be stored because this run has the lock no more; errored.tfstate has it"
            ),
            advice=_locked,
        ),
        Sign(
            words=_SAVING,
            within=words(r"XAmzContentSHA256Mismatch", r"x-amz-\w+", r"Content-MD5", r"InvalidArgument"),
            meaning="the newest state could not be stored because the store does not take Terraform's checksums; "
            "errored.tfstate has it",
            advice=_not_s3,
        ),
        Sign(
            words=_SAVING,
            within=words(
                r"\b429\b",
                r"\b50[0234]\b",
                r"SlowDown",
                r"Throttl\w+",
                r"ServerBusy",
                r"ServiceUnavailable",
                r"InternalError",
                r"no such host",
                r"i/o timeout",
                r"connection (?:refused|reset)",
                r"TLS handshake timeout",
                r"unexpected EOF",
                r"context deadline exceeded",
                r"giving up after \d",
            ),
            meaning="the newest state could not be stored because the backend did not take it for now; errored.tfstate "
            "has it",
            advice=_not_now,
        ),
        Sign(words=words(r"Failed to persist state to backend"), is_vague=True),
        Sign(
            words=words(
                r"Failed to save state",
                r"Failed to persist state",
                r"Failed to write state",
                r"Error saving state",
                r"failed to upload state",
                r"HTTP error: \d{3}",
                r"errored\.tfstate",
                r"Error saving current state",
                r"Error saving the state",
            ),
            unless=words(
                r"cannot import state with",
                r"cannot overwrite existing state",
            ),
        ),
    ),
    advice=_advice,
)
