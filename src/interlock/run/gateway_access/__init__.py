"""A run's way to the Genesys Cloud API: which provider configurations there are, and the gateways that they go through.

`provider_settings` and `variables` work out what each provider configuration would use, `need` which gateways that
takes, `run_gateway` opens them for one run.
"""

from __future__ import annotations

from interlock.run.gateway_access.need import Need, Way, find_need, find_planned_need
from interlock.run.gateway_access.run_gateway import RunGateway

__all__ = ["Need", "RunGateway", "Way", "find_need", "find_planned_need"]
