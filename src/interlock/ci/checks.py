"""What `interlock ci check` found out about settings that no file can hold."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


class Answer(enum.Enum):
    """Whether a setting is as it must be."""

    GOOD = "good"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    """It is not as it must be, and interlock.yaml says why that is borne."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One setting.

    Attributes:
        subject: What was looked at, such as `environment production`.
        answer: How it is.
        message: What was found.
        fix: What to do; empty when it is good.
    """

    subject: str
    answer: Answer
    message: str
    fix: str = ""


def good(subject: str, message: str) -> Check:
    """Return a setting that is as it must be."""
    return Check(subject=subject, answer=Answer.GOOD, message=message)


def wrong(subject: str, message: str, fix: str) -> Check:
    """Return a setting that must be changed."""
    return Check(subject=subject, answer=Answer.WRONG, message=message, fix=fix)


def unknown(subject: str, message: str, fix: str) -> Check:
    """Return a setting that could not be read; unknown is not good."""
    return Check(subject=subject, answer=Answer.UNKNOWN, message=message, fix=fix)


def accept(found: Iterable[Check], reasons: Mapping[str, str]) -> list[Check]:
    """Return the settings with those accepted that a reason is given for, and a wrong one for a reason without use.

    Args:
        found: What the platform said.
        reasons: `pipeline.accept` of interlock.yaml: `subject: message`, or the subject alone, to a reason.
    """
    checks = list(found)
    judged = [_accepted(check, reasons) for check in checks]
    used = {key for check in checks for key in _keys(check) if key in reasons and check.answer is not Answer.GOOD}
    fix = "take it out of pipeline.accept"
    return [
        *judged,
        *(wrong(key, "it is accepted, and nothing is wrong there", fix) for key in reasons if key not in used),
    ]


def _keys(check: Check) -> tuple[str, str]:
    return f"{check.subject}: {check.message}", check.subject


def _accepted(check: Check, reasons: Mapping[str, str]) -> Check:
    reason = next((reasons[key] for key in _keys(check) if key in reasons), None)
    if reason is None or check.answer is Answer.GOOD:
        return check
    return replace(check, answer=Answer.ACCEPTED, message=f"{check.message}; accepted: {reason}", fix="")
