"""Endpoints about the policies of a server."""

from __future__ import annotations

from interlock.api.books import ToldPolicies
from interlock.audit.interface import Audit
from interlock.operate.policies import telling_of_policies
from interlock.policy.policy_book import PolicyKeeper
from interlock.policy.reading import checked_policies
from interlock.rights import Right
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, acts, reads


class _Policies:
    """Does what clients ask of the policies."""

    def __init__(self, policies: PolicyKeeper, log: Audit) -> None:
        self._policies = policies
        self._log = log

    async def all(self, _call: Call[NoQuery, NoBody]) -> ToldPolicies:
        """The policies of all runs."""
        return ToldPolicies(policies=await self._policies.all())

    async def replace(self, call: Call[NoQuery, ToldPolicies]) -> ToldPolicies:
        """Replace the policies; returns those before."""
        source = f"api {call.address}".strip()
        wanted = checked_policies(call.body.policies, source="the policies that were sent")
        said = telling_of_policies(self._log, wanted, by=call.caller.who, source=source)
        return ToldPolicies(policies=await self._policies.replace(wanted, before=said))


def policy_endpoints(policies: PolicyKeeper, log: Audit) -> list[AnyEndpoint]:
    """Return the rows."""
    do = _Policies(policies, log)
    return [
        reads("/policies", do.all, right=None, query=NoQuery, answer=ToldPolicies),
        acts(
            "/policies",
            do.replace,
            method="PUT",
            right=Right.ADMINISTER,
            query=NoQuery,
            body=ToldPolicies,
            answer=ToldPolicies,
        ),
    ]
