"""A run at a glance: the small file beside its journal that lists, witnesses and waiting commands read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from interlock.bounded import decode_json
from interlock.host import ProcessName

SUMMARY = "summary.json"
_PACE_RUNS = 20  # holds that the expected start is computed from: recent enough to follow a growing state


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A state that a run saw stored at its end: evidence of it, should it be deleted.

    Attributes:
        lineage: Its lineage.
        serial: Its serial.
        digest: SHA-256 of its bytes, hex.
        at: When it was stored, by the store's clock; None where the store does not say.
    """

    lineage: str
    serial: int
    digest: str
    at: datetime | None = None


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule of a policy said; see `interlock.policy.judging.Result`."""

    policy: str
    rule: str
    layer: str
    passed: bool
    what: str = ""
    addresses: list[str] = []


class Summary(msgspec.Struct, kw_only=True):
    """What is known of a run so far.

    Attributes:
        run: Run id.
        state: State name.
        operation: `plan`, `apply`, `destroy` or `drift`.
        who: Who ordered it.
        directory: The root module.
        phase: Where it is.
        started_at: When it was ordered.
        held_at: When it got the state; None while it waits.
        released_at: When it began to give the state back; None while it holds, and for a run that was killed.
        ended_at: When it ended; None while it lives.
        exit: Its exit status; None while it lives.
        told_end: Its supervisor told its end itself, and has let go of everything; False also where others wrote it.
        code: The error code; empty for success.
        message: What happened, for people; empty for success.
        token: Fencing token of its grant; None before.
        folder: Where Terraform works, and would leave `errored.tfstate`.
        processes: `supervisor` and `terraform`: who they are, for evidence.
        starting: A command of Terraform that was about to be started when this was written, and whose process is not
            in `processes` yet; empty when there is none; None in records of versions that did not write it.
        counts: `add`, `change`, `remove` of its plan.
        serial: Serial of the state that it left.
        seen: That state; None when there was none, and in records of versions that did not write it.
        store: Which server's; see `interlock.existing.opening.store_of`. None for our own, and in records of versions
            that did not write it.
        job: URL of its CI job.
        plan_digest: Digest of the plan that it kept for later, or applied; empty for none.
        in_flight: Operations that were cut off, so that nobody knows whether they took effect.
        approval: The request for approval that it made; empty for none.
        policies: What rules of policies said of its plan.
        orphans: How many objects it made that no state held at its end.
        gateway_ports: Ports of loopback at which the run's gateway listens; when its supervisor is killed, recovery
            refuses there what its provider still calls.
    """

    run: str
    state: str
    operation: str
    who: str
    directory: str
    phase: str
    started_at: datetime
    held_at: datetime | None = None
    released_at: datetime | None = None
    ended_at: datetime | None = None
    exit: int | None = None
    told_end: bool = False
    code: str = ""
    message: str = ""
    token: int | None = None
    folder: str = ""
    processes: dict[str, ProcessName] = {}
    starting: str | None = None
    counts: dict[str, int] = {}
    serial: int | None = None
    seen: Seen | None = None
    store: str | None = None
    job: str | None = None
    plan_digest: str = ""
    in_flight: list[str] = []
    gateway_ports: list[int] = []
    orphans: int = 0
    approval: str = ""
    policies: list[PolicyResult] = []

    @property
    def gap(self) -> str:
        """Why a process of the run may be missing in `processes`; empty when none can be."""
        if self.starting is None:
            return "an older Interlock wrote its record, which may lack its latest process"
        return f"it was starting terraform {self.starting} when its record was last written" if self.starting else ""

    @property
    def held_s(self) -> float | None:
        """How long it held the state; None when it did not, or still does."""
        until = self.released_at or self.ended_at
        return None if self.held_at is None or until is None else (until - self.held_at).total_seconds()


def write_summary(folder: Path, summary: Summary) -> None:
    """Replace the summary in one step, so that a reader never sees half of it. A full disk is not an error here."""
    with suppress(OSError):
        store_summary(folder, summary)


def store_summary(folder: Path, summary: Summary) -> None:
    """Replace the summary in one step, where it matters that it is written.

    Raises:
        OSError: It is not; the one before stays.
    """
    fresh = folder / f"{SUMMARY}.{os.getpid()}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(summary))
    fresh.replace(folder / SUMMARY)


def find_summary(folder: Path) -> Summary | None:
    """Return the summary of the run in `folder`; None when there is none that can be read."""
    try:
        return decode_json((folder / SUMMARY).read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def recent(runs: Path, *, limit: int, state: str | None = None) -> list[Summary]:
    """Return the newest runs first, at most `limit`, of one state or of all."""
    found: list[Summary] = []
    names = sorted((entry.name for entry in runs.iterdir()), reverse=True) if runs.is_dir() else []
    for name in names:
        summary = find_summary(runs / name)
        if summary is not None and state in (None, summary.state):
            found.append(summary)
        if len(found) == limit:
            break
    return found


def pace_s(runs: Iterable[Summary]) -> float | None:
    """Return how long a run of this state usually holds it: the median of the latest holds; None without any."""
    held = [summary.held_s for summary in runs if summary.held_s is not None and summary.exit in (0, 2)]
    return _median(held[:_PACE_RUNS]) if held else None


def _median(values: list[float]) -> float:
    """Return the median; Python's own comes with fractions and decimals, 8 ms of import in every run that waits."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def as_plain(summary: Summary) -> dict[str, Any]:
    """Return the summary as plain values for `--json`."""
    plain: dict[str, Any] = msgspec.to_builtins(summary)
    return plain
