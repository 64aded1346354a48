"""A run's way to the Genesys Cloud API: which provider configurations there are, and the gateways that they go through.

`provider_settings` and `variables` work out what each provider configuration would use, `need` which gateways that
takes, `run_gateway` opens them for one run.
"""

from __future__ import annotations

from interlock.run.gateway_access.need import (
    Need,
    ServerOrganisation,
    Way,
    find_need,
    find_planned_need,
    with_placeholder,
)
from interlock.run.gateway_access.run_gateway import RunGateway, ServersWay

__all__ = [
    "Need",
    "RunGateway",
    "ServerOrganisation",
    "ServersWay",
    "Way",
    "find_need",
    "find_planned_need",
    "with_placeholder",
]
