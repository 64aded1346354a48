"""The states that this home has worked with, wherever they are: by what name, from which folders. A hand.

One record a state, `known/<queue>`. It lets a person name a state by its queue, lists states that stay elsewhere, and
notices that a folder had its state under another name. It holds no secret: flags with one are left out.

A record may be lost or damaged without harm: it is written again by the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from interlock.bounded import decode_json
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore
from interlock.store.records import KEY_BYTES_MAX, LIST_LIMIT_MAX

MAX_FOLDERS = 8
"""Folders of one state that are remembered, newest first: checkouts of one repository share a state."""

MAX_REPOSITORIES = 4
"""Identities of repositories that are remembered of one state."""

FORGOTTEN_AFTER = timedelta(days=180)
"""A state elsewhere that nobody here used for so long is no longer listed."""

_PREFIX = "known/"
_OWN = "interlock:"  # as `interlock.site.ref.OWN`, which is a floor above
_REFRESH = timedelta(hours=12)  # how old the instant may be before a use writes it anew: not each run writes
_ATTEMPTS = 5


class KnownState(msgspec.Struct, frozen=True, kw_only=True):
    """One state that was worked with.

    Attributes:
        queue: The name under which it queues.
        address: What names it among all states: `interlock:NAME`, `s3://bucket/key`.
        type: Terraform's word for its backend; empty for Interlock's own.
        workspace: Terraform's workspace.
        stores: In which stores; more than one where two servers each have such a bucket. Empty in records of versions
            that did not write it.
        flags: `-backend-config` flags with which it was found, without secrets.
        folders: Root modules, newest first, absolute.
        repositories: What identifies the repositories of those folders.
        module: The root module's path in its repository; empty outside one.
        seen_at: About when it was used last.
        schema: Version of this record's format.
    """

    queue: str
    address: str
    type: str = ""
    workspace: str = "default"
    stores: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    module: str = ""
    seen_at: datetime
    schema: int = 1


def merged(before: KnownState | None, now: KnownState) -> KnownState:
    """Return what is known after a use: the newest way to it, and the folders and repositories of earlier uses."""
    if before is None:
        return now
    return msgspec.structs.replace(
        now,
        stores=_joined(now.stores, before.stores, MAX_FOLDERS),
        folders=_joined(now.folders, before.folders, MAX_FOLDERS),
        repositories=_joined(now.repositories, before.repositories, MAX_REPOSITORIES),
        seen_at=now.seen_at if now.seen_at - before.seen_at > _REFRESH else before.seen_at,
    )


def _joined(first: Sequence[str], second: Sequence[str], limit: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))[:limit]


class KnownStates:
    """The book of them.

    Args:
        records: Where it is kept.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def remember(self, known: KnownState) -> None:
        """Write down a use. Does nothing when it says nothing new.

        Raises:
            BackendUnavailable: The store cannot be written.
        """
        for _ in range(_ATTEMPTS):
            try:
                record = await self._records.get(_PREFIX + known.queue)
            except RecordDamaged:
                with suppress(Mismatch):
                    await self._records.replace_damaged(_PREFIX + known.queue, msgspec.json.encode(known))
                    return
                continue
            before = None if record is None else _read(record)
            after = merged(before, known)
            if after == before:
                return
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(_PREFIX + known.queue, expected=expected, value=msgspec.json.encode(after))
                return
        # Others wrote it five times meanwhile: then it is up to date without us.

    async def find(self, word: str) -> KnownState | None:
        """Return a state by the name of its queue, or by its address; None when it is not known."""
        with suppress(RecordDamaged):
            if (
                len(word.encode()) <= KEY_BYTES_MAX - len(_PREFIX)
                and word.isprintable()
                and (record := await self._records.get(_PREFIX + word)) is not None
            ):
                return _read(record)
        if ":" not in word:
            return None
        return next((known for known in await self.all() if known.address == word), None)

    async def of_folder(self, folder: str) -> list[KnownState]:
        """Return the states that were worked with from a root module, the newest use first."""
        found = [known for known in await self.all() if folder in known.folders]
        return sorted(found, key=lambda known: known.seen_at, reverse=True)

    async def all(self) -> list[KnownState]:
        """Return every state that is known, by name. Records that cannot be read are left out: they promise nothing."""
        found: list[KnownState] = []
        after = ""
        while page := await self._page(after):
            found.extend(known for record in page if (known := _read(record)) is not None)
            after = page[-1].key
        return found

    async def _page(self, after: str) -> list[Record]:
        for _ in range(_ATTEMPTS):
            try:
                return await self._records.list(_PREFIX, after=after, limit=LIST_LIMIT_MAX)
            except RecordDamaged as error:  # worth nothing by itself, and it would hide all the others
                with suppress(Mismatch):
                    await self._records.replace_damaged(error.key, b"{}")
        return await self._records.list(_PREFIX, after=after, limit=LIST_LIMIT_MAX)


def _read(record: Record) -> KnownState | None:
    """Return what a record says; None when it cannot be read, or is of another state than it is kept for."""
    try:
        known = decode_json(record.value, type=KnownState)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_own = not known.type and known.address == f"{_OWN}{known.queue}"
    return known if record.key == _PREFIX + known.queue and (known.type or is_own) else None
