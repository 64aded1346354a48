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
                r"Flow publish failed",
            ),
            unless=words(
                r"HTTP (?:401|403|429|5\d\d)\b",
                r"Too many requests",
                r"API Error: (?:401|403|429|5\d\d)",
                r"E(?:TIMEDOUT|CONNRESET|AI_AGAIN|CONNREFUSED|NOTFOUND)\b",
                r"socket hang up",
                r"Failed to invoke \S{1,100} custom resolver",
            ),
        ),
        Sign(
            words=words(r"Failed to invoke \S{1,100} custom resolver", r"architectFlowResolver"),
            unless=words(r"HTTP (?:4|5)\d\d", r"Too many requests", r"API Error: \d", r"E(?:TIMEDOUT|CONNRESET)\b"),
            meaning="an export of a flow failed inside Archy",
            retry=Retry.AFTER_REPLAN,
            advice=(
                "run the export again with fewer flows at once (include_filter_resources), to find the one that fails"
            ),
        ),
    ),
    advice=_advice,
)
