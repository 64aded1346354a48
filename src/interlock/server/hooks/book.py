"""The hooks of a store, and the comments that were heard. A hand.

`hook/<name>` is a hook, always encrypted. `heard/<day>/<hook>/<comment>` says that a comment was taken, and then that
it was decided; it is one record that must be absent before, so no two replicas of a server decide one at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError, UsageError, command
from interlock.ids import Ids
from interlock.server.hooks.hook import SCHEMA, Hook, changed, check_hook, is_hook_name, is_same, rotated
from interlock.server.hooks.signature import spelled_secret
from interlock.store.before import Before, nothing_before
from interlock.store.opening import Store
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore
from interlock.store.sealing import new_key_command
from interlock.store.vault import vault_of

HOOKS = "hook/"
_HEARD = "heard/"
HOOKS_MAX = 200
_SWEEP = 50
_ATTEMPTS = 3
_DECIDED = b"{}"
DECIDING_S = 60.0
"""So long at most one is about to decide what a comment says; the code host has hung up long before."""


class _Deciding(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is about to decide what a comment says.

    Attributes:
        since_s: Since when, in seconds since 1970.
    """

    since_s: float | None = None


class HookBook:
    """Keeps hooks.

    Args:
        store: Where; it must be encrypted.
        clock: Of the store.
        ids: For secrets.
    """

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._records = store.records
        self._clock = clock
        self._ids = ids

    def fresh_secret(self) -> str:
        """Return a secret that nobody can guess."""
        return spelled_secret(hashlib.sha256(self._ids.secret().encode()).digest())

    async def add(self, hook: Hook, *, before: Before[Hook] = nothing_before) -> Hook:
        """Keep a new hook; return it as it is kept. Asked twice, as by a client that had no answer, it is kept once.

        Args:
            hook: It, with a fresh secret; one that is there keeps its own.
            before: Called with what is about to be kept.

        Raises:
            UsageError: A part of it is not usable, another one has its name, or the store is not encrypted.
        """
        self._check_encrypted()
        check_hook(hook)
        if len((await self.all())[0]) >= HOOKS_MAX:
            raise UsageError("the hook was not added", why=f"there are {HOOKS_MAX}", fix=command("hook", "ls"))
        there = await self._records.get(HOOKS + hook.name)
        if there is not None:
            return _same_as(hook, _decoded(there))
        await before(hook, 0)
        try:
            await self._records.swap(HOOKS + hook.name, expected=None, value=msgspec.json.encode(hook))
        except Mismatch as error:
            return _same_as(hook, None if error.current is None else _decoded(error.current))
        return hook

    async def all(self) -> tuple[tuple[Hook, ...], tuple[str, ...]]:
        """Return every hook, by name, and the names of those that cannot be read."""
        hooks: list[Hook] = []
        unreadable: list[str] = []
        after = ""
        while page := await self._records.list(HOOKS, after=after, limit=LIST_LIMIT_MAX):
            for record in page:
                hook = _decoded(record)
                if hook is None:
                    unreadable.append(record.key.removeprefix(HOOKS))
                else:
                    hooks.append(hook)
            after = page[-1].key
        return tuple(hooks), tuple(unreadable)

    async def find(self, name: str) -> Hook | None:
        """Return a hook; None when there is none of this name, or it cannot be read: then it lets nobody decide."""
        record = await self._records.get(HOOKS + name) if is_hook_name(name) else None
        return None if record is None else _decoded(record)

    async def rotate(self, name: str, *, before: Before[Hook] = nothing_before) -> Hook:
        """Give a hook another secret; what is signed with the one before is refused from then on.

        Args:
            name: Its name.
            before: Called with what is about to be kept, and the version of the record that it replaces.

        Raises:
            UsageError: There is none of this name.
        """
        secret = self.fresh_secret()
        return await self._change(name, lambda hook: rotated(hook, secret=secret, now=self._clock.now()), before)

    async def change(
        self,
        name: str,
        *,
        states: str | None = None,
        persons: Mapping[str, str] | None = None,
        before: Before[Hook] = nothing_before,
    ) -> Hook:
        """Let a hook be for other states or persons; its repository and its secret stay.

        Args:
            name: Its name.
            states: A glob over the states; None for the one that it has.
            persons: All of those who may decide; None for those whom it has.
            before: See `rotate`; not called when nothing changes.

        Raises:
            UsageError: There is none of this name, or they are not usable.
        """
        return await self._change(
            name, lambda hook: changed(hook, states=states, persons=persons, now=self._clock.now()), before
        )

    async def _change(self, name: str, change: Callable[[Hook], Hook], before: Before[Hook]) -> Hook:
        for _ in range(_ATTEMPTS):
            record = await self._record(name)
            hook = _decoded(record)
            if hook is None:
                raise _unreadable(name)
            after = change(hook)
            if after is hook:
                return hook
            await before(after, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=msgspec.json.encode(after))
                return after
        raise _was_changed()

    async def remove(self, name: str, *, before: Before[str] = nothing_before) -> None:
        """Take a hook away; nothing that its code host tells is heard from then on.

        Args:
            name: Its name.
            before: Called with its name and the version of its record.

        Raises:
            UsageError: There is none of this name.
        """
        for _ in range(_ATTEMPTS):
            record = await self._record(name)
            await before(name, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)
                return
        raise _was_changed()

    async def _record(self, name: str) -> Record:
        record = await self._records.get(HOOKS + name) if is_hook_name(name) else None
        if record is None:
            raise UsageError(f"there is no hook {name[:64]!a}", fix=command("hook", "ls"))
        return record

    def _check_encrypted(self) -> None:
        if vault_of(self._store) is None:
            raise UsageError(
                "the hook was not added",
                why="its secret would be stored in clear: no encryption key is given",
                fix=new_key_command(),
            )


