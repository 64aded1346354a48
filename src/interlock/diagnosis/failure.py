"""Diagnosis -> the error that a supervised run ends with, so that `apply` and `explain` say the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock.diagnosis.cause import Category, Cause
from interlock.diagnosis.diagnose import Diagnosis, diagnose
from interlock.diagnosis.message import masked
from interlock.diagnosis.reader import read_events, read_text
from interlock.errors import InterlockError, TerraformFailed
from interlock.terraform.events import Event

_FIRST: Final = (Category.STATE_NOT_SAVED,)
"""Decide the exit status even as a consequence: what is lost if nobody acts comes before what began it."""


def classify(said: Iterable[Event] | str, *, own_locks: Iterable[str] = (), tool: str = "") -> InterlockError:
    """Name the error that a failed Terraform ends with.

    Args:
        said: What it said: typed events, or its text output.
        own_locks: Lock ids that the run itself asked for, so its own leftover lock is recognised.
        tool: Which program it was, `terraform` or `tofu`: what is to be typed next is one of its commands.

    Returns:
        An error with the three parts and the facts that the log names (`category`, `retry`, `address`,
        `correlation_id`, `api_message`, `permission`, `other`); `TerraformFailed` when the cause is not known.
    """
    messages = read_text(said) if isinstance(said, str) else read_events(said)
    return error_of(diagnose(messages, own_locks=own_locks, tool=tool))


def error_of(diagnosis: Diagnosis) -> InterlockError:
    """Turn the deciding cause into an error; call it only for a run that failed."""
    deciding = next((cause for cause in diagnosis.causes if cause.category in _FIRST), None)
    if deciding is None:
        deciding = next(iter(diagnosis.causes), None)
    return _unknown(diagnosis) if deciding is None else _known(deciding, diagnosis)


def _known(cause: Cause, diagnosis: Diagnosis) -> InterlockError:
    facts = {
        "category": cause.category.value,
        "retry": cause.retry.value,
        "address": cause.facts.address,
        "correlation_id": cause.facts.correlation_id,
        "api_message": cause.facts.api_message,
        "permission": cause.facts.permission,
        "other": cause.facts.other,
        "in_flight": list(cause.facts.in_flight),
        "lock_id": cause.facts.lock.id if cause.facts.lock else "",
        "also": ", ".join(other.category.value for other in diagnosis.causes if other is not cause),
    }
    where = f" ({cause.facts.address})" if cause.facts.address else ""
    return cause.error(
        f"{cause.summary}{where}",
        why=why(cause),
        fix=cause.next,
        **{name: value for name, value in facts.items() if value},
    )


def why(cause: Cause) -> str:
    """Return the reason in the log's own words: the API's sentence, or else the first deciding line that has one."""
    if cause.facts.api_message:
        return cause.facts.api_message
    texts = [masked(line.text.strip()) for line in cause.lines if line.text.strip()]
    return texts[-1].removeprefix("Error: ") if texts else ""


def _unknown(diagnosis: Diagnosis) -> InterlockError:
    lines = [masked(line.text.strip()) for error in diagnosis.unknown[:1] for line in error if line.text.strip()]
    return TerraformFailed(
        "Terraform failed",
        why=" ".join(lines).removeprefix("Error: ") or "it gave no error that is known here",
        fix="read the run's log: interlock runs logs latest",
    )
