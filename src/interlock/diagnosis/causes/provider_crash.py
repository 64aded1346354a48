"""A provider, or Terraform itself, crashed or broke its own rules."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.backends import KNOWN, look_at_lock
from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.diagnosis.message import Kind
from interlock.errors import THIS_STATE, TerraformFailed, command


def _advice(facts: Facts) -> str:
    verify = f"    and: {command('state', 'verify', THIS_STATE)}" if facts.backend in KNOWN or not facts.backend else ""
    return (
        f"{look_at_lock(facts.backend)}{verify}    then make a new plan; what was being made may "
        f"exist in no state; report "
        "a stack trace in the log to the provider's makers; without one the provider was killed: by "
        "a cancelled job, or "
        "for want of memory"
    )


RULE: Final = Rule(
    category=Category.PROVIDER_CRASH,
    meaning="a provider or Terraform itself crashed",
    retry=Retry.AFTER_REPLAN,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"(?:TERRAFORM|OPENTOFU) CRASH",
                r"plugin crashed!",
                r"Plugin did not respond",
                r"The plugin returned an unexpected error",
                r"Stack trace from the \S{1,200} plugin",
                r"^panic: ",
                r"^fatal error: ",
                r"rpc error: code = (?:Unavailable|ResourceExhausted)",
                r"Failed to instantiate provider",
                r"Unrecognized remote plugin message",
                r"plugin exited before we could connect",
                r"timeout while waiting for plugin to start",
                r"transport is closing",
                r"This is a bug in the provider",
                r"runtime error: (?:invalid memory address|index out of range)",
                r"signal: killed",
                r"\bKilled\b",  # the kernel, short of memory
                r"exit code 137\b",
            ),
            kinds=frozenset({Kind.ERROR, Kind.NOTICE}),
        ),
        Sign(
            words=words(
                r"request was cancelled\.",
                r"Request cancelled",
            ),
            is_echo=True,
        ),
    ),
    advice=_advice,
)
