"""Reality that left the configuration: found, explained, decided.

Cores: `reading` (plan to differences), `noise`, `classify`, `audit` (who and when), `unmanaged`, `decisions`, `gate`,
`remedy`, `report` and its forms. Hands: `organisation` (the API), `ledger` (the store), `inspector` (one run's look).
"""

from interlock.drift.decisions import Choice, Decision, Ledger, Ruling, decide
from interlock.drift.finding import Attribute, Cause, Finding, Kind, Scan, Verdict
from interlock.drift.remedy import Remedy, find_remedy, imports_of
from interlock.drift.unmanaged import Look, full_types

__all__ = [
    "Attribute",
    "Cause",
    "Choice",
    "Decision",
    "Finding",
    "Kind",
    "Ledger",
    "Look",
    "Remedy",
    "Ruling",
    "Scan",
    "Verdict",
    "decide",
    "find_remedy",
    "full_types",
    "imports_of",
]
