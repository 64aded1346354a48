"""What the first, second and third signal mean in each phase.

The first asks Terraform alone to stop and save; the second only says what would be lost; the third kills.
Never the process group: the Genesys Cloud provider plugin exits at once on a signal and loses what it just created
(terraform-provider-genesyscloud since 1.60.0, provider/provider.go setupCleanup).
"""

from __future__ import annotations

from enum import Enum

from interlock.run.phases import Phase


class Cause(Enum):
    """Who wants the run to stop."""

    SIGINT = "sigint"
    SIGTERM = "sigterm"
    FRONT_END_GONE = "front-end-gone"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease-lost"


class Action(Enum):
    """What the supervisor must do."""

    LEAVE = "leave"
    """Withdraw from the queue and end: nothing was started."""
    STOP = "stop"
    """Send SIGINT to the terraform process alone and wait for its state."""
    WARN = "warn"
    """Say what is being waited for and what a further signal would lose."""
    KILL = "kill"
    """Kill Terraform; its newest state may be lost."""
    DECLINE = "decline"
    """Answer the approval with no; nothing was changed."""
    IGNORE = "ignore"
    """The run is already saving and releasing; nothing can be gained."""


_BY_PERSON = frozenset({Cause.SIGINT, Cause.SIGTERM, Cause.CANCELLED})


def respond(phase: Phase, cause: Cause, earlier: int) -> Action:
    """Return what the next wish to stop means.

    Args:
        phase: Where the run is.
        cause: Who asks. Only a person's repeated wish can kill: a vanished front end or a lost lease never does.
        earlier: How many wishes came before this one in the phases that run Terraform.
    """
    match phase:
        case Phase.PREPARING | Phase.QUEUED:
            return Action.LEAVE
        case Phase.AWAITING:
            return Action.DECLINE
        case Phase.PLANNING | Phase.APPLYING:
            return _while_running(cause, earlier)
        case Phase.SETTLING | Phase.ENDED:
            return Action.IGNORE


def _while_running(cause: Cause, earlier: int) -> Action:
    if earlier == 0:
        return Action.STOP
    if cause not in _BY_PERSON:
        return Action.IGNORE
    return Action.WARN if earlier == 1 else Action.KILL
