"""Somebody, or the CI system, stopped the run."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import look_at_lock
from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind
from interlock.errors import Interrupted


def _advice(facts: Facts) -> str:
    return f"{look_at_lock(facts.backend)}    a lock may be left; then make a new plan, the state may have moved"


RULE: Final = Rule(
    category=Category.CANCELLED,
    meaning="the run was stopped before its end",
    retry=Retry.AFTER_REPLAN,
    error=Interrupted,
    signs=(
        Sign(
            words=words(
                r"Interrupt received",
                r"Two interrupts received",
                r"Stopping operation",
                r"Gracefully shutting down",
                r"cancell?ed",
                r"shutdown signal",
                r"lost communication with the server",
                r"Job failed: (?:cancell?ed|aborted)",
                r"Aborted by",
                r"Finished: ABORTED",
                r"Sending interrupt signal",
                r"higher priority waiting request",
                r"signal: (?:terminated|interrupt)",
                r"^Terminated$",
                r"exit code 1(?:30|43)\b",
            ),
            kinds=frozenset({Kind.NOTICE, Kind.FAILURE}),
        ),
        Sign(
            words=words(
                r"execution halted",
                r"operation cancell?ed",
                r"Two interrupts received",
                r"apply cancell?ed",
                r"destroy cancell?ed",
            )
        ),
        Sign(
            words=words(
                r"context canceled",
                r"code = Canceled",
                r"Request cancell?ed",
                r"request was cancell?ed",
            ),
            is_echo=True,
        ),
    ),
    advice=_advice,
)
