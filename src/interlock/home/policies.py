"""The policies that hold in a home: its own, and those of the settings that hold for this command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.gateway.allotment import Allotment
    from interlock.home.interface import Home
    from interlock.policy.policy import Policies, Policy


async def all_policies(home: Home) -> tuple[Policy, ...]:
    """Return every policy that is said here: by the home itself, by the operator's file, by interlock.yaml."""
    from interlock.policy.reading import read_policies

    return (*await home.policies.all(), *read_policies(home.settings.policies))


async def joined_policies(state: str, home: Home) -> Policies:
    """Return what holds for a state."""
    from interlock.policy.policy import join

    return join(await all_policies(home), state)


def allotment_of(policies: Policies) -> Allotment | None:
    """Return what policies allow all runs of a state together of each API budget; None for all that there is."""
    from interlock.gateway.allotment import Allotment

    saying = policies.api_budget_share
    if saying is None or saying.api_budget_share is None:
        return None
    return Allotment(share=saying.api_budget_share, policy=saying.name)
