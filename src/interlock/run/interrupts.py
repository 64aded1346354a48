"""What each wish to stop means in each phase. The rule is the table below; `docs/explanation/ci-signals.md` shows it.

| phase | first wish | later wishes |
|---|---|---|
| preparing, queued | leave: nothing was started | nothing further |
| planning, applying | stop: ask Terraform once | a burst is one wish; then a warning; then, of a person, an end |
| awaiting | decline: the answer is no | nothing further |
| settling, ended | nothing: the state is being saved | nothing |

A wish is a decision, a signal is not. `systemctl stop`, a reboot, a CI runner and a closing terminal send INT, TERM and
HUP within a millisecond, to every process, or again after some seconds. So signals that come close together are one
wish, and Terraform is killed only for somebody who could read what that costs: the warning stood on the screen for
some seconds, nothing was pressed for a moment, and the wish is Ctrl-C or `interlock runs cancel`. SIGTERM and SIGHUP
come from programs; those have SIGKILL when they mean it.

Never the process group: the Genesys Cloud provider plugin exits at once on a signal and loses what it just created
(terraform-provider-genesyscloud since 1.60.0, provider/provider.go setupCleanup).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from interlock.run.phases import Phase

BURST_S: Final = 2.0
"""Wishes that follow each other faster are one: nobody reads, decides and presses again in less."""
STANDS_S: Final = 5.0
"""How long the warning must have stood on the screen before a further wish may kill: it takes three to read it."""


class Cause(Enum):
    """Who wants the run to stop."""

    SIGINT = "sigint"
    SIGTERM = "sigterm"
    SIGHUP = "sighup"
    FRONT_END_GONE = "front-end-gone"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease-lost"
    SERVER_AWAY = "server-away"


class Action(Enum):
    """What the supervisor must do."""

    LEAVE = "leave"
    """Withdraw from the queue and end: nothing was started."""
    STOP = "stop"
    """Ask the terraform process alone to stop, unless somebody did already, and wait for its state."""
    WARN = "warn"
    """Say what is being waited for and what a further wish would lose."""
    KILL = "kill"
    """Kill Terraform; its newest state may be lost."""
    DECLINE = "decline"
    """Answer the approval with no; nothing was changed."""
    IGNORE = "ignore"
    """The run is already stopping, or saving and releasing; nothing can be gained."""


_MAY_WARN: Final = frozenset({Cause.SIGINT, Cause.SIGTERM, Cause.SIGHUP, Cause.CANCELLED})
"""A vanished front end and a lost lease say so once; nobody stands before a screen for them."""
_MAY_KILL: Final = frozenset({Cause.SIGINT, Cause.CANCELLED})
_PATIENT: Final = {
    Phase.PREPARING: Action.LEAVE,
    Phase.QUEUED: Action.LEAVE,
    Phase.AWAITING: Action.DECLINE,
    Phase.SETTLING: Action.IGNORE,
    Phase.ENDED: Action.IGNORE,
}
"""What every wish means in the phases in which no Terraform works that could lose something."""


class Wishes(Struct, frozen=True, kw_only=True):
    """What was answered so far while Terraform worked: instants of one monotonic clock in seconds; None for never."""

    stopped_s: float | None = None
    warned_s: float | None = None
    heard_s: float | None = None


def respond(phase: Phase, cause: Cause, wishes: Wishes, now_s: float) -> tuple[Action, Wishes]:
    """Return what the next wish to stop means, and the wishes with it.

    Args:
        phase: Where the run is.
        cause: Who asks.
        wishes: What was answered in the phases that run Terraform.
        now_s: Of the same monotonic clock.
    """
    if phase in _PATIENT:
        return _PATIENT[phase], wishes
    action = _while_running(cause, wishes, now_s)
    return action, _noted(action, wishes, now_s)


def _while_running(cause: Cause, wishes: Wishes, now_s: float) -> Action:
    if wishes.stopped_s is None:
        return Action.STOP
    if cause not in _MAY_WARN:
        return Action.IGNORE
    if wishes.warned_s is None:
        return Action.IGNORE if now_s - wishes.stopped_s < BURST_S else Action.WARN
    stood = now_s - wishes.warned_s >= STANDS_S
    paused = wishes.heard_s is None or now_s - wishes.heard_s >= BURST_S
    return Action.KILL if cause in _MAY_KILL and stood and paused else Action.IGNORE


def _noted(action: Action, wishes: Wishes, now_s: float) -> Wishes:
    heard = replace(wishes, heard_s=now_s)
    if action is Action.STOP:
        return replace(heard, stopped_s=now_s)
    return replace(heard, warned_s=now_s) if action is Action.WARN else heard
