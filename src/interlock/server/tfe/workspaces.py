"""The workspaces that were made through the TFE API, with their tags. A hand: it keeps records, `workspace/<state>`.

A workspace needs no record to be there: a state that was stored by another way is one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.coordinator.names import check_state_name
from interlock.errors import BackendUnavailable, reason_of
from interlock.instants import Instant
from interlock.server.tfe.bodies import Unprocessable
from interlock.store.before import Before, nothing_before
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore

SCHEMA = 1
_PREFIX = "workspace/"


class Workspace(Struct, frozen=True, kw_only=True):
    """What is kept of a workspace.

    Attributes:
        tags: Keys and values.
        made_by: Who made it.
        made_at: When.
        schema: Version of this record's format.
    """

    tags: dict[str, str] = {}
    made_by: str = ""
    made_at: Instant
    schema: int = SCHEMA


class WorkspaceBook:
    """The workspaces of a store.

    Args:
        records: Where they are kept.
        clock: Of the store.
    """

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def find(self, state: str) -> Workspace | None:
        """Return what is kept of a workspace."""
        record = await self._records.get(_key(state))
        return None if record is None else _decoded(record)

    async def make(
        self, state: str, tags: Mapping[str, str], *, by: str, before: Before[Workspace] = nothing_before
    ) -> Workspace:
        """Make a workspace.

        Args:
            state: The state.
            tags: Its tags.
            by: Who makes it.
            before: Called with what is about to be kept.

        Raises:
            Unprocessable: It is there already.
        """
        made = Workspace(tags=dict(tags), made_by=by, made_at=self._clock.now())
        if await self._records.get(_key(state)) is not None:
            raise taken(state)
        await before(made, 0)
        try:
            await self._records.swap(_key(state), expected=None, value=msgspec.json.encode(made))
        except Mismatch as error:
            raise taken(state) from error
        return made

    async def tag(self, state: str, tags: Mapping[str, str], *, by: str, without: frozenset[str] | None) -> Workspace:
        """Add tags to a workspace and take others away; of one that was stored by another way a record is made.

        Args:
            state: The state.
            tags: What is added or replaced.
            by: Who does.
            without: Keys that are taken away; None for all that are not in `tags`.
        """
        while True:
            record = await self._records.get(_key(state))
            before = Workspace(made_by=by, made_at=self._clock.now()) if record is None else _decoded(record)
            kept = {} if without is None else {key: each for key, each in before.tags.items() if key not in without}
            after = replace(before, tags={**kept, **tags})
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(_key(state), expected=expected, value=msgspec.json.encode(after))
                return after

    async def remove(self, state: str) -> None:
        """Forget a workspace; its state is not touched."""
        while (record := await self._records.get(_key(state))) is not None:
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)

    async def of(self, organization: str) -> dict[str, Workspace]:
        """Return the workspaces of an organisation, by their states."""
        found: dict[str, Workspace] = {}
        after = ""
        while page := await self._records.list(_key(f"{organization}/"), after=after, limit=LIST_LIMIT_MAX):
            found |= {record.key.removeprefix(_PREFIX): _decoded(record) for record in page}
            after = page[-1].key
        return found


def taken(state: str) -> Unprocessable:
    """Return the refusal of a second workspace of one name."""
    return Unprocessable(f"there is a workspace {check_state_name(state)} already")


def _key(state: str) -> str:
    return _PREFIX + state


def _decoded(record: Record) -> Workspace:
    try:
        found = decode_json(record.value, type=Workspace)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackendUnavailable(
            "the record of a workspace cannot be read", why=reason_of(error), fix="interlock doctor"
        ) from error
    if found.schema > SCHEMA:
        raise BackendUnavailable("a newer Interlock wrote the record of a workspace", fix="upgrade Interlock")
    return found
