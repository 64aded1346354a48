"""The saved plan was made from another state than the current one."""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import PlanStale

RULE: Final = Rule(
    category=Category.PLAN_STALE,
    meaning="the saved plan is out of date",
    retry=Retry.AFTER_REPLAN,
    error=PlanStale,
    signs=(
        Sign(
            words=words(
                r"Saved plan is stale",
                r"Saved plan does not match the given state",
                r"Cannot apply incomplete plan",
                r"plan file was created with a different set of external dependency selections",
            )
        ),
    ),
    advice="make a new plan and have it approved: interlock plan, then interlock apply",
)
