"""What is known about Genesys Cloud, as data with provenance.

Rooms ask questions here; nothing Genesys-specific lives elsewhere, except the simulator.
"""

from __future__ import annotations

from interlock.genesys.limits import RateLimit, Scope, login_limit, rate_limits
from interlock.genesys.references import Origin, Reference, references_of, referrers_of, resource_types
from interlock.genesys.regions import Region, find_region, list_regions, parse_region
from interlock.genesys.resources import (
    Calls,
    Conflict,
    calls_of,
    conflicts,
    find_conflict,
    gateway_bypasses,
    token_uses,
    types_read_past,
)

__all__ = [
    "Calls",
    "Conflict",
    "Origin",
    "RateLimit",
    "Reference",
    "Region",
    "Scope",
    "calls_of",
    "conflicts",
    "find_conflict",
    "find_region",
    "gateway_bypasses",
    "list_regions",
    "login_limit",
    "parse_region",
    "rate_limits",
    "references_of",
    "referrers_of",
    "resource_types",
    "token_uses",
    "types_read_past",
]
