"""State versions whose bytes are awaited: what a client may send, once, to an address that it was told. A hand.

A client announces a version with its token and then sends the bytes to an address, without the token. So the address
has a secret of its own, good for one body, for a short time, and only while the grant is current under which it was
given: that is checked again by the compare-and-swap that moves the head. The last few of each state are kept in one
record, `upload/<state>`, and nothing has to be swept.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, LeaseLost, reason_of
from interlock.ids import Ids
from interlock.instants import Instant
from interlock.server.tfe.bodies import NewVersion
from interlock.server.tfe.names import UPLOAD_CHARS, NotFound
from interlock.store import RecordDamaged
from interlock.store.records import Mismatch, Record, RecordStore

SCHEMA = 1
UPLOAD_S = 600.0
"""How long an address may be used: the client sends the bytes at once, and again when its connection breaks."""
UPLOADS_KEPT = 16
"""Of one state; a state has one writer at a time, which asks for the last one only."""
_PREFIX = "upload/"


class Upload(Struct, frozen=True, kw_only=True):
    """A version that was announced.

    Attributes:
        id: By which it is found.
        digest: SHA-256 of the secret in its address.
        ticket: Of the grant under which it was announced.
        token: Fencing token of that grant.
        serial: As announced.
        md5: Of the bytes, as announced; empty when it was not said.
        is_forced: See `StateArchive.write`.
        who: Who announced it.
        at: When.
        sha256: Of the bytes that were stored; empty until then.
        number: Of the version that was made; 0 until then.
    """

    id: str
    digest: str
    ticket: str
    token: int
    serial: int
    md5: str
    is_forced: bool
    who: str
    at: Instant
    sha256: str = ""
    number: int = 0


class _Kept(Struct, frozen=True, kw_only=True):
    uploads: tuple[Upload, ...] = ()
    schema: int = SCHEMA


class UploadBook:
    """The uploads of all states.

    Args:
        records: Where they are kept.
        clock: Of the store.
        ids: For ids and secrets.
    """

    def __init__(self, records: RecordStore, clock: Clock, ids: Ids) -> None:
        self._records = records
        self._clock = clock
        self._ids = ids

    async def announce(
        self, state: str, new: NewVersion, *, ticket: str, token: int, is_forced: bool, who: str
    ) -> tuple[Upload, str]:
        """Note a version whose bytes will come; return it and the secret of its address, which is told this once."""
        secret = self._ids.secret()
        upload = Upload(
            id=self._ids.fresh()[:UPLOAD_CHARS],
            digest=_digest(secret),
            ticket=ticket,
            token=token,
            serial=new.serial,
            md5=new.md5,
            is_forced=is_forced,
            who=who,
            at=self._clock.now(),
        )
        await self._change(state, upload)
        return upload, secret

    async def find(self, state: str, upload_id: str) -> Upload:
        """Return an upload.

        Raises:
            NotFound: There is none, or it is too long ago.
        """
        record = await self._records.get(_key(state))
        found = next((each for each in _decoded(record) if each.id == upload_id), None)
        if found is None:
            raise NotFound("there is no such state version", why="its upload is over, or never began")
        return found

    async def admit(self, state: str, upload_id: str, secret: str) -> Upload:
        """Return the upload that an address is good for. One that was used is returned too: its answer may be lost.

        Raises:
            NotFound: The address is not good for one.
            LeaseLost: Its time is over.
        """
        upload = await self.find(state, upload_id)
        if not hmac.compare_digest(upload.digest, _digest(secret)):
            raise NotFound("there is no such state version", why="its address is wrong")
        if (self._clock.now() - upload.at).total_seconds() > UPLOAD_S and not upload.number:
            raise LeaseLost(f"state {state!r} was not written", why="its bytes came too late", fix="start a new run")
        return upload

    async def end(self, state: str, upload: Upload, *, number: int, sha256: str) -> None:
        """Note that the bytes were stored."""
        await self._change(state, replace(upload, number=number, sha256=sha256))

    async def _change(self, state: str, upload: Upload) -> None:
        key = _key(state)
        while True:
            try:
                record = await self._records.get(key)
            except RecordDamaged:  # what it named is announced again
                with suppress(Mismatch):
                    await self._records.replace_damaged(key, _encoded((upload,)))
                    return
                continue
            others = tuple(each for each in _decoded(record) if each.id != upload.id)
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(key, expected=expected, value=_encoded((*others, upload)[-UPLOADS_KEPT:]))
                return


def _encoded(uploads: tuple[Upload, ...]) -> bytes:
    return msgspec.json.encode(_Kept(uploads=uploads))


def _decoded(record: Record | None) -> tuple[Upload, ...]:
    if record is None:
        return ()
    try:
        kept = decode_json(record.value, type=_Kept)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackendUnavailable(
            "the record of uploads cannot be read", why=reason_of(error), fix="interlock doctor"
        ) from error
    if kept.schema > SCHEMA:
        raise BackendUnavailable("a newer Interlock wrote the record of uploads", fix="upgrade Interlock")
    return kept.uploads


def _key(state: str) -> str:
    return _PREFIX + quote(state, safe="")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
