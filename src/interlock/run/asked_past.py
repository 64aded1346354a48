"""What a run at a server cannot do: what its provider asks Genesys Cloud past every gateway, with a token. Pure.

Only the server has the OAuth client, and it lends no token of it: docs/adr/0109-no-lent-token-at-a-server.md. So such
a run ends before anything is changed, and not with a 401 in the middle of its apply.

What makes such calls stands in genesys/data/resources.json (`uses`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from interlock.errors import UsageError, command
from interlock.genesys import token_uses
from interlock.run.order import Operation, Order
from interlock.run.plan_archive import opened_plan
from interlock.run.planned_for import decoded_value, read_message
from interlock.terraform.events import Action
from interlock.terraform.plan import PlanFacts

_CHANGES, _ADDRESS, _PROVIDER, _CHANGE, _VALUES = 3, 13, 8, 9, 2  # of Plan, ResourceInstanceChange and Change
_ALIAS = re.compile(r'^provider\["[^"]*"\]\.(?P<alias>\w[\w-]*)$')
_ASKING = frozenset({Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE})
_NAMED = 5


def read_asking(plan: bytes, facts: PlanFacts) -> Mapping[str, str]:
    """Return the addresses whose change asks past every gateway, with the alias of their provider configuration.

    A change is taken to ask when the plan file does not tell: it may be encrypted.

    Args:
        plan: The plan file.
        facts: What its events said.
    """
    parts = {
        kind: part for kind, _, part in (use.partition(".") for use in token_uses() if not use.startswith("data."))
    }
    asking = {
        each.resource.address: parts[each.resource.type]
        for each in facts.changes
        if each.resource.type in parts
        and each.action in _ASKING
        # What has only a part that asks is deleted through the gateway.
        and not (each.action is Action.DELETE and parts[each.resource.type])
    }
    if not asking:
        return {}
    try:
        found = dict(_read(plan, asking))
    except UsageError:
        found = {}
    told = {address: found.get(address, "") for address in asking}
    return {address: alias for address, alias in told.items() if alias is not None}


def _read(plan: bytes, asking: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield the alias of each; None for one that does not have the part that asks."""
    with opened_plan(plan) as archive:
        for number, raw in read_message(archive.read("tfplan")):
            fields = dict(read_message(raw)) if number == _CHANGES else {}
            address = fields.get(_ADDRESS, b"").decode()
            if address in asking:
                alias = _ALIAS.match(fields.get(_PROVIDER, b"").decode())
                yield address, (alias["alias"] if alias else "") if _has_part(fields, asking[address]) else None


def _has_part(fields: Mapping[int, bytes], part: str) -> bool:
    values = [value for number, value in read_message(fields.get(_CHANGE, b"")) if number == _VALUES]
    after = decoded_value(values[-1]) if values else None
    return not part or not isinstance(after, dict) or bool(after.get(part))


def check_reads(asked: Sequence[str], order: Order, organisation: str) -> None:
    """Refuse a run whose plan would ask past every gateway.

    Raises:
        UsageError: It would.
    """
    if asked:
        raise _refused(asked, order, organisation, "nothing was planned")


def check_changes(asked: Mapping[str, str], aliases: Collection[str], order: Order, organisation: str) -> None:
    """Refuse a plan whose apply would ask past every gateway.

    Args:
        asked: From `read_asking`.
        aliases: Of the provider configurations whose OAuth client the server keeps.
        order: The run.
        organisation: As the server calls it.

    Raises:
        UsageError: It would.
    """
    ours = [address for address, alias in asked.items() if alias in aliases]
    if ours:
        raise _refused(ours, order, organisation, "nothing was changed")


def _refused(addresses: Sequence[str], order: Order, organisation: str, state: str) -> UsageError:
    rest = len(addresses) - _NAMED
    named = ", ".join(addresses[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    operation = order.operation if order.operation is not Operation.REFRESH else Operation.APPLY
    again = command(operation.value, "--state", order.state, order.directory, "--no-gateway")
    return UsageError(
        f"{named} cannot work at this server; {state}",
        why=f"the provider asks Genesys Cloud for it past every gateway, with an access token; the server keeps the "
        f"OAuth client of organisation {organisation} and lends no token",
        fix="name a provider configuration with an oauthclient_id of its own there (docs/howto/"
        "keep-oauth-clients-on-the-server.md); or, unfenced, with GENESYSCLOUD_OAUTHCLIENT_ID, "
        f"GENESYSCLOUD_OAUTHCLIENT_SECRET and GENESYSCLOUD_REGION in the environment: {again}",
        state=order.state,
    )
