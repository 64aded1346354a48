"""A stored lock document -> a lock, the error of somebody who met it, and what our own runs write into it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from interlock.errors import THIS_STATE, LockHeld, UsageError, command
from interlock.existing.interface import TerraformLock
from interlock.late_pattern import late
from interlock.terraform.lockinfo import parse_lock_info

_REFERENCE = late(r"interlock run=([0-9a-z]+)(?: job=(\S+))?\Z")
_JOB_CHARS = 1000  # of a job's URL; the lock document is an item of a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a run of ours writes into the `Info` of Terraform's lock, so that others can ask after it.

    Attributes:
        run: Run id.
        job: URL of the CI job; empty outside CI.
    """

    run: str
    job: str = ""


def render_reference(reference: Reference) -> str:
    """Return the text for `Info`: `interlock run=… job=https://…`."""
    job = reference.job if len(reference.job) <= _JOB_CHARS and not re.search(r"\s", reference.job) else ""
    return f"interlock run={reference.run}" + (f" job={job}" if job else "")


def find_reference(info: str) -> Reference | None:
    """Read what `render_reference` wrote; None for anybody else's text."""
    match = _REFERENCE.match(info)
    return None if match is None else Reference(run=match[1], job=match[2] or "")


def lock_id_of(run: str) -> str:
    """Return the id of the lock that a run takes: a server that keeps of a lock only its id says by it whose it is."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"interlock:lock:{run}"))


def foreign_lock(raw: bytes, *, mechanism: str, place: str) -> TerraformLock:
    """Return what a stored lock document says; one that cannot be read still locks."""
    try:
        info = parse_lock_info(raw)
    except UsageError as error:
        return TerraformLock(id="", mechanism=mechanism, place=place, raw=raw, unreadable=error.why)
    return TerraformLock(
        id=info.id,
        operation=info.operation,
        info=info.info,
        who=info.who,
        version=info.version,
        created=info.created,
        created_at=info.created_at,
        path=info.path,
        mechanism=mechanism,
        place=place,
        raw=raw,
    )


def held_by(lock: TerraformLock, path: str) -> LockHeld:
    """Return the error for a lock that somebody else has."""
    who = lock.who or "somebody unknown"
    return LockHeld(
        f"{path} is locked by {who}",
        why=f"{lock.operation or 'an operation'} since {lock.created or 'an unknown time'}, lock id {lock.id or '?'}",
        fix=command("lock", "explain", THIS_STATE),
        lock_id=lock.id,
        who=lock.who,
        mechanism=lock.mechanism,
    )
