"""What people wanted of a state, as far as this machine knows: its configuration, our runs, broken locks. A hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from interlock.audit.entry import Entry
from interlock.audit.interface import Audit
from interlock.hcl import Module, read_module
from interlock.recovery.damage import Intent
from interlock.run.summary import recent
from interlock.site.act_entries import BREAK_DECIDED, BREAK_DONE
from interlock.site.own_leftovers import planned_deletions
from interlock.source.disk import DiskTree
from interlock.source.tree import SourceUnreadable

RUNS_MAX = 200
"""Runs whose plans are read; older ones say little about the versions that are looked at."""

STATE_ACCEPTED = "state-accepted"
"""Action in the audit log: a person accepted a suspect version; its fact `lacks` names what that version dropped."""

DELETIONS_ACCEPTED = "deletions-accepted"
"""In the audit log: somebody said that what is gone from a version was meant to go."""

STATE_RESTORED = "state-restored"
"""In the audit log: somebody made an older version current again; its fact `sha256` names the bytes."""

_TAKEOVERS = frozenset({BREAK_DECIDED, BREAK_DONE})
"""The first is written before the lock is broken: who was killed behind that has left no second one."""

_MANY = ("count", "for_each")


async def find_intent(directory: Path | None, address: str, runs: Path, log: Audit) -> Intent:
    """Gather what is known about one state."""
    entries = await log.entries(subject=address)
    return Intent(
        declared=_declared(directory) if directory is not None else None,
        planned=(_planned(directory, runs) if directory is not None else frozenset()) | _accepted(entries),
        takeovers=tuple(entry.at for entry in entries if entry.action in _TAKEOVERS),
        accepted=_facts(entries, DELETIONS_ACCEPTED, "content"),
        restored=_facts(entries, STATE_RESTORED, "sha256"),
    )


def _declared(directory: Path) -> frozenset[str] | None:
    """Return the addresses that the configuration always has; None when it cannot be read."""
    try:
        module = read_module(DiskTree(), str(directory))
    except SourceUnreadable:
        return None
    return frozenset(_addresses(module, "")) if module.is_whole else None


def _addresses(module: Module, prefix: str) -> Iterator[str]:
    for resource in module.resources:
        if resource.mode == "managed" and not any(name in resource.body.attributes for name in _MANY):
            yield f"{prefix}{resource.type}.{resource.name}"
    for call in module.calls:
        if call.module is not None and not any(name in call.block.body.attributes for name in _MANY):
            yield from _addresses(call.module, f"{prefix}module.{call.name}.")


def _planned(directory: Path, runs: Path) -> frozenset[str]:
    found: set[str] = set()
    for summary in recent(runs, limit=RUNS_MAX):
        if summary.directory == str(directory):
            found |= planned_deletions(runs / summary.run)
    return frozenset(found)


def _accepted(entries: Sequence[Entry]) -> frozenset[str]:
    """Return what persons let go when they accepted a suspect version."""
    found: set[str] = set()
    for entry in entries:
        lacks = entry.facts.get("lacks") if entry.action == STATE_ACCEPTED else None
        found.update(lacks if isinstance(lacks, list) else ())
    return frozenset(found)


def _facts(entries: Sequence[Entry], action: str, name: str) -> frozenset[str]:
    return frozenset(str(entry.facts.get(name)) for entry in entries if entry.action == action)
