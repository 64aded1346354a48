"""The file of deletions to which reviewers agreed, `interlock.deletions.json` beside interlock.yaml. A hand.

A change that deletes from a protected state carries its consent with it, so the same people review both. What a consent
covers is decided in `interlock.run.gate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from interlock.bounded import decode_json
from interlock.errors import UsageError, command, reason_of
from interlock.foreign_text import one_line
from interlock.run.order import AGREED_FILE, MAX_AGREED, Agreed

_MAX_BYTES = 1 << 20
_VERSION = 1


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int = _VERSION
    deletions: tuple[Agreed, ...] = ()


def read_agreed(settings: Path | None) -> tuple[Agreed, ...]:
    """Return what reviewers agreed to.

    Args:
        settings: The interlock.yaml beside which the file is; None without one.

    Raises:
        UsageError: The file is there and cannot be read: a consent that was meant must not be passed over.
    """
    if settings is None:
        return ()
    path = settings.parent / AGREED_FILE
    if not path.is_file():
        if path.exists():
            raise UsageError(f"{path} is not a file", fix=_listing(path))
        return ()
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=reason_of(error), fix=_listing(path)) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than 1 MiB", fix="remove consents that were used")
    try:
        document = decode_json(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        what = f"{path} is not a list of agreed deletions"
        raise UsageError(what, why=reason_of(error), fix="remove it, and agree again to what the plan names") from error
    if document.version != _VERSION:
        raise UsageError(f"{path} is of version {document.version}", fix="use the Interlock that wrote it")
    return document.deletions


def agree(settings: Path, agreed: Agreed) -> Path:
    """Write a consent, in the place of an earlier one for the same state; return the file.

    Args:
        settings: The interlock.yaml beside which the file is.
        agreed: The consent.

    Raises:
        UsageError: It names nothing, too much, or what no plan can delete; or the file cannot be read or written.
    """
    _check(agreed)
    path = settings.parent / AGREED_FILE
    others = [one for one in read_agreed(settings) if (one.state, one.lineage) != (agreed.state, agreed.lineage)]
    _write(path, [*others, agreed])
    return path


def _check(agreed: Agreed) -> None:
    """Refuse a consent that would cover nothing: its reviewers would believe in it until the apply."""
    if not agreed.lineage:
        raise UsageError("a consent is for one lineage, and none is named", fix=_AS_PRINTED)
    if not agreed.objects or len(agreed.objects) > MAX_AGREED:
        raise UsageError(
            f"a consent names 1 to {MAX_AGREED} objects",
            why=f"these are {len(agreed.objects)}",
            fix=command("apply", "--allow-destroy") + "    at a terminal, for more",
        )
    from interlock.state.addresses import is_checkable  # every run imports this module, and few have such a file

    for text in agreed.objects:
        if not is_checkable("resource", text, keyed=True):
            raise UsageError(
                f"{one_line(text, limit=_SHOWN) or 'an empty text'} is not the address of an object",
                why='an address is like genesyscloud_routing_queue.sales or module.m.t.a["key"], for one object each',
                fix=_AS_PRINTED,
            )


_AS_PRINTED = "interlock plan    whose refusal prints the whole command"
_SHOWN = 200  # characters of a wrong address


def _write(path: Path, deletions: Sequence[Agreed]) -> None:
    from interlock.source.disk import SHARED, write_file

    content = msgspec.json.format(msgspec.json.encode(_Document(deletions=tuple(deletions))), indent=2)
    try:
        write_file(path, content + b"\n", SHARED)
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=reason_of(error), fix=_listing(path.parent)) from error


def _listing(path: Path) -> str:
    return f"ls -ld {path}"
