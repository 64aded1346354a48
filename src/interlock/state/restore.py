"""The plan of a restore: what comes back, what is lost, and the next serial.

A restore changes what Terraform believes, not what exists. So the plan says it in both directions: objects that the
state will claim again (they may be gone in the world) and objects that it will forget (they may live on, orphaned).

Knows: document, encrypted, diff, lineage.
"""

from __future__ import annotations

from msgspec import Struct

from interlock.errors import StateInvalid
from interlock.state.diff import Diff, Kind, diff_documents
from interlock.state.document import MAX_SERIAL, Document, render_document
from interlock.state.encrypted import AnyDocument, EncryptedDocument


class RestorePlan(Struct, frozen=True, kw_only=True):
    """What a restore would do.

    Attributes:
        document: What would be written: the content of the chosen version under a new serial; an encrypted one as it
            is, under its own.
        returns: Addresses of managed instances that the state claims again. The next plan tells whether they exist.
        orphans: Addresses of managed instances that the state would forget. They stay in the organisation, unmanaged,
            until imported again or removed by hand.
        changes: Addresses of managed instances whose recorded attributes go back.
        next_serial: Serial of the restored state.
        lineage_changes: Whether the current state has another lineage, so saved plans and other copies no longer fit.
        difference: From the current state to the restored one; None when there is no current state to compare with.
        opaque: The current state or the chosen version is encrypted, so nobody can say what would change.
    """

    document: AnyDocument
    returns: tuple[str, ...]
    orphans: tuple[str, ...]
    changes: tuple[str, ...]
    next_serial: int
    lineage_changes: bool
    difference: Diff | None
    opaque: bool = False

    def body(self) -> bytes:
        """Return the bytes to write."""
        if isinstance(self.document, EncryptedDocument):
            return self.document.source
        return render_document(self.document)


def plan_restore(*, current: AnyDocument | None, target: AnyDocument, highest_serial: int = 0) -> RestorePlan:
    """Plan to make `target` current again.

    Args:
        current: The current state; None when it is absent or unreadable.
        target: The version to restore, with its own lineage.
        highest_serial: Highest serial that the history knows for the lineage of `target`. The new serial is above it,
            so that no saved plan and no zombie can mistake the restored state for one it knows. An encrypted version
            keeps its own: its serial is inside too, and OpenTofu compares the two.

    Raises:
        StateInvalid: The target has no lineage, or the serial cannot rise.
    """
    if not target.lineage:
        raise StateInvalid("the version cannot be restored", why="it has no lineage", finding="no-lineage")
    if isinstance(target, EncryptedDocument):
        return _opaque_plan(target, current, target.serial)  # OpenTofu refuses it under any other serial
    following = max(highest_serial, target.serial, current.serial if current else 0) + 1
    if following > MAX_SERIAL:
        raise StateInvalid("the version cannot be restored", why="the serial cannot rise", finding="serial-range")
    if isinstance(current, EncryptedDocument):
        return _opaque_plan(target.with_serial(following), current, following)
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


def _opaque_plan(document: AnyDocument, current: AnyDocument | None, serial: int) -> RestorePlan:
    """Return the plan of a restore of which only lineages and serials are known."""
    return RestorePlan(
        document=document,
        returns=(),
        orphans=(),
        changes=(),
        next_serial=serial,
        lineage_changes=current is not None and current.lineage != document.lineage,
        difference=None,
        opaque=True,
    )


def _addresses(difference: Diff | None, kind: Kind) -> tuple[str, ...]:
    if difference is None:
        return ()
    managed = (change for change in difference.objects if change.key.mode == "managed" and change.kind is kind)
    return tuple(dict.fromkeys(change.address for change in managed))


def _all_managed(document: Document) -> tuple[str, ...]:
    keys = sorted((key for key in document.objects() if key.mode == "managed"), key=lambda key: key.order())
    return tuple(dict.fromkeys(str(key.address()) for key in keys))
