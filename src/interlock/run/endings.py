"""What the end of a command means for the run, what its outcome is, and what becomes of its grant.

Knows plain values: what was seen of a command, of the lease, of the stored state. Returns a word; the supervisor and
`settle` do what it says. The order of the questions is the rule: what says that something may be lost comes before what
says that all is well (P8), and a grant goes back only when nobody acts under it any more (P9).
"""

from __future__ import annotations

from enum import Enum

PASSING = frozenset({"api-rate-limit", "api-server-error", "api-version-conflict", "api-gone"})
"""Causes after which a fresh plan is safe and may succeed. Not a timeout or a crash: what was being created then may
exist without being in the state, and a blind repetition would make it twice."""
CRASH = "provider-crash"
"""The cause after which a fresh plan is safe only where it is proven that nothing was changed before."""
_CHANGES = 2  # exit code of `plan -detailed-exitcode` when there are changes


class PlanEnd(Enum):
    """How a `terraform plan` ended."""

    MADE = "made"
    STOPPED_ELSEWHERE = "stopped-elsewhere"
    """Terraform was asked to stop, and nobody asked the run."""
    KILLED = "killed"
    FAILED = "failed"


class ApplyEnd(Enum):
    """How a `terraform apply` ended, before anything is known of its state."""

    DONE = "done"
    LEASE_LOST = "lease-lost"
    """It decides the exit status; what was cut off besides is named with it."""
    CUT_OFF = "cut-off"
    """It ended in the middle of its operations: what they did may be in no state."""
    STOPPED = "stopped"
    REFUSED = "refused"
    """The store refused what it wrote, and says why."""
    FAILED = "failed"


class Known(Enum):
    """What is known of a run's failure when its state is looked at."""

    NOTHING = "nothing"
    LEASE_LOST = "lease-lost"
    NOT_SAVED = "not-saved"
    """Something that was done is in no state."""
    OTHER = "other"


class Conclusion(Enum):
    """What a run reports after its state was looked at."""

    REFUSAL = "refusal"
    """A write was refused: that is the outcome, and Terraform's own failure its cause."""
    FAILURE = "failure"
    """What was known before."""
    UNSEEN = "unseen"
    """What is stored could not be looked at."""
    SUSPECT = "suspect"
    """The state is stored and held for review."""
    CHECK = "check"
    """A success, if the stored state is the one that Terraform wrote."""


class Parting(Enum):
    """What becomes of the run's place."""

    WITHDRAW = "withdraw"
    """Leave the queue."""
    RELEASE = "release"
    """Give the grant back."""
    KEEP = "keep"
    """Leave it to recovery: it is not ours any more, or Terraform's own lock is still there."""


def judge_plan(*, says_stopping: bool, was_killed: bool, exit_code: int, has_file: bool) -> PlanEnd:
    """Return how a plan ended that nobody asked the run to stop.

    Args:
        says_stopping: Terraform's output says that it was asked to stop.
        was_killed: It was ended by a signal.
        exit_code: Of `plan -detailed-exitcode`.
        has_file: The plan file exists.
    """
    if says_stopping:
        return PlanEnd.STOPPED_ELSEWHERE
    if was_killed:
        return PlanEnd.KILLED
    return PlanEnd.MADE if exit_code in (0, _CHANGES) and has_file else PlanEnd.FAILED


def judge_apply(
    *, lease_lost: bool, was_cut: bool, exit_code: int, stop_requested: bool, says_stopping: bool, was_refused: bool
) -> ApplyEnd:
    """Return how an apply ended.

    Args:
        lease_lost: The grant was taken away. Then whatever Terraform says is about a state of somebody else.
        was_cut: It ended in the middle of its operations; see `find_cut`.
        exit_code: Of Terraform.
        stop_requested: Somebody asked the run to stop.
        says_stopping: Terraform's output says that it was asked to stop.
        was_refused: The last write was refused.
    """
    if lease_lost:
        return ApplyEnd.LEASE_LOST
    if exit_code == 0:
        return ApplyEnd.DONE
    if was_cut:  # before the wish to stop: a stop that was cut off saved less than it says
        return ApplyEnd.CUT_OFF
    if stop_requested or says_stopping:
        return ApplyEnd.STOPPED
    return ApplyEnd.REFUSED if was_refused else ApplyEnd.FAILED


def conclude(
    *, known: Known, was_refused: bool, unseen: bool, suspect: bool, was_stored: bool, only_saving_failed: bool
) -> Conclusion:
    """Return what a run reports.

    Args:
        known: Of its failure.
        was_refused: The last write was refused.
        unseen: What is stored could not be looked at.
        suspect: What is stored lacks objects without a reason.
        was_stored: What Terraform could not save was stored by us.
        only_saving_failed: Terraform reported no other error than that it could not save.
    """
    decides = known in (Known.LEASE_LOST, Known.NOT_SAVED)
    if was_refused and not decides:
        return Conclusion.REFUSAL
    if unseen:
        return Conclusion.UNSEEN if known is Known.NOTHING else Conclusion.FAILURE
    if suspect and not decides:
        return Conclusion.SUSPECT
    mended = known is Known.OTHER and was_stored and only_saving_failed
    return Conclusion.CHECK if known is Known.NOTHING or mended else Conclusion.FAILURE


def part(*, granted: bool, lease_lost: bool, stranded: bool) -> Parting:
    """Return what becomes of the run's place when it ends.

    Args:
        granted: It was granted; else it waits.
        lease_lost: The grant was taken away.
        stranded: Terraform's own lock could not be given back, so recovery must find both.
    """
    if not granted:
        return Parting.WITHDRAW
    return Parting.KEEP if lease_lost or stranded else Parting.RELEASE


def may_repeat(
    *, stop_requested: bool, lease_lost: bool, own_plan: bool, category: object, is_first_crash_before_change: bool
) -> bool:
    """Say whether a failed run may begin again from a fresh plan.

    Args:
        stop_requested: Somebody asked the run to stop.
        lease_lost: The grant was taken away.
        own_plan: The run made its plan; what a person reviewed is not made anew.
        category: Of the failure; see `PASSING`.
        is_first_crash_before_change: No resource was begun, no call that may change something came to the gateway, and
            no such crash was repeated before. A plan that a person reviewed is still the same then.
    """
    if category == CRASH:
        return is_first_crash_before_change and not stop_requested and not lease_lost
    return own_plan and not stop_requested and not lease_lost and category in PASSING
