"""What `interlock ci check` found out about settings that no file can hold."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Answer(enum.Enum):
    """Whether a setting is as it must be."""

    GOOD = "good"
    WRONG = "wrong"
    UNKNOWN = "unknown"


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
