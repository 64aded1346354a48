"""This machine's audit log, opened. A hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.audit import Entry, Head, Noted, find_head
from interlock.audit.log import AuditLog, Damaged
from interlock.audit.signing import AuditKey, parse_key
from interlock.clock import SystemClock
from interlock.errors import InterlockError
from interlock.home.embedded import EmbeddedHome, open_home, read_settings
from interlock.site.which import names_of
from interlock.trust.secret_file import read_secret_file

KEY = "INTERLOCK_AUDIT_KEY"
KEY_FILE = "INTERLOCK_AUDIT_KEY_FILE"
_VERSIONS_LOOKED_AT = 20  # newer than the first that has noted a head there are at most a few of earlier Interlocks

Told = Callable[[Head], None]
"""Is told the head after each decision, so that a person's own log has it."""


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


def open_log(home: EmbeddedHome, environ: Mapping[str, str], told: Told | None = None) -> AuditLog:
    """Return the audit log of a home.

    Raises:
        UsageError: The key for it is set and is no key.
    """
    return AuditLog(home.store.records, SystemClock(), key=find_key(environ), told=told)


def find_key(environ: Mapping[str, str]) -> AuditKey | None:
    """Return the key that signs entries; None when the operator has set none.

    Raises:
        UsageError: It cannot be read, others can read it, or it is too short.
    """
    if text := environ.get(KEY):
        return parse_key(text, said_by=KEY)
    if not (named := environ.get(KEY_FILE)):
        return None
    return parse_key(read_secret_file(Path(named), what="the key of the audit log"), said_by=named)


async def decisions(subject: str | None, environ: Mapping[str, str]) -> tuple[tuple[Entry, ...], tuple[Damaged, ...]]:
    """Return the entries about the state that is meant, or all, and those that cannot be read.

    Raises:
        UsageError: No state can be meant, and nothing was decided about a subject of this name.
    """
    async with open_home(read_settings(environ), make=False) as home:
        log = open_log(home, environ)
        entries, damaged = await log.entries(), await log.damaged()
        if subject is None:
            return entries, damaged
        named = tuple(entry for entry in entries if entry.subject == subject)
        if not named:
            _, address = await names_of(subject, home, environ)
            named = tuple(entry for entry in entries if entry.subject == address)
        return named, damaged


async def verify_log(noted: Head | None) -> Verified:
    """Walk the log; compare it with its end, with what the states' versions have noted, and with a person's note.

    Raises:
        UsageError: The key is set and is no key.
    """
    async with open_home(read_settings(), make=False) as home:
        log = open_log(home, os.environ)
        own = [Noted(head=noted, where="the head that you named")] if noted is not None else []
        count, fault = await log.verify([*own, *await _noted_in_states(home)])
        signed = sum(bool(entry.signature) for entry in await log.entries())
        head = None if fault else await log.head()
        return Verified(entries=count, fault=fault, head=head, signed=signed, checked=find_key(os.environ) is not None)


async def _noted_in_states(home: EmbeddedHome) -> list[Noted]:
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
