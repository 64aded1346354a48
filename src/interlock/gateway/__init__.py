"""One gateway between every run and the organisation: one budget, tokens that outlive any run, fenced side effects.

The pure parts other rooms use. The running gateway is `interlock.gateway.service.Gateway`.
"""

from __future__ import annotations

from interlock.gateway.estimate import Estimate, Planned, check_deadline, estimate
from interlock.gateway.oauth import Credentials, Secret
from interlock.gateway.rules import Override, Rules, apply_overrides, parse_override
from interlock.gateway.stats import BudgetStats, FlowStats, Stats

__all__ = [
    "BudgetStats",
    "Credentials",
    "Estimate",
    "FlowStats",
    "Override",
    "Planned",
    "Rules",
    "Secret",
    "Stats",
    "apply_overrides",
    "check_deadline",
    "estimate",
    "parse_override",
]
