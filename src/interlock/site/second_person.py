"""Another person agrees, where policies want two, before a lock is broken or a state is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interlock.audit.entry import Fact
from interlock.errors import PolicyGate, command
from interlock.home.policies import joined_policies
from interlock.policy.approval import Approval, Kind
from interlock.site.ref import own_address

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.persons import Party
    from interlock.site.interface import Site
    from interlock.state.history import Version


async def have_second_person(
    home: Home, state: str, kind: Kind, *, exact: Sequence[object], what: str, by: str = "", party: Party | None = None
) -> None:
    """Go on when another person agreed to exactly this; else ask them.

    Args:
        home: Where policies and requests are.
        state: The state's name.
        kind: Force-unlock or restore.
        exact: What makes it this one and no other, as plain values.
        what: The same for people, in one line.
        by: Who acts; empty for the person of the home.
        party: Who is behind their credentials; None for the person of the home.

    Raises:
        PolicyGate: Nobody has agreed yet; the request is written down.
    """
    policies = await joined_policies(state, home)
    if not policies.two_persons:
        return
    from interlock.policy.two_persons import exact_digest, request_for

    who, digest = by or home.person, exact_digest(kind, state, exact)

    async def before_asked(asked: Approval, _version: int) -> None:
        facts = {"request": asked.id, "digest": digest, "what": what, "policy": asked.policy}
        await home.audit.announce("approval-asked", subject=own_address(state), by=who, facts=facts)

    async def before_used(used: Approval, _version: int) -> None:
        agreed: dict[str, Fact] = {"request": used.id, "digest": digest, "what": what, "by": list(used.approvers)}
        await home.audit.announce("approval-used", subject=own_address(state), by=who, facts=agreed)

    found = await home.approvals.find_open(kind, state, digest)
    if found is None:
        now = home.approvals.now()
        name = home.ids.run(now)
        found = request_for(kind, state, policies, name=name, digest=digest, what=what, by=who, party=party, now=now)
        found = await home.approvals.ask(found, before=before_asked)
    try:
        await home.approvals.use(found.id, by=home.ids.fresh(), digest=digest, before=before_used)
    except PolicyGate as error:
        raise PolicyGate(
            f"another person must agree: {what}",
            why=f"policy {found.policy} wants two for {state}; nothing was changed",
            fix=f"{command('approve', found.id, '--reason', 'TEXT')}    by another person, then repeat the command",
            **error.facts,
        ) from None


async def check_second_person(
    home: Home, state: str, kind: Kind, *, exact: Sequence[Sequence[object]], what: str, by: str, party: Party
) -> None:
    """Go on when another person agreed to exactly this, also when a command of ours has used their word up for it.

    A server asks this for clients of any kind, before it acts for them; our own commands ask and use before they send.
    So `exact` names something that the act itself changes, and no word is good for a second act.

    Args:
        home: Where policies and requests are.
        state: The state's name.
        kind: Force-unlock or restore.
        exact: What makes it this one and no other, in each of the ways in which it may have been asked for.
        what: The same for people.
        by: Who acts.
        party: Who is behind their credentials.

    Raises:
        PolicyGate: Nobody has agreed yet; the request is written down.
    """
    if not (await joined_policies(state, home)).two_persons:
        return
    from interlock.policy.approval import Standing, standing
    from interlock.policy.two_persons import exact_digest

    now, ways = home.approvals.now(), {exact_digest(kind, state, each): each for each in exact}
    asked = [one for one in (await home.approvals.all())[0] if (one.kind, one.state) == (kind, state)]
    named = [one for one in asked if one.digest in ways and one.expires_at > now]
    if any(standing(one, now) is Standing.USED for one in named):
        return
    approved = next((ways[one.digest] for one in named if standing(one, now) is Standing.APPROVED), exact[0])
    await have_second_person(home, state, kind, exact=approved, what=what, by=by, party=party)


async def agree_to_push(site: Site, body: bytes) -> None:
    """Have another person agree to a state that somebody pushes by hand: it replaces the current one like a restore.

    Raises:
        PolicyGate: Nobody has agreed to exactly these bytes yet.
    """
    digest, state = hashlib.sha256(body).hexdigest(), site.ref.queue
    over = (await current_number(site.home, state),) if site.ref.is_own else ()
    exact, what = push_of(digest, *over), push_in_words(state, digest, len(body))
    await have_second_person(site.home, state, Kind.RESTORE, exact=exact, what=what)


async def current_number(home: Home, state: str) -> int:
    """Return the number of the current version of a state of our own; 0 when it never had one."""
    head = (await home.coordinator.view(state)).head
    return head.number if head is not None else 0


def push_of(digest: str, *over: int) -> tuple[object, ...]:
    """Return what makes a push this one and no other: these bytes, of our own states over this version."""
    return ("push", digest, *over)


def push_in_words(state: str, digest: str, size_bytes: int) -> str:
    """Return a push for people."""
    return f"push a state of {size_bytes} bytes ({digest[:12]}) to {state}"


def restore_of(version: Version, *, next_serial: int, over: int) -> tuple[object, ...]:
    """Return what makes a restore of our own state this one and no other: this version, its serial, over that one."""
    return (version.number, version.digest, next_serial, over)
