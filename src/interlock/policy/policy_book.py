"""A home's own policies, kept in its store: the same for everybody who works in it. A hand."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import BackendUnavailable, reason_of
from interlock.policy.policy import Layer, Policy
from interlock.store.before import Before, nothing_before
from interlock.store.records import Mismatch, Record, RecordStore

SCHEMA = 1
_KEY = "policies"
_SWAPS_MAX = 20


class _Stored(Struct, frozen=True, kw_only=True):
    policies: tuple[Policy, ...] = ()
    schema: int = SCHEMA


class PolicyKeeper(Protocol):
    """Where a home's own policies are, near or far."""

    @property
    def writes_down(self) -> bool:
        """Whether a change is written to the audit log there, as a server does."""
        ...

    async def all(self) -> tuple[Policy, ...]:
        """See `PolicyBook.all`."""
        ...

    async def replace(
        self, policies: tuple[Policy, ...], *, before: Before[tuple[Policy, ...]] = nothing_before
    ) -> tuple[Policy, ...]:
        """See `PolicyBook.replace`; where the change is written down there, `before` is not called."""
        ...


class PolicyBook:
    """Reads and replaces the policies of a home.

    Args:
        records: Where they are kept.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    @property
    def writes_down(self) -> bool:
        """See `PolicyKeeper.writes_down`."""
        return False

    async def all(self) -> tuple[Policy, ...]:
        """Return them.

        Raises:
            BackendUnavailable: They cannot be read, so nobody knows what they forbid.
        """
        return _decoded(await self._records.get(_KEY))

    async def watch(self, *, seen: int | None, timeout_s: float) -> int | None:
        """Wait until there is another version of them than `seen`, or for the time; return the version then."""
        record = await self._records.watch(_KEY, seen=seen, timeout_s=timeout_s)
        return None if record is None else record.version

    async def replace(
        self, policies: tuple[Policy, ...], *, before: Before[tuple[Policy, ...]] = nothing_before
    ) -> tuple[Policy, ...]:
        """Put these in the place of those that were; return the older ones, none where they cannot be read.

        Args:
            policies: The new ones.
            before: Called with the older ones, before these are written.
        """
        said = tuple(replace(one, layer=Layer.SERVER) for one in policies)
        value = msgspec.json.encode(_Stored(policies=said))
        for _ in range(_SWAPS_MAX):
            record = await self._records.get(_KEY)
            older = _decoded_or_none(record)
            await before(older, 0 if record is None else record.version)
            with suppress(Mismatch):
                await self._records.swap(_KEY, expected=None if record is None else record.version, value=value)
                return older
        raise BackendUnavailable("the policies were not written", why="others write them too", fix="try again")


def _decoded(record: Record | None) -> tuple[Policy, ...]:
    if record is None:
        return ()
    try:
        stored = decode_json(record.value, type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(reason_of(error)) from error
    if stored.schema > SCHEMA:
        raise _unreadable("a newer Interlock wrote them")
    return tuple(replace(one, layer=Layer.SERVER) for one in stored.policies)


def _decoded_or_none(record: Record | None) -> tuple[Policy, ...]:
    with suppress(BackendUnavailable):
        return _decoded(record)
    return ()


def _unreadable(why: str) -> BackendUnavailable:
    return BackendUnavailable(
        "the policies of this home cannot be read",
        why=f"{why}; nobody knows what they forbid, so nothing is changed",
        fix="interlock policies set FILE    with the policies that are to hold",
    )
