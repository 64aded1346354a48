"""Terraform was signalled a second time: it ended in the middle of its operations and saved nothing more."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind, Message
from interlock.errors import THIS_STATE, StateNotSaved, command


def _was_changing(message: Message, _facts: Facts, context: Context) -> bool:
    """Of a plan that was cut off nothing is lost; and a provider may call its own failure a cancelled operation."""
    return context.begun and (message.kind is Kind.NOTICE or message.summary == "operation canceled")


RULE: Final = Rule(
    category=Category.STATE_NOT_SAVED,
    meaning="Terraform was signalled twice and ended without its operations: what was in flight is NOT in the state",
    retry=Retry.NO,
    error=StateNotSaved,
    is_cut_off=True,
    proof=_was_changing,
    signs=(
        Sign(words=words(r"operation canceled")),
        Sign(words=words(r"Two interrupts received"), kinds=frozenset({Kind.ERROR, Kind.NOTICE})),
    ),
    advice=(
        f"{command('plan', THIS_STATE)}    and before any apply: import what was in flight and exists already, or the "
        f"next apply makes it twice: {command('recover', THIS_STATE, '--orphans')}"
    ),
)
