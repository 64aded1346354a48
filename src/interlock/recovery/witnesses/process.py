"""Is the process that acts for a holder still there, on this host?

Can prove: that it lives; that it is gone, when its name (pid, start time, boot, pid namespace) is of this host.
Cannot prove: anything about another host or another container.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from interlock.host import Life, ProcessName, group_members, life_of
from interlock.recovery.evidence import Evidence, Says

_NAMED = "interlock process "  # begins the `Info` of a lock that a command of ours took

_GROUP_LEADER = "terraform"  # started in a session of its own, so its pid names the group of everything it started


def collect(processes: Mapping[str, ProcessName], *, source: str, now: datetime) -> list[Evidence]:
    """Return what can be seen of a holder's processes.

    Args:
        processes: By role: `supervisor`, `terraform`.
        source: Where their names were recorded.
        now: The observer's clock.
    """

    def say(says: Says, text: str, how_to: str = "") -> Evidence:
        return Evidence(witness="process", says=says, text=text, source=source, observed_at=now, how_to=how_to)

    if not processes:
        return [say(Says.NOTHING, "no process was recorded for the holder", "look on the holder's machine")]
    lives = {role: life_of(process) for role, process in processes.items()}
    living = [f"{role}: {why}" for role, (life, why) in lives.items() if life in (Life.ALIVE, Life.STOPPED)]
    if living:
        return [say(Says.ALIVE, text) for text in living]
    unseen = [f"{role}: {why}" for role, (life, why) in lives.items() if life is Life.UNKNOWN]
    if unseen:
        host = next(iter(processes.values())).host
        return [say(Says.NOTHING, text, f"run interlock lock explain on {host}") for text in unseen]
    if left := _left_behind(processes):
        return [say(Says.ALIVE, f"processes that Terraform started still run: {', '.join(map(str, left))}")]
    return [say(Says.GONE, "; ".join(f"{role}: {why}" for role, (_, why) in lives.items()))]


def _left_behind(processes: Mapping[str, ProcessName]) -> list[int]:
    leader = processes.get(_GROUP_LEADER)
    return group_members(leader.pid) if leader is not None else []


def render_name(name: ProcessName) -> str:
    """Return the text for a lock's `Info` by which the process that took it is found again."""
    return _NAMED + msgspec.json.encode(name).decode()


def parse_name(info: str) -> ProcessName | None:
    """Read what `render_name` wrote; None for anybody else's text."""
    if not info.startswith(_NAMED):
        return None
    try:
        return msgspec.json.decode(info.removeprefix(_NAMED), type=ProcessName)
    except msgspec.MsgspecError:
        return None
