"""Terraform's `backend "consul"`: a key a workspace, locked by a session that holds a second key. A hand.

The lock is Consul's own: it is there as long as the holder's session, and the holder's program renews that session; one
that was killed leaves a lock that Consul frees after 15 to 35 seconds. Who holds it stands in a third key, which stays
when a session ends by itself: it counts only while it names the session that has the lock.
A state is replaced in one transaction with the question whether our session still has the lock, so a writer whose lock
is gone can write nothing. A state that is too large for one key is kept in pieces, and the key says which.
Source: docs/facts/terraform-backends.md#backend-5; internal/backend/remote-state/consul of Terraform 1.11.4 and 1.15.9.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

from msgspec.structs import replace

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import THIS_STATE, BackendUnavailable, InterlockError, UsageError, command
from interlock.existing.consul_login import ConsulLogin, agent_of
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.only_current import OnlyCurrent
from interlock.existing.packed import pack, unpack
from interlock.existing.rest import Rest, Service
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.ids import Ids, draw_from
from interlock.store.conditional import ConditionalRecords
from interlock.store.polling import Pace
from interlock.terraform.lockinfo import LockInfo, render_lock_info

RECORDS = ".interlock/records/"
"""After the folder of the state's key: before the names of our own keys, where no state of Terraform is."""
_LOCK, _LOCK_INFO, _SPACE = "/.lock", "/.lockinfo", "-env:"
_LOCK_FLAGS = 0x2DDCCBC058A50C18  # what Consul's own lock clients mark their keys with, and refuse keys without
_LIFE = "15s"  # of a session that is not renewed; as Terraform's
_LOCK_DELAY = "5s"  # for which nobody gets a lock whose session ended by itself; as Terraform's
_RENEWED_S = 5.0
_PIECE_BYTES = 512 * 1024  # the most that Consul takes as one value, unless it is told otherwise
_WHOLE_BYTES = 380 * 1024  # in a transaction: base64 makes it a third larger, and the request has the same limit
_READ_ATTEMPTS = 5  # each is lost only against a write of the same state
_ABSENT = frozenset({404})
_ROLLED_BACK = frozenset({409})
_TOO_LARGE = frozenset({413})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulPlace:
    """Where a state is.

    Attributes:
        agent: URL of the HTTP API, without a slash at the end.
        key: The state's key.
        datacenter: Empty for the agent's own.
    """

    agent: str
    key: str
    datacenter: str = ""

    @property
    def lock(self) -> str:
        """The key that the holder's session holds."""
        return self.key.rstrip("/") + _LOCK

    @property
    def lock_info(self) -> str:
        """The key that says who holds it."""
        return self.key.rstrip("/") + _LOCK_INFO

    @property
    def records(self) -> str:
        """What the names of our own keys begin with: beside the state, so that its neighbours share it."""
        folder, slash, _ = self.key.rstrip("/").rpartition("/")
        return f"{folder}{slash}{RECORDS}"

    @property
    def address(self) -> str:
        """For people, and as the name of the state."""
        where = f"consul://{urllib.parse.urlsplit(self.agent).netloc}/{self.key}"
        return f"{where} in {self.datacenter}" if self.datacenter else where


def place_of(found: Found) -> ConsulPlace:
    """Return where a found `backend "consul"` keeps its state.

    Raises:
        UsageError: The path is missing, or the agent is reached in a way that we do not know.
    """
    path = found.text("path")
    if path is None:
        raise UsageError(
            'the configuration\'s backend "consul" names no path', fix="name it, or give -backend-config=path=…"
        )
    space = "" if found.workspace == "default" else f"{_SPACE}{found.workspace}"
    return ConsulPlace(agent=agent_of(found), key=path + space, datacenter=found.text("datacenter") or "")


def shown_address(found: Found) -> str:
    """Return where the state is.

    Raises:
        UsageError: See `place_of`.
    """
    return place_of(found).address


def open_consul(found: Found, *, clock: Clock) -> ConsulBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: See `place_of`.
    """
    return ConsulBackend(place_of(found), found=found, login=ConsulLogin(found), clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A key as it is: its value, the index of its last change, and the session that holds it."""

    value: bytes
    index: int
    session: str


