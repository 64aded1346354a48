"""A run that would create everything, in a store of Interlock's own that never saw its state: what is asked of whom.

The store is in one home, of one user on one machine. A colleague's, or another runner's, may have that state; then
everything would be created a second time, and green. Whoever may know is asked. Pure.
"""

from __future__ import annotations

from enum import Enum

from interlock.amounts import amount
from interlock.errors import PolicyGate, command
from interlock.run.order import Operation, Order


class Start(Enum):
    """What a run with nothing stored does before it creates anything."""

    GO = "go"
    SAY = "say"
    """Say it and go on: nothing is created, people saw the plan, or somebody is asked about it anyway."""
    ASK = "ask"
    """Ask, though the plan was approved beforehand."""
    REFUSE = "refuse"


def judge_start(order: Order, *, is_new: bool, creates: int, made_here: bool) -> Start:
    """Return what a run does before it creates anything.

    Args:
        order: The run.
        is_new: Nothing is stored.
        creates: Objects that its plan creates.
        made_here: It applies a plan that a run of this very home made, and that people saw.
    """
    if not is_new or not creates or order.backend or order.first_apply or order.operation is Operation.DESTROY:
        return Start.GO
    if order.operation is Operation.PLAN or made_here or not order.auto_approve:
        return Start.SAY
    return Start.ASK if order.is_watched else Start.REFUSE


def spell_start(order: Order, creates: int) -> str:
    """Return the sentence that says what is unusual about it."""
    objects = ("" if creates == 1 else "all ") + amount(creates, "object")
    return (
        f"state {order.state} is empty {_place(order)}, so the plan creates {objects}; "
        f"a state that {_others(order)} is not seen from here"
    )


def _place(order: Order) -> str:
    return f"at {order.server}" if order.server else f"in {order.home}"


def _others(order: Order) -> str:
    return "is kept elsewhere" if order.server else "another user, machine or runner keeps"


def refuse_start(order: Order, creates: int) -> PolicyGate:
    """Return the refusal where nobody can be asked: a CI job, or any command without a terminal."""
    return PolicyGate(
        f"state {order.state} has never been stored here, and the plan creates everything",
        why=f"{spell_start(order, creates)}; nobody can be asked here",
        fix=f"{command('apply', order.directory, '--auto-approve', '--first-apply', '--state', order.state)}"
        "    if this is its first apply",
    )
