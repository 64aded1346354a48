"""Another person agrees, where policies want two, before a lock is broken or a state is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interlock.audit.entry import Fact
from interlock.errors import PolicyGate, command
from interlock.home.policies import joined_policies
from interlock.policy.approval import Kind
from interlock.site.ref import own_address

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.site.interface import Site


async def have_second_person(
    home: Home, state: str, kind: Kind, *, exact: Sequence[object], what: str, by: str = ""
) -> None:
    """Go on when another person agreed to exactly this; else ask them.

    Args:
        home: Where policies and requests are.
        state: The state's name.
        kind: Force-unlock or restore.
        exact: What makes it this one and no other, as plain values.
        what: The same for people, in one line.
        by: Who acts; empty for the person of the home.

    Raises:
        PolicyGate: Nobody has agreed yet; the request is written down.
    """
    policies = await joined_policies(state, home)
    if not policies.two_persons:
        return
    from interlock.policy.two_persons import exact_digest, request_for

    who, digest = by or home.person, exact_digest(kind, state, exact)
    found = await home.approvals.find_open(kind, state, digest)
    if found is None:
        now = home.approvals.now()
        found = request_for(kind, state, policies, name=home.ids.run(now), digest=digest, what=what, by=who, now=now)
        found = await home.approvals.ask(found)
        if not home.approvals.writes_down:
            facts = {"request": found.id, "digest": digest, "what": what, "policy": found.policy}
            await home.audit.append("approval-asked", subject=own_address(state), by=who, facts=facts)
    try:
        used = await home.approvals.use(found.id, by=home.ids.fresh(), digest=digest)
    except PolicyGate as error:
        raise PolicyGate(
            f"another person must agree: {what}",
            why=f"policy {found.policy} wants two for {state}; nothing was changed",
            fix=f"{command('approve', found.id, '--reason', 'TEXT')}    by another person, then repeat the command",
            **error.facts,
        ) from None
    agreed: dict[str, Fact] = {"request": used.id, "digest": digest, "what": what, "by": list(used.approvers)}
    if not home.approvals.writes_down:
        await home.audit.append("approval-used", subject=own_address(state), by=who, facts=agreed)


async def agree_to_push(site: Site, body: bytes) -> None:
    """Have another person agree to a state that somebody pushes by hand: it replaces the current one like a restore.

    Raises:
        PolicyGate: Nobody has agreed to exactly these bytes yet.
    """
    digest, state = hashlib.sha256(body).hexdigest(), site.ref.queue
    what = f"push a state of {len(body)} bytes ({digest[:12]}) to {state}"
    await have_second_person(site.home, state, Kind.RESTORE, exact=("push", digest), what=what)
