"""The working folder is not initialised, or not for this configuration."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import UsageError


def _advice(facts: Facts) -> str:
    return f"{facts.tool} init    and run again (with a changed backend decide first: -migrate-state or -reconfigure)"


def _other_provider(facts: Facts) -> str:
    return (
        f"{facts.tool} init    takes the right one (a .terraform that a cache or artifact brought is best thrown "
        f"away); if it happens again: {facts.tool} providers lock -platform=linux_amd64    since the lock file "
        "knows another platform"
    )


RULE: Final = Rule(
    category=Category.INIT_REQUIRED,
    meaning="the working folder is not initialised for this configuration",
    retry=Retry.SAFE,
    error=UsageError,
    signs=(
        Sign(
            words=words(r"(?:does not|doesn't) match any of the checksums"),
            within=words(r"Required plugins are not installed"),
            meaning="the provider in .terraform is not the one that the lock file names",
            advice=_other_provider,
        ),
        Sign(
            words=words(
                r"Backend initialization required",
                r"Backend configuration changed",
                r"Backend type changed",
                r"Initial configuration of",
                r"Module not installed",
                r"Module source has changed",
                r"Module version requirements have changed",
                r"Inconsistent dependency lock file",
                r"Required plugins are not installed",
                r"Missing required provider(?! conf)",
                r"State store initialization required",
                r"HCP Terraform or Terraform Enterprise initialization required",
                r"Provider requirements cannot be satisfied by locked dependencies",
                r"plugins? (?:are|is) not installed",
                r'please run "?(?:terraform|tofu) init',
                r"Could not load plugin",
                r"there is no package for .{1,200} cached in",
            )
        ),
    ),
    advice=_advice,
)
