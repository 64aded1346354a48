"""Does the plain Terraform that took this lock still run on this host? The judging part; `running` looks.

A plain Terraform leaves its `user@host` and the time of the lock, nothing else: no pid, no heartbeat.
Can prove: that it is alive, when a Terraform runs here for the same state and was started before the lock was taken;
that it is gone, when the lock names this host, this host was up all the time since, we see all of its processes, and no
Terraform that could be it runs here.
Cannot prove: anything about another host. A name is not an identity: in a container, in a CI job, without /proc or a
boot id (macOS, gVisor), with hidden processes, or on a host that was started since, a missing process proves nothing.
Two machines of one name that are both up all the time cannot be told apart; names that no machine has for itself, such
as `localhost`, count as no name. A stopped process is alive. A process whose folder we may not see may be it, so it
keeps the verdict open.
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

_NOBODYS_NAMES = frozenset({"", "localhost", "localhost.localdomain", "(none)", "unknown", "runner", "buildkitsandbox"})
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
        in_ci: We are in a CI job ourselves, so our host's name is that of a fleet.
    """

    who: str
    created_at: datetime | None
    address: str
    directory: Path | None = None
    in_ci: bool = False


def collect(suspect: Suspect, place_of: PlaceOf, *, now: datetime) -> list[Evidence]:
    """Look for the Terraform that took a lock among the processes of this host."""
    sight = running.look_around()
    user = suspect.who.partition("@")[0]
    known = not user or running.has_user(user)
    blind = why_elsewhere(suspect, sight, user_known=known, now=now)
    if blind is not None:
        return [_say(Says.NOTHING, blind[0], sight, now, blind[1])]
    found = [(process, place_of(process)) for process in running.find_running(suspect.directory)]
    return testify(suspect, sight, found, now=now)


def collect_living(suspect: Suspect, place_of: PlaceOf, *, now: datetime) -> list[Evidence]:
    """Return evidence of Terraforms of this host that work on the lock's state, whatever host the lock names."""
    sight = running.look_around()
    found = [(process, place_of(process)) for process in running.find_running(suspect.directory)]
    return [item for item in testify(suspect, sight, found, now=now) if item.says is Says.ALIVE]


def why_elsewhere(suspect: Suspect, sight: Sight, *, user_known: bool, now: datetime) -> tuple[str, str] | None:
    """Return why a holder need not be looked for here, and what to do; None when it may be here. Pure."""
    user, _, host = suspect.who.rpartition("@")
    elsewhere = f"on {host}: {_LOOK}"
    checks = (
        (host in _NOBODYS_NAMES, f"the lock names no host ({suspect.who or 'no Who'})", _JOB),
        (host != sight.host, f"the holder is on {host}, this is {sight.host}", f"{elsewhere}; {_JOB}"),
        (not user_known, f"this host has no user {user}: perhaps another machine of this name", elsewhere),
        (_is_future(suspect, now), "the lock was taken in the future: a clock was set back", "correct the clock"),
    )
    return next(((text, how_to) for is_so, text, how_to in checks if is_so), None)


_LOOK = command("lock", "explain", THIS_STATE)
_JOB = "if the holder is a CI job, name it: --job URL"


def why_no_proof(suspect: Suspect, sight: Sight) -> tuple[str, str] | None:
    """Return why a host of the lock's name on which nothing holds it proves nothing; None when it does prove. Pure.

    A name is not an identity. Containers and CI machines are made by the hundred under one name; one that cannot see
    every process of its machine cannot say that there is none.
    """
    named = f'a host name such as "{sight.host}" says nothing'
    outside = f"on the machine itself, outside of containers: {_LOOK}    {_JOB}"
    checks = (
        (sight.in_container, f"this is a container, in which {named}: others have the same", outside),
        (suspect.in_ci, f"this is a CI job, where {named}: many machines have the same", _JOB),
        (not sight.has_boot, f"this system has no /proc or no boot id, so {named}", _JOB),
        (sight.is_hidden, "processes of other users are hidden here", f"as root: {_LOOK}"),
        (
            sight.up_since is None or suspect.created_at is None or _began_since(suspect, sight),
            f"this host was not seen to be up since the lock was taken, so {named}: a restart, or another machine",
            f'if it is this machine and it was started again: --i-have-verified "it was started again"; {_JOB}',
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
        sight: What this host is; `why_elsewhere` found nothing against it.
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
    if (doubt := why_no_proof(suspect, sight)) is not None:
        text = f"no Terraform or OpenTofu that could hold it is seen here, but {doubt[0]}"
        return [*evidence, _say(Says.NOTHING, text, sight, now, doubt[1])]
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
