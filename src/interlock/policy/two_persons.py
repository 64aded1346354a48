"""Force-unlock and restore where two persons are required: the one asks, another one agrees. Pure.

What is agreed to is exactly what was asked: this grant with this token, this version over that serial. When it is
another one by then, it is asked for anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from interlock.instants import span
from interlock.persons import Party
from interlock.policy.approval import Approval, Kind, of_party
from interlock.policy.policy import Policies

VALID_S = 86_400.0
"""How long another person's word is good: what it is about is a matter of hours, and policies may say less."""


def exact_digest(kind: Kind, state: str, exact: Sequence[object]) -> str:
    """Return the digest of what is to be done.

    Args:
        kind: Force-unlock or restore.
        state: The state's name.
        exact: What makes it this one and no other, as plain values.
    """
    return hashlib.sha256(msgspec.json.encode([kind.value, state, *exact])).hexdigest()


def request_for(  # noqa: PLR0913 - what a request is made of
    kind: Kind,
    state: str,
    policies: Policies,
    *,
    name: str,
    digest: str,
    what: str,
    by: str,
    party: Party | None = None,
    now: datetime,
) -> Approval:
    """Return the request of the first person.

    Args:
        kind: Force-unlock or restore.
        state: The state's name.
        policies: Those of the state.
        name: Its id, which nothing else has.
        digest: See `exact_digest`.
        what: The same for people, in one line.
        by: Who asks; they never count as the other person.
        party: Who is behind their credentials; None in a home without tokens.
        now: Aware UTC instant.
    """
    said = next((one.name for one in policies.each if one.two_persons), "")
    asked = Approval(
        id=name,
        kind=kind,
        state=state,
        digest=digest,
        what=what,
        asked_by=by,
        asked_at=now,
        expires_at=now + span(min(VALID_S, policies.approval_s)),
        needed=1,
        own_approval=False,
        policy=said,
    )
    return of_party(asked, party)
