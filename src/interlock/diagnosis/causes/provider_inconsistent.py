"""A provider gave another value than it had planned, most often because a file that the configuration reads changed.

Nothing crashed, whatever Terraform says of a bug: `file()` of a file that changed between plan and apply ends so
(Terraform 1.11.4, measured).
"""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Retry, Rule, Sign, words
from interlock.errors import TerraformFailed

RULE: Final = Rule(
    category=Category.PROVIDER_INCONSISTENT,
    meaning="what was applied is not what was planned: a file that is read changed, or the provider contradicts itself",
    retry=Retry.AFTER_REPLAN,
    error=TerraformFailed,
    signs=(
        Sign(
            words=words(
                r"Provider produced (?:inconsistent|invalid|null)",
                r"Function returned an inconsistent result",
            )
        ),
    ),
    advice=(
        "make a new plan and apply that: interlock plan    what was made already is in the state. When no file that "
        "the configuration reads changed since the plan, report both values to the provider's makers"
    ),
)
