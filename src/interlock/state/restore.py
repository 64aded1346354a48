"""The plan of a restore: what comes back, what is lost, and the next serial.

A restore changes what Terraform believes, not what exists. So the plan says it in both directions: objects that the
state will claim again (they may be gone in the world) and objects that it will forget (they may live on, orphaned).

Knows: document, diff, lineage.
"""

from __future__ import annotations

from msgspec import Struct

from interlock.errors import StateInvalid
from interlock.state.diff import Diff, Kind, diff_documents
from interlock.state.document import MAX_SERIAL, Document, render_document


class RestorePlan(Struct, frozen=True, kw_only=True):
    """What a restore would do.

    Attributes:
        document: What would be written: the content of the chosen version under a new serial.
        returns: Addresses of managed instances that the state claims again. The next plan tells whether they exist.
        orphans: Addresses of managed instances that the state would forget. They stay in the organisation, unmanaged,
            until imported again or removed by hand.
        changes: Addresses of managed instances whose recorded attributes go back.
        next_serial: Serial of the restored state.
        lineage_changes: Whether the current state has another lineage, so saved plans and other copies no longer fit.
        difference: From the current state to the restored one; None when there is no current state to compare with.
    """

    document: Document
    returns: tuple[str, ...]
    orphans: tuple[str, ...]
    changes: tuple[str, ...]
    next_serial: int
    lineage_changes: bool
    difference: Diff | None

    def body(self) -> bytes:
        """Return the bytes to write."""
        return render_document(self.document)


def plan_restore(*, current: Document | None, target: Document, highest_serial: int = 0) -> RestorePlan:
    """Plan to make `target` current again.

    Args:
        current: The current state; None when it is absent or unreadable.
        target: The version to restore, with its own lineage.
        highest_serial: Highest serial that the history knows for the lineage of `target`. The new serial is above it,
            so that no saved plan and no zombie can mistake the restored state for one it knows.

    Raises:
        StateInvalid: The target has no lineage, or the serial cannot rise.
    """
    if not target.lineage:
        raise StateInvalid("the version cannot be restored", why="it has no lineage", finding="no-lineage")
    following = max(highest_serial, target.serial, current.serial if current else 0) + 1
    if following > MAX_SERIAL:
        raise StateInvalid("the version cannot be restored", why="the serial cannot rise", finding="serial-range")
    difference = diff_documents(current, target) if current is not None else None
    return RestorePlan(
        document=target.with_serial(following),
        returns=_addresses(difference, Kind.ADDED) if difference else _all_managed(target),
        orphans=_addresses(difference, Kind.REMOVED),
        changes=_addresses(difference, Kind.CHANGED),
        next_serial=following,
        lineage_changes=current is not None and current.lineage != target.lineage,
        difference=difference,
    )


def _addresses(difference: Diff | None, kind: Kind) -> tuple[str, ...]:
    if difference is None:
        return ()
    managed = (change for change in difference.objects if change.key.mode == "managed" and change.kind is kind)
    return tuple(dict.fromkeys(change.address for change in managed))


def _all_managed(document: Document) -> tuple[str, ...]:
    keys = sorted((key for key in document.objects() if key.mode == "managed"), key=lambda key: key.order())
    return tuple(dict.fromkeys(str(key.address()) for key in keys))