class HeardComments:
    """Remembers comments for as long as they would be taken.

    Args:
        records: Where.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def take(self, hook: str, comment: str, *, until: datetime, now: datetime) -> int | None:
        """Take a comment to decide what it says; None when it was decided before, here or at another replica.

        Return what `finish` and `give_back` name. One who was killed in between, or who lost the store, holds it for
        `DECIDING_S` only: the code host tells of it again, and a person who wrote it waits.

        Args:
            hook: The hook's name.
            comment: The comment's id.
            until: When it is too old to be taken.
            now: Aware UTC instant, of the store's clock.

        Raises:
            BackendUnavailable: It cannot be told, or another one is about to decide it.
        """
        key, mine = _heard_key(hook, comment, until), msgspec.json.encode(_Deciding(since_s=now.timestamp()))
        try:
            return await self._records.swap(key, expected=None, value=mine)
        except Mismatch as error:
            there = error.current
        since_s = None if there is None else _deciding_since(there)
        if there is None or (since_s is not None and abs(now.timestamp() - since_s) <= DECIDING_S):
            raise _is_decided_now()
        if since_s is None:
            return None
        try:
            return await self._records.swap(key, expected=there.version, value=mine)
        except Mismatch:
            raise _is_decided_now() from None

    async def finish(self, hook: str, comment: str, *, until: datetime, taken: int) -> None:
        """Keep that a comment was decided. Where that fails it may be heard again: it then decides the same."""
        with suppress(InterlockError):
            await self._records.swap(_heard_key(hook, comment, until), expected=taken, value=_DECIDED)

    async def give_back(self, hook: str, comment: str, *, until: datetime, taken: int) -> None:
        """Let a comment be taken again at once: nothing could be decided, since the store could not be reached."""
        with suppress(InterlockError):
            await self._records.swap(_heard_key(hook, comment, until), expected=taken, value=None)

    async def forget(self, now: datetime) -> None:
        """Forget some of those that are too old. What fails, the next one does: no comment waits for it."""
        with suppress(BackendUnavailable):
            await self._forget(now)

    async def _forget(self, now: datetime) -> None:
        for record in await self._records.list(_HEARD, limit=_SWEEP):
            day = record.key.removeprefix(_HEARD).partition("/")[0]
            if day >= f"{now - timedelta(days=1):%Y%m%d}":
                return
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)


def _same_as(hook: Hook, there: Hook | None) -> Hook:
    """Return the hook that is there, if it is what was asked for."""
    if there is None or not is_same(hook, there):
        raise UsageError(
            f"there is a hook {hook.name!r} already",
            why="it has another repository, other states or other persons",
            fix=f"{command('hook', 'ls')}    shows it; `hook change` is for other states and persons",
        )
    return there


def _heard_key(hook: str, comment: str, until: datetime) -> str:
    return f"{_HEARD}{until:%Y%m%d}/{hook}/{comment}"


def _deciding_since(record: Record) -> float | None:
    """Return since when a comment is being decided; None when it was, also by a release that knew of nothing else."""
    try:
        return decode_json(record.value, type=_Deciding).since_s
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_decided_now() -> BackendUnavailable:
    return BackendUnavailable(
        "whether the comment decides something is not known yet",
        why="it was told twice, and the first telling has not ended",
        fix="let the code host tell of it again in a minute",
    )


def _decoded(record: Record) -> Hook | None:
    """Return the hook of a record; None for one that cannot be read, or that a newer release made."""
    try:
        hook = decode_json(record.value, type=Hook)
        return check_hook(hook) if hook.schema == SCHEMA and HOOKS + hook.name == record.key else None
    except (msgspec.MsgspecError, UnicodeDecodeError, UsageError):
        return None


def _unreadable(name: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"hook {name!a} cannot be read", why="a newer release made it", fix="pip install --upgrade interlock"
    )


def _was_changed() -> BackendUnavailable:
    return BackendUnavailable("the hook was not changed", why="others changed it", fix="try again")
