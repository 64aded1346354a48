"""Architect refused to publish a flow."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Facts, Retry, Rule, Sign, words
from interlock.errors import TerraformFailed


def _advice(facts: Facts) -> str:
    where = f" of {facts.address}" if facts.address else ""
    return (
        f"correct the flow file{where}: it names an object that does not exist there (interlock deps) or is not valid"
    )


RULE: Final = Rule(
    category=Category.API_FLOW_PUBLISH,
    meaning="Architect refused to publish a flow",
    retry=Retry.NO,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"flow publish failed",
                r"Failed to publish flow",
                r"flow job .{0,80}failed",
                r"Archy exit code",
                r"ArchSession",
                r"flow validation (?:failed|errors?)",
            )
        ),
    ),
    advice=_advice,
)
