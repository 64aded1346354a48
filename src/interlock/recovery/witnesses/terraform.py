"""Does the plain Terraform that took this lock still run on this host? The judging part; `running` looks.

A plain Terraform leaves its `user@host` and the time of the lock, nothing else: no pid, no heartbeat.
Can prove: that it is alive, when a Terraform runs here for the same state and was started before the lock was taken;
that it is gone, when the lock names this host and no Terraform that could be it runs here, or this host was started
since. Cannot prove: anything about another host, about another container, or about a host whose name others share. Two
machines of one name cannot be told apart; names that no machine has for itself, such as `localhost`, count as no name.
A stopped process is alive. A process whose folder we may not see may be it, so it keeps the verdict open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from interlock.errors import THIS_STATE, command
from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.witnesses import running
from interlock.recovery.witnesses.running import Role, Running, Sight

CLOCK_SLACK_S = 60.0
"""A process that was started so much later than the lock may still be its holder: the clock may have been set."""

_NOBODYS_NAMES = frozenset({"", "localhost", "localhost.localdomain", "(none)", "unknown"})
_SHOWN = 5

PlaceOf = Callable[[Running], str | None]
"""Returns the address of the state that a process works on; None when that cannot be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A lock of a plain Terraform.

    Attributes:
        who: `user@host`, as stored.
        created_at: When it was taken, by the holder's clock; None when that is not known.
        address: Of the state that it locks.
        directory: The root module that the operator named; None when there is none.
    """

    who: str
    created_at: datetime | None
    address: str
    directory: Path | None = None


def collect(suspect: Suspect, place_of: PlaceOf, *, now: datetime) -> list[Evidence]:
    """Look for the Terraform that took a lock among the processes of this host."""
    sight = running.look_around()
    user = suspect.who.partition("@")[0]
    known = not user or running.has_user(user)
    blind = why_blind(suspect, sight, user_known=known, now=now)
    if blind is not None:
        return [_say(Says.NOTHING, blind[0], sight, now, blind[1])]
    found = [(process, place_of(process)) for process in running.find_running(suspect.directory)]
    return testify(suspect, sight, found, now=now)


def why_blind(suspect: Suspect, sight: Sight, *, user_known: bool, now: datetime) -> tuple[str, str] | None:
    """Return why nothing can be seen of the holder from here, and what to do; None when it can. Pure."""
    user, _, host = suspect.who.rpartition("@")
    look = command("lock", "explain", THIS_STATE)
    elsewhere = f"on {host}: {look}"
    job = "if the holder is a CI job, name it: --job URL"
    checks = (
        (host in _NOBODYS_NAMES, f"the lock names no host ({suspect.who or 'no Who'})", job),
        (host != sight.host, f"the holder is on {host}, this is {sight.host}", f"{elsewhere}; {job}"),
        (not user_known, f"this host has no user {user}: perhaps another machine of this name", elsewhere),
        (
            sight.borrowed_name,
            "this container has its machine's name but not its processes",
            f"{elsewhere}    outside of this container",
        ),
        (
            sight.is_hidden,
            "processes of other users are hidden here",
            f"as root: {command('lock', 'explain', THIS_STATE)}",
        ),
        (_is_future(suspect, now), "the lock was taken in the future: a clock was set back", "correct the clock"),
        (
            sight.in_container and _began_since(suspect, sight),
            "this container was started after the lock was taken, so the holder was another one",
            elsewhere,
        ),
    )
    return next(((text, how_to) for is_so, text, how_to in checks if is_so), None)


def _is_future(suspect: Suspect, now: datetime) -> bool:
    return suspect.created_at is not None and suspect.created_at > now + timedelta(seconds=CLOCK_SLACK_S)


def testify(
    suspect: Suspect, sight: Sight, found: Iterable[tuple[Running, str | None]], *, now: datetime
) -> list[Evidence]:
    """Return what the processes of the lock's own host allow to say. Pure.

    Args:
        suspect: The lock.
        sight: What this host is; `why_blind` found nothing against it.
        found: Processes, each with the address of its state.
        now: The observer's clock.
    """
    here = [(process, place) for process, place in found if place in (None, suspect.address)]
    evidence: list[Evidence] = []
    for process, place in here:
        says, text, how_to = _about(suspect, process, is_here=place is not None)
        evidence.append(_say(says, text, sight, now, how_to))
    if any(item.says in (Says.ALIVE, Says.NOTHING) for item in evidence):
        return evidence
    if _began_since(suspect, sight) and not sight.in_container:
        return [*evidence, _say(Says.GONE, f"{sight.host} was started again since the lock was taken", sight, now)]
    text = f"no Terraform or OpenTofu that could hold it runs on {sight.host}, where the lock was taken"
    return [*evidence, _say(Says.GONE, text, sight, now)]


def _about(suspect: Suspect, process: Running, *, is_here: bool) -> tuple[Says, str, str]:
    where = f" in {process.folder}" if process.folder else ""
    name = f"process {process.pid} ({process.words}){where}"
    if process.role is Role.ORPHAN:
        return Says.FACT, f"{name} is an orphan: a command that Terraform started may still work", ""
    if process.role is Role.PROVIDER:
        return Says.ALIVE, f"{name} is a provider whose Terraform was killed; it may still call the API", ""
    if _is_later(suspect, process):
        return Says.FACT, f"{name} was started after the lock was taken, so it is not the holder", ""
    state = " but stopped (SIGSTOP or a debugger)" if process.is_stopped else ""
    if is_here:
        return Says.ALIVE, f"{name} works on this state and is alive{state}", ""
    how_to = f"look what process {process.pid} works on, or as its user or as root: " + command(
        "lock", "explain", THIS_STATE
    )
    return Says.NOTHING, f"{name} is alive{state} and may be the holder", how_to


def _is_later(suspect: Suspect, process: Running) -> bool:
    if suspect.created_at is None or process.started_at is None:
        return False
    return process.started_at > suspect.created_at + timedelta(seconds=CLOCK_SLACK_S)


def _began_since(suspect: Suspect, sight: Sight) -> bool:
    return suspect.created_at is not None and sight.up_since is not None and sight.up_since > suspect.created_at


def _say(says: Says, text: str, sight: Sight, now: datetime, how_to: str = "") -> Evidence:
    source = f"processes of {sight.host}"
    return Evidence(witness="process", says=says, text=text, source=source, observed_at=now, how_to=how_to)
