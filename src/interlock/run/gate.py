"""What a plan may do without a further word from a person."""

from __future__ import annotations

from interlock.errors import PolicyGate
from interlock.run.order import Operation, Order
from interlock.terraform.plan import PlanFacts

_NAMED = 5  # addresses named in a refusal; the rest is counted


def check_plan(order: Order, plan: PlanFacts) -> None:
    """Refuse a plan that destroys more than the order allows.

    A replacement destroys too. `destroy` means to delete, so only a protected state holds it back.

    Raises:
        PolicyGate: The plan deletes from a protected state, or more than `max_deletes`.
    """
    doomed = plan.destroyed
    if not doomed:
        return
    if order.protected and not order.allow_destroy:
        raise PolicyGate(
            f"the plan deletes {_counted(doomed)} from the protected state {order.state}",
            why=_listed(doomed),
            fix="review the plan, then repeat with --allow-destroy",
        )
    if order.operation is Operation.DESTROY or order.max_deletes is None or len(doomed) <= order.max_deletes:
        return
    raise PolicyGate(
        f"the plan deletes {_counted(doomed)}, more than the {order.max_deletes} allowed",
        why=_listed(doomed),
        fix=f"review the plan, then repeat with --max-deletes {len(doomed)}",
    )


def check_forgotten(order: Order, gone: tuple[str, ...]) -> None:
    """Refuse a command that takes more objects out of the state than the order allows: nobody would manage them.

    Args:
        order: The run.
        gone: Objects that the state would lack after it, and has under no other address.

    Raises:
        PolicyGate: The state is protected, or they are more than `max_deletes`.
    """
    if not gone:
        return
    if order.protected and not order.allow_destroy:
        raise PolicyGate(
            f"the command takes {_counted(gone)} out of the protected state {order.state}",
            why=_listed(gone),
            fix="repeat with --allow-destroy if that is meant",
        )
    if order.max_deletes is not None and len(gone) > order.max_deletes:
        raise PolicyGate(
            f"the command takes {_counted(gone)} out of the state, more than the {order.max_deletes} allowed",
            why=_listed(gone),
            fix=f"repeat with --max-deletes {len(gone)} if that is meant",
        )


def check_unseen(order: Order) -> None:
    """Refuse a command that may take objects out of a state which cannot be looked into, where that has rules.

    Raises:
        PolicyGate: The state is protected, or limits deletions.
    """
    if (order.protected or order.max_deletes is not None) and not order.allow_destroy:
        raise PolicyGate(
            f"what the command takes out of state {order.state} cannot be told",
            why="OpenTofu encrypted the state, and it is protected or limits deletions",
            fix="repeat with --allow-destroy if that is meant",
        )


def _counted(doomed: tuple[str, ...]) -> str:
    return "1 resource" if len(doomed) == 1 else f"{len(doomed)} resources"


def _listed(doomed: tuple[str, ...]) -> str:
    rest = len(doomed) - _NAMED
    return ", ".join(doomed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
