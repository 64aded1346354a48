"""Is anything that acts for a holder still there, on this machine?

Can prove: that it lives; that it is gone, when the kernel says that nobody has the run's lock file open any more, or
when every process was written down, is of this boot and this pid namespace, and has ended.
Cannot prove: anything about another machine; anything from a record that may be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct, field

from interlock.bounded import decode_json
from interlock.errors import THIS_STATE, command
from interlock.host import Life, ProcessName, group_members, life_of
from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.verdict import weigh

_NAMED = "interlock process "  # begins the `Info` of a lock that a command of ours took

_SUPERVISOR = "supervisor"
_GROUP_LEADER = "terraform"  # started in a session of its own, so its pid names the group of everything it started


class Recorded(Struct, frozen=True, kw_only=True):
    """What is written down of a holder's processes, and what the kernel says of them.

    Attributes:
        processes: By role: `supervisor`, `terraform`, or `interlock` for a command that holds by itself.
        source: Where that is written.
        gap: Why there may be a process that is not written down; empty when there can be none.
        kernel: What the run's lock file says, and how; see `interlock.host.alive`.
        told_end: The supervisor told the run's end and holds nothing since: it only tidies up, and may do so for long
            when its server is away. Says nothing about what it started.
    """

    processes: Mapping[str, ProcessName] = field(default_factory=dict)
    source: str = ""
    gap: str = ""
    kernel: tuple[Life, str] = (Life.UNKNOWN, "")
    told_end: bool = False


def collect(recorded: Recorded, *, now: datetime) -> list[Evidence]:
    """Return what can be seen of a holder's processes.

    Args:
        recorded: What is known of them.
        now: The observer's clock.
    """
    return [
        Evidence(witness="process", says=says, text=text, source=recorded.source, observed_at=now, how_to=how_to)
        for says, text, how_to in _testify(recorded)
    ]


def _testify(recorded: Recorded) -> list[tuple[Says, str, str]]:
    lives = {role: life_of(process) for role, process in recorded.processes.items()}
    if recorded.told_end and _SUPERVISOR in lives:
        lives[_SUPERVISOR] = (Life.GONE, "it has told the run's end, and acts for it no more")
    kernel, why = recorded.kernel
    seen = {role: text for role, (life, text) in lives.items() if life in _LIVING}
    if left := _left_behind(recorded.processes, lives):
        seen["terraform"] = f"processes that it started still run: {', '.join(map(str, left))}"
    ended = bool(lives) and all(life is Life.GONE for life, _ in lives.values())
    record = Says.ALIVE if seen else Says.GONE if ended else Says.NOTHING
    match weigh(_KERNEL[kernel], record, has_gap=bool(recorded.gap)):
        case Says.ALIVE:
            told = [f"{role}: {text}" for role, text in seen.items()] + [why] * (kernel is Life.ALIVE)
            return [(Says.ALIVE, text, "") for text in told]
        case Says.GONE if kernel is Life.GONE:
            return [(Says.GONE, why, "")]
        case Says.GONE:
            return [(Says.GONE, "; ".join(f"{role}: {text}" for role, (_, text) in lives.items()), "")]
        case _:
            return _unseen(recorded, lives)


_LIVING = frozenset({Life.ALIVE, Life.STOPPED})
_KERNEL = {Life.ALIVE: Says.ALIVE, Life.STOPPED: Says.ALIVE, Life.GONE: Says.GONE, Life.UNKNOWN: Says.NOTHING}


def _unseen(recorded: Recorded, lives: Mapping[str, tuple[Life, str]]) -> list[tuple[Says, str, str]]:
    """Say what is missing for a proof."""
    lock = f"; {recorded.kernel[1]}" if recorded.kernel[1] else ""
    if not recorded.processes:
        return [(Says.NOTHING, f"no process was recorded for the holder{lock}", "look on the holder's machine")]
    host = next(iter(recorded.processes.values())).host
    hidden = [f"{role}: {why}" for role, (life, why) in lives.items() if life is Life.UNKNOWN]
    if hidden:
        return [(Says.NOTHING, text, f"on {host}: {command('lock', 'explain', THIS_STATE)}") for text in hidden]
    how_to = f"look on {host} whether a Terraform or a provider of it still runs"
    return [(Says.NOTHING, f"{recorded.gap}{lock}", how_to)]


def _left_behind(processes: Mapping[str, ProcessName], lives: Mapping[str, tuple[Life, str]]) -> list[int]:
    """Return what is left of Terraform's process group; its number means nothing in another pid namespace or boot."""
    leader = processes.get(_GROUP_LEADER)
    if leader is None or lives[_GROUP_LEADER][0] is not Life.GONE:
        return []
    return group_members(leader.pid)


def render_name(name: ProcessName) -> str:
    """Return the text for a lock's `Info` by which the process that took it is found again."""
    return _NAMED + msgspec.json.encode(name).decode()


def parse_name(info: str) -> ProcessName | None:
    """Read what `render_name` wrote; None for anybody else's text."""
    if not info.startswith(_NAMED):
        return None
    try:
        return decode_json(info.removeprefix(_NAMED), type=ProcessName)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
