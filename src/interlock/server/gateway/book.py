"""The organisations of a store. A hand: it keeps them in records, `organisation/<name>`, which are always encrypted."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from interlock.api.organisations import NewOrganisation
from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError, command, reason_of
from interlock.server.gateway.organisation import SCHEMA, Organisation, check_organisation, check_secret, is_same
from interlock.store.before import Before, nothing_before
from interlock.store.opening import Store
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record
from interlock.store.sealing import new_key_command
from interlock.store.vault import vault_of

PREFIX = "organisation/"
_KEY_BYTES = 32


class OrganisationBook:
    """Keeps organisations.

    Args:
        store: Where; it must be encrypted.
        clock: Of the store.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._records = store.records
        self._clock = clock

    async def add(
        self,
        asked: NewOrganisation,
        *,
        by: str,
        upstream: tuple[str, str] | None = None,
        before: Before[Organisation] = nothing_before,
    ) -> Organisation:
        """Keep a new one, and return it as it is kept. Asked twice, as by a client that had no answer, it is kept once.

        Args:
            asked: It.
            by: Who asks.
            upstream: See `Organisation.upstream`.
            before: Called with what is about to be kept.

        Raises:
            UsageError: Another one of this name is there, a part of it is not usable, or the store is not encrypted.
        """
        self._check_encrypted()
        made = check_organisation(
            Organisation(
                name=asked.name,
                region=asked.region,
                client_id=asked.client_id,
                secret=asked.secret,
                states=tuple(asked.states),
                budgets=tuple(asked.budgets),
                upstream=upstream,
                key=os.urandom(_KEY_BYTES).hex(),
                made_by=by,
                made_at=self._clock.now(),
            )
        )
        there = await self._records.get(PREFIX + made.name)
        if there is not None:
            return _same_as(made, _decoded(there))
        await before(made, 0)
        try:
            await self._records.swap(PREFIX + made.name, expected=None, value=msgspec.json.encode(made))
        except Mismatch:
            return _same_as(made, _decoded(await self._record(made.name)))
        return made

    async def all(self) -> tuple[Organisation, ...]:
        """Return every organisation, by name.

        Raises:
            BackendUnavailable: One cannot be read: which states belong to it is then not known.
        """
        found: list[Organisation] = []
        after = ""
        while page := await self._records.list(PREFIX, after=after, limit=LIST_LIMIT_MAX):
            found += [_decoded(record) for record in page]
            after = page[-1].key
        return tuple(found)

    async def find(self, name: str) -> Organisation:
        """Return one.

        Raises:
            UsageError: There is none.
        """
        return _decoded(await self._record(name))

    async def rotate(
        self, name: str, *, secret: str, client_id: str = "", before: Before[Organisation] = nothing_before
    ) -> Organisation:
        """Replace the secret of its OAuth client, or the whole client.

        Args:
            name: Its name.
            secret: The new one.
            client_id: Of the new client; empty for the same.
            before: Called with what is about to be kept, and the version of the record that it replaces.

        Raises:
            UsageError: There is none of this name, or the new one is not usable.
        """
        check_secret(secret)
        while True:
            record = await self._record(name)
            known = _decoded(record)
            after = check_organisation(
                replace(known, secret=secret, client_id=client_id or known.client_id, rotated_at=self._clock.now())
            )
            await before(after, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=msgspec.json.encode(after))
                return after

    async def remove(self, name: str, *, before: Before[Organisation] = nothing_before) -> Organisation:
        """Forget one, with its credentials.

        Args:
            name: Its name.
            before: Called with what is about to be forgotten, and the version of its record.

        Raises:
            UsageError: There is none.
        """
        while True:
            record = await self._record(name)
            gone = _decoded(record)
            await before(gone, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)
                return gone

    async def _record(self, name: str) -> Record:
        record = await self._records.get(PREFIX + name) if name.isprintable() and name else None
        if record is None:
            raise UsageError(f"there is no organisation {name[:64]!a}", fix=command("organisation", "ls"))
        return record

    def _check_encrypted(self) -> None:
        if vault_of(self._store) is None:
            raise UsageError(
                "the organisation was not added",
                why="its secret would be stored in clear: no encryption key is given",
                fix=new_key_command(),
            )


def _same_as(made: Organisation, there: Organisation) -> Organisation:
    """Return the one that is there, if it is what was asked for."""
    if not is_same(made, there):
        raise UsageError(f"organisation {made.name} is there already", fix=command("organisation", "rotate", made.name))
    return there


def _decoded(record: Record) -> Organisation:
    name = record.key.removeprefix(PREFIX)
    try:
        found = decode_json(record.value, type=Organisation)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(name, reason_of(error), "interlock doctor") from None
    if found.schema != SCHEMA or found.name != name:
        raise _unreadable(name, "a newer release made it, or it is another's", "pip install --upgrade interlock")
    return found


def _unreadable(name: str, why: str, fix: str) -> BackendUnavailable:
    return BackendUnavailable(f"organisation {name!a} cannot be read", why=why, fix=fix)
