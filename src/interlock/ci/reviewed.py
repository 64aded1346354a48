"""Which plan was reviewed: of the runs that planned a change, the newest made before people approved it.

Knows: plain values; the platforms' APIs are read in `platforms/`. A plan is never chosen because it is the newest: who
may start a run again after the review could put another one in its place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from interlock.errors import PolicyGate

WRAPPED_PREFIX = "interlock-plan-"
SEALED_PREFIX = "interlock-sealed-"
_HEX = {40: hashlib.sha1, 64: hashlib.sha256}  # git's object names
_AGAIN = "start this pipeline by hand, which makes a new plan and asks for approval, or review and merge again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The run that planned what is to be applied.

    Attributes:
        run: Its id.
        attempt: Which attempt.
        commit: The commit that it planned.
        tree: That commit's tree.
        wrapped: The wrapped plan.
        words: How the run was found, for people.
    """

    run: str
    attempt: str
    commit: str
    tree: str
    wrapped: bytes = field(repr=False)
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A wrapped plan that a run has kept.

    Attributes:
        run: The run.
        attempt: Which attempt of it.
        made_at: When it was kept, by the platform's clock.
        where: What the platform calls it, to fetch it.
    """

    run: str
    attempt: str
    made_at: datetime
    where: str


def choose(kept: Iterable[Kept], *, until: datetime | None, state: str) -> Kept:
    """Return the newest plan that people can have seen when they approved.

    Args:
        kept: The plans that runs of the reviewed commit have kept.
        until: When it was approved; None for a run that asks for approval itself, later.
        state: For messages.

    Raises:
        PolicyGate: There is none.
    """
    plans = sorted(kept, key=lambda one: (one.made_at, one.attempt))
    seen = [one for one in plans if until is None or one.made_at <= until]
    if not seen:
        late = f"{len(plans)} were made after the approval" if plans else "no run of the reviewed commit has kept one"
        raise no_plan(state, late)
    return seen[-1]


def no_plan(state: str, why: str) -> PolicyGate:
    """Return the refusal of an apply without a reviewed plan."""
    return PolicyGate(f"there is no reviewed plan of {state} for these files", why=why, fix=_AGAIN)


def check_tree(planned: str, here: str, *, state: str) -> None:
    """Refuse a plan of other files than those of the branch.

    Raises:
        PolicyGate: The trees differ.
    """
    if not planned or planned != here:
        raise no_plan(state, "the branch has moved since the review: its files are not the planned ones")


def parse_instant(text: object) -> datetime | None:
    """Return an instant that a platform's API wrote; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def attempt_in(name: str, slug: str) -> str | None:
    """Return the attempt in the name of an artifact that holds a wrapped plan of this state; None for another one."""
    found = re.fullmatch(rf"{re.escape(WRAPPED_PREFIX + slug)}-(\d{{1,6}})", name)
    return found[1] if found else None


def tree_id(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return git's name of a tree from its entries (`mode`, `name`, `id`); empty when that cannot be told.

    An API that lists a tree need not say its name, and a job without a checkout cannot ask git.
    """
    listed = [
        (str(entry["mode"]).lstrip("0"), str(entry["name"]).encode(), str(entry["id"]))
        for entry in entries
        if {"mode", "name", "id"} <= set(entry)
    ]
    lengths = {len(name) for _, _, name in listed}
    if len(lengths) != 1 or not lengths <= set(_HEX) or not all(re.fullmatch("[0-9a-f]+", one) for _, _, one in listed):
        return ""
    listed.sort(key=lambda one: one[1] + (b"/" if one[0] == "40000" else b""))
    body = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in listed)
    return _HEX[lengths.pop()](b"tree %d\0" % len(body) + body).hexdigest()