class ConsulBackend(OnlyCurrent):
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found.
        login: Who we are.
        clock: For pauses.
    """

    def __init__(self, place: ConsulPlace, *, found: Found, login: ConsulLogin, clock: Clock) -> None:
        self.place = place
        self._found = found
        self._clock = clock
        names = {"dc": "datacenter", "ns": "namespace", "partition": "partition"}
        self._everywhere = {asked: text for asked, name in names.items() if (text := found.text(name)) is not None}
        self._session = ""
        self._renewal: asyncio.Task[None] | None = None
        service = Service(
            title=f"Consul at {urllib.parse.urlsplit(place.agent).netloc}",
            login="set CONSUL_HTTP_TOKEN to a token that may read and write the key, its neighbours and sessions",
            sign=login.sign,
            context=login.context(),
        )
        self.rest = Rest(service, clock)

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="consul",
            address=self.place.address,
            workspace=self._found.workspace,
            locking=() if str(self._found.text("lock")).lower() in {"false", "0"} else ("consul",),
            settings=self._found.origins,
            lock_path=self.place.key,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`."""
        base = self.place.key.removesuffix(f"{_SPACE}{self._found.workspace}")
        spaces = [key.removeprefix(base + _SPACE) for key in await self.list_keys(base + _SPACE)]
        first = ["default"] if await self.read_key(base) is not None else []
        return tuple(sorted([*first, *(name for name in spaces if "/" not in name)]))

    # -- locks ------------------------------------------------------------------------------------------------------

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. The id is the session, as `terraform force-unlock` wants it."""
        held = await self.read_key(self.place.lock)
        if held is None or not held.session:
            return ()
        info = await self.read_key(self.place.lock_info)
        return (self._lock(held.session, info.value if info is not None else b""),)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. In one transaction, if that session has it; then the session is ended."""
        await self._free(lock.id)

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. Our session holds it, and we renew it until we end, however we end."""
        session = await self._begin_session()
        info = replace(info, id=session)  # Terraform does so too: force-unlock is given the session
        raw = render_lock_info(info)
        lock = {"Verb": "lock", "Key": self.place.lock, "Session": session, "Flags": _LOCK_FLAGS, "Value": ""}
        said = {"Verb": "set", "Key": self.place.lock_info, "Value": _sent(raw)}
        try:
            taken = await self._transact(lock, said)
            there = () if taken else await self.read_locks()
        except InterlockError:
            await self._end_session(session)
            raise
        if not taken and not (there and there[0].id == session):  # else it is ours: an answer was lost
            await self._end_session(session)
            unknown = TerraformLock(id="", mechanism="consul", place=self._shown_lock())
            raise held_by(there[0] if there else unknown, self.place.address)
        self._session = session
        self._renewal = asyncio.create_task(self._renew(session))
        return HeldTerraformLock(info=info, locks=(self._lock(session, raw),))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        self._stop_renewing()
        self._session = ""
        for lock in held.locks:
            await self._free(lock.id)

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. Its session must still have the lock when we write."""
        self._session = lock.id

    async def close(self) -> None:
        """See `ExistingBackend.close`. A lock that is still held ends with its session."""
        self._stop_renewing()

    async def _free(self, session: str) -> None:
        """Free the lock if this session has it, and end the session.

        Raises:
            TerraformLockMoved: Another session has it.
        """
        freed = await self._transact(
            {"Verb": "check-session", "Key": self.place.lock, "Session": session},
            {"Verb": "delete", "Key": self.place.lock_info},
            {"Verb": "delete", "Key": self.place.lock},
        )
        now = () if freed else await self.read_locks()
        await self._end_session(session)
        if now:
            raise TerraformLockMoved(
                f"lock {session} is not there any more",
                why=f"{now[0].who or 'somebody'} holds it now",
                fix=command("lock", "show", THIS_STATE),
            )

    async def _begin_session(self) -> str:
        wanted = {"Name": "interlock", "TTL": _LIFE, "LockDelay": _LOCK_DELAY, "Behavior": "release"}
        reply = await self.rest.send("PUT", self.url("session/create"), json.dumps(wanted).encode(), repeats=False)
        return str(_object(reply.body).get("ID", ""))

    async def _end_session(self, session: str) -> None:
        """End it; one that cannot be ended now ends by itself."""
        with suppress(BackendUnavailable):
            await self.rest.send("PUT", self._session_url("destroy", session), b"", answers=_ABSENT)

    async def _renew(self, session: str) -> None:
        """Keep a session alive; one that is gone stays gone, and the next write says so."""
        while True:
            await self._clock.sleep(_RENEWED_S)
            with suppress(InterlockError):
                reply = await self.rest.send("PUT", self._session_url("renew", session), b"", answers=_ABSENT)
                if reply.status in _ABSENT:
                    return

    def _stop_renewing(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    def _shown_lock(self) -> str:
        return f"key {self.place.lock} of {self.place.address}"

    def _lock(self, session: str, raw: bytes) -> TerraformLock:
        """Return the lock of a session; what an earlier holder left beside it does not count."""
        said = foreign_lock(raw, mechanism="consul", place=self._shown_lock())
        if said.id != session:
            return TerraformLock(id=session, mechanism="consul", place=self._shown_lock(), condition=session)
        return changed(said, condition=session)

    # -- state ------------------------------------------------------------------------------------------------------

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        pair = await self.read_key(self.place.key)
        for _ in range(_READ_ATTEMPTS):
            if pair is None or not pair.value:
                return None
            if (body := await self._whole(pair.value)) is not None:
                return StoredState(body=body, condition=str(pair.index))
            before, pair = pair, await self.read_key(self.place.key)
            if pair is not None and pair.index == before.index:  # not replaced while we read: it is damaged
                return StoredState(body=pair.value, condition=str(pair.index))
        raise BackendUnavailable(
            f"the state at {self.place.address} cannot be read", why="it changes all the time", fix="try again"
        )

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. On condition of the index, and of our session's having the lock."""
        before = await self.read_key(self.place.key)
        index = int(expected.condition) if expected is not None else _index_of_nothing(before)
        packed = pack(body) if self._found.is_true("gzip") else body
        stored = None
        if len(packed) <= _WHOLE_BYTES:
            stored = await self._swap(packed, index=index, body=body, pieces=False)
        if stored is None:
            keys = await self._write_pieces(packed, hashlib.md5(body, usedforsecurity=False).hexdigest())
            stored = await self._swap(keys, index=index, body=body, pieces=True)
            assert stored is not None
        await self._remove_old_pieces(before, body)
        return stored

    async def _swap(self, value: bytes, *, index: int, body: bytes, pieces: bool) -> StoredState | None:
        """Write the state's key; None when the value is too large for it."""
        asked: list[dict[str, Any]] = [{"Verb": "cas", "Key": self.place.key, "Value": _sent(value), "Index": index}]
        if self._session:
            asked.insert(0, {"Verb": "check-session", "Key": self.place.lock, "Session": self._session})
        written = await self._transact(*asked, answers=frozenset() if pieces else _TOO_LARGE)
        if written is None:
            return None
        stored = await self.read_state()
        if stored is None or stored.body != body:
            lost = not written and self._session and self._session not in {one.id for one in await self.read_locks()}
            raise TerraformLockMoved(
                f"{self.place.address} was not written"
                if not written
                else f"{self.place.address} does not hold what was written",
                why="our lock on it is gone: its session ended" if lost else "somebody else wrote it",
                fix=f"{command('state', 'history', THIS_STATE)}, then try again",
            )
        return stored

    async def _write_pieces(self, packed: bytes, digest: str) -> bytes:
        """Write a state in pieces, as Terraform names them, and return what the state's key must say of them."""
        keys = []
        for number, start in enumerate(range(0, len(packed), _PIECE_BYTES)):
            keys.append(f"{self.place.key.rstrip('/')}/tfstate.{digest}/{number}")
            await self.rest.send("PUT", self.key_url(keys[-1]), packed[start : start + _PIECE_BYTES])
        return json.dumps({"current-hash": digest, "chunks": keys}).encode()

    async def _remove_old_pieces(self, before: _Pair | None, body: bytes) -> None:
        """Remove the pieces of the state before; those of an equal one are the present state's."""
        pieces = _pieces_of(before.value) if before is not None else None
        if pieces is None or pieces.digest == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return
        tree = f"{self.place.key.rstrip('/')}/tfstate.{pieces.digest}/"
        with suppress(BackendUnavailable):  # they do no harm
            await self.rest.send("DELETE", self.key_url(tree, recurse=""))

    async def _whole(self, value: bytes) -> bytes | None:
        """Return the state that a key has, or says where it is; None when it is not there as it should be."""
        pieces = _pieces_of(value)
        if pieces is not None:
            found = [await self.read_key(key) for key in pieces.keys]
            value = b"".join(pair.value for pair in found if pair is not None)
        try:
            body = unpack(value) if value.startswith(b"\x1f") else value
        except ValueError:
            return None
        is_whole = pieces is None or pieces.digest == hashlib.md5(body, usedforsecurity=False).hexdigest()
        return body if is_whole else None

    # -- requests ---------------------------------------------------------------------------------------------------

    def url(self, path: str, **query: str) -> str:
        """Return the address of a request."""
        asked = {**self._everywhere, **query}
        return f"{self.place.agent}/v1/{path}" + (f"?{urllib.parse.urlencode(asked)}" if asked else "")

    def key_url(self, key: str, **query: str) -> str:
        """Return the address of a key."""
        return self.url(f"kv/{urllib.parse.quote(key, safe='/')}", **query)

    def _session_url(self, verb: str, session: str) -> str:
        return self.url(f"session/{verb}/{urllib.parse.quote(session, safe='')}")

    async def read_key(self, key: str) -> _Pair | None:
        """Return a key as the leader has it; None when there is none."""
        reply = await self.rest.send("GET", self.key_url(key, consistent=""), answers=_ABSENT)
        if reply.status in _ABSENT:
            return None
        found = _first(reply.body)
        value = base64.b64decode(str(found.get("Value") or ""))
        return _Pair(value=value, index=int(found.get("ModifyIndex", 0)), session=str(found.get("Session") or ""))

    async def list_keys(self, prefix: str) -> list[str]:
        """Return the names of keys that begin so, in order."""
        reply = await self.rest.send("GET", self.key_url(prefix, keys="", consistent=""), answers=_ABSENT)
        found = [] if reply.status in _ABSENT else read_json(reply.body)
        return [str(name) for name in found] if isinstance(found, list) else []

    async def _transact(self, *asked: Mapping[str, Any], answers: frozenset[int] = frozenset()) -> bool | None:
        """Do all of it or nothing; False when nothing was done, None for a further status in `answers`.

        An outcome that got lost is asked for again, and may then be False though it was done.
        """
        body = json.dumps([{"KV": each} for each in asked]).encode()
        reply = await self.rest.send("PUT", self.url("txn"), body, answers=_ROLLED_BACK | answers)
        return None if reply.status in answers else reply.status not in _ROLLED_BACK


class ConsulRecords(ConditionalRecords):
    """Records beside the states of a folder of keys, each written on condition of its index.

    Args:
        backend: A state in the folder; its way there is used.
        polling: How often to look for a change.
        clock: For pauses.
        ids: For chance.
    """

    def __init__(self, backend: ConsulBackend, *, polling: Pace, clock: Clock, ids: Ids) -> None:
        super().__init__(title=backend.place.address, polling=polling, clock=clock, draw=draw_from(ids))
        self._backend = backend

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        pair = await self._backend.read_key(self._where(key))
        return None if pair is None else (pair.value, str(pair.index))

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        asked = {"Verb": "cas", "Key": self._where(key), "Value": _sent(body), "Index": int(mark or 0)}
        backend = self._backend
        sent = json.dumps([{"KV": asked}]).encode()
        reply = await backend.rest.send("PUT", backend.url("txn"), sent, answers=_ROLLED_BACK)
        if reply.status in _ROLLED_BACK:
            return None
        results = _object(reply.body).get("Results") or [{}]
        return str(results[0].get("KV", {}).get("ModifyIndex", 0))

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        start = self._backend.place.records
        found = await self._backend.list_keys(self._where(prefix))
        names = [urllib.parse.unquote(name.removeprefix(start)) for name in found]
        return [name for name in sorted(names) if name > after][:limit]

    def _where(self, key: str) -> str:
        """See `ConditionalRecords`. The agent cleans paths: `a//b` would be asked for as `a/b`."""
        return self._backend.place.records + urllib.parse.quote(key, safe="").replace(".", "%2E")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """What the key of a large state says: the digest of the whole, and where its pieces are."""

    digest: str
    keys: tuple[str, ...]


def _pieces_of(value: bytes) -> _Pieces | None:
    """Read the key of a state that is kept in pieces; None for one that is a whole state itself."""
    if b'"current-hash"' not in value:
        return None
    said = _object(value)
    digest, keys = said.get("current-hash"), said.get("chunks")
    if not isinstance(digest, str) or not isinstance(keys, list):
        return None
    return _Pieces(digest=digest, keys=tuple(map(str, keys)))


def _index_of_nothing(before: _Pair | None) -> int:
    """Return on which condition a state is written where none was read: no key, or the empty one that is there."""
    return before.index if before is not None and not before.value else 0


def _sent(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _first(body: bytes) -> Mapping[str, Any]:
    try:
        found = read_json(body)
    except ValueError:
        found = None
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = read_json(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
