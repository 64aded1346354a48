"""The policies that hold for a state, from all who say some, and the home's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.audit.entry import Fact
from interlock.audit.interface import Audit
from interlock.home.policies import all_policies, joined_policies
from interlock.policy.policy import Layer, Policies, Policy
from interlock.policy.reading import parse_policies, zone
from interlock.policy.windows import Held, find_hold
from interlock.store.before import Before

if TYPE_CHECKING:
    from interlock.home.interface import Home


__all__ = ["all_policies", "as_document", "policies_of", "put_own", "replace_own", "telling_of_policies"]


async def policies_of(state: str, home: Home) -> tuple[Policies, Held | None]:
    """Return what holds for a state, and what holds changes back at this moment."""
    joined = await joined_policies(state, home)
    return joined, find_hold(joined.each, home.clock.now(), zone)


async def replace_own(document: Mapping[str, Any], home: Home, *, file: str, who: str = "") -> tuple[Policy, ...]:
    """Put the policies of a document in the place of the home's own; return them.

    Raises:
        UsageError: A value or a key is wrong; the older policies stay.
    """
    policies = parse_policies(document, file=file, layer=Layer.SERVER)
    await put_own(policies, home, source=file, who=who)
    return policies


async def put_own(policies: tuple[Policy, ...], home: Home, *, source: str, who: str = "") -> None:
    """Put these policies in the place of the home's own, and write down who did.

    Args:
        policies: They are those of the server from then on.
        home: Whose.
        source: Where they are from.
        who: Who does; empty for the person of the home.
    """
    said = telling_of_policies(home.audit, policies, by=who or home.person, source=source)
    await home.policies.replace(policies, before=said)


def telling_of_policies(log: Audit, after: Sequence[Policy], *, by: str, source: str) -> Before[tuple[Policy, ...]]:
    """Return what says in the audit log that a home's own policies are replaced.

    Args:
        log: The log.
        after: The new policies.
        by: Who replaces.
        source: Where the new ones are from.
    """

    async def before(older: tuple[Policy, ...], version: int) -> None:
        lines = {"before": [_line(one) for one in older], "after": [_line(one) for one in after]}
        facts: dict[str, Fact] = {**lines, "file": source, "record_version": version}
        await log.announce("policies-set", subject="policies", by=by, facts=facts)

    return before


def _line(policy: Policy) -> str:
    return msgspec.json.encode(policy).decode()[:2000]


def as_document(policy: Policy) -> dict[str, Any]:
    """Return a policy as `--json` and the API show it."""
    plain: dict[str, Any] = msgspec.to_builtins(policy)
    return plain
