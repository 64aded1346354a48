"""What a plan may do without a further word from a person."""

from __future__ import annotations

from interlock.amounts import amount
from interlock.errors import PolicyGate, command
from interlock.run.order import AGREED_FILE, MAX_AGREED, Operation, Order
from interlock.terraform.plan import PlanFacts

_NAMED = 5  # addresses named in a refusal; the rest is counted


def check_plan(order: Order, plan: PlanFacts, *, lineage: str, serial: int) -> None:
    """Refuse a plan that destroys more than the order allows.

    A replacement destroys too. `destroy` means to delete, so only a protected state holds it back. What reviewers
    agreed to for this very version of the state, `lineage` and `serial`, is not held back.

    Raises:
        PolicyGate: The plan deletes from a protected state, or more than `max_deletes`.
    """
    doomed = plan.destroyed
    agreed = agreed_at(order, lineage=lineage, serial=serial)
    left = tuple(address for address in doomed if address not in agreed)
    if not left:
        return
    if order.protected and not order.allow_destroy:
        raise PolicyGate(
            f"the plan deletes {_counted(left)} from the protected state {order.state}",
            why=_listed(left) + _too_old(order, left, lineage=lineage, serial=serial),
            fix=_agree(order, doomed, lineage=lineage, serial=serial)
            or "review the plan, then repeat with --allow-destroy",
        )
    if order.operation is Operation.DESTROY or order.max_deletes is None or len(left) <= order.max_deletes:
        return
    raise PolicyGate(
        f"the plan deletes {_counted(left)}, more than the {order.max_deletes} allowed",
        why=_listed(left) + _too_old(order, left, lineage=lineage, serial=serial),
        fix=_agree(order, doomed, lineage=lineage, serial=serial)
        or f"review the plan, then repeat with --max-deletes {len(left)}",
    )


def agreed_at(order: Order, *, lineage: str, serial: int) -> frozenset[str]:
    """Return the addresses whose deletion reviewers agreed to, for exactly this version of the state.

    An older version's consent would otherwise cover the next plan too, which nobody has seen: each apply makes a new
    version. The name counts too: it is what reviewers read, and a copy of a state has its lineage and serial.
    """
    return frozenset(
        address
        for one in order.agreed
        if lineage and (one.state, one.lineage, one.serial) == (order.state, lineage, serial)
        for address in one.objects
    )


def _too_old(order: Order, left: tuple[str, ...], *, lineage: str, serial: int) -> str:
    """Say that a consent to the same deletion was for another version of the state, or for another state."""
    wanted = set(left)
    older = [one for one in order.agreed if one.lineage == lineage and wanted & set(one.objects)]
    if not older:
        return ""
    if all(one.state != order.state for one in older):
        return f"; {AGREED_FILE} agrees for state {older[0].state}, and this is {order.state}"
    if older[0].serial == serial:
        return ""
    return f"; {AGREED_FILE} agrees for serial {older[0].serial}, and the state is at {serial}"


def _agree(order: Order, doomed: tuple[str, ...], *, lineage: str, serial: int) -> str:
    """Return how reviewers agree; empty where that cannot be, and outside CI, where who ordered the run adds a flag."""
    by_hand = not order.in_ci and order.operation is not Operation.PLAN
    if by_hand or not lineage or len(doomed) > MAX_AGREED:
        return ""
    first, *others = doomed
    line = command(
        *("ci", "allow-deletions", "--state", order.state, "--lineage", lineage, "--serial", serial, first, *others)
    )
    return f"{line}    in the change, and have it reviewed"


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
    return amount(len(doomed), "resource")


def _listed(doomed: tuple[str, ...]) -> str:
    rest = len(doomed) - _NAMED
    return ", ".join(doomed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
