"""What was decided about states, and whether the log of that is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.audit import Head, Noted, find_head
from interlock.audit.export import Filter
from interlock.errors import InterlockError
from interlock.site.which import names_of

if TYPE_CHECKING:
    from interlock.home.interface import Home

_VERSIONS_LOOKED_AT = 20  # newer than the first that has noted a head there are at most a few of earlier Interlocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a look at the whole log found.

    Attributes:
        entries: How many are in order.
        fault: What is wrong with the next one; empty when all are in order.
        head: The newest; None for an empty log.
        signed: How many have a signature, whether or not it was checked.
        checked: Whether there was a key to check signatures with.
    """

    entries: int
    fault: str
    head: Head | None
    signed: int
    checked: bool


async def filter_of(
    home: Home,
    environ: Mapping[str, str],
    *,
    subject: str | None = None,
    who: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Filter:
    """Return a filter; a state is found by its name, its address or the folder of its root module.

    Raises:
        UsageError: No state can be meant, and nothing was decided about a subject of this name.
    """
    subjects = None
    if subject is not None:
        entries = await home.audit.entries()
        named = {subject} & {entry.subject for entry in entries}
        queue, address = (subject, subject) if named else await names_of(subject, home, environ)
        subjects = frozenset({subject, queue, address})
    return Filter(subjects=subjects, who=who, action=action, since=since, until=until)


async def export_log(home: Home, wanted: Filter) -> Sequence[bytes]:
    """Return the log as lines of a file; see `interlock.audit.export`."""
    return await home.audit.export(wanted, by=home.person)


def check_export(content: bytes, home: Home) -> tuple[int, str, bool]:
    """Return how many entries of an exported file are in order, what is wrong then, and whether a key was checked."""
    count, fault = home.audit.export_fault([line for line in content.split(b"\n") if line])
    return count, fault, home.audit.has_key


async def verify_log(home: Home, noted: Head | None) -> Verified:
    """Walk the log; compare it with its end, with what the states' versions have noted, and with a person's note.

    Raises:
        UsageError: The key is set and is not a key.
    """
    log = home.audit
    own = [Noted(head=noted, where="the head that you named")] if noted is not None else []
    count, fault = await log.verify([*own, *await _noted_in_states(home)])
    signed = sum(bool(entry.signature) for entry in await log.entries())
    head = None if fault else await log.head()
    return Verified(entries=count, fault=fault, head=head, signed=signed, checked=log.has_key)


async def _noted_in_states(home: Home) -> list[Noted]:
    found: list[Noted] = []
    for name in [view.state for view in await home.coordinator.states()]:
        try:
            versions = await home.archive.history(name, limit=_VERSIONS_LOOKED_AT)
        except InterlockError:  # `state verify` says what is wrong with a history
            continue
        said = next((version for version in versions if version.audit), None)
        head = find_head(said.audit) if said is not None else None
        if said is not None and head is not None:
            found.append(Noted(head=head, where=f"version {said.number} of state {name}"))
    return found
