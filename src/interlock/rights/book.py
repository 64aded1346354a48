"""The tokens of a store. A hand: it keeps them in records, `token/<id>`."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import (
    THIS_STATE,
    AuthenticationFailed,
    BackendUnavailable,
    InterlockError,
    UsageError,
    command,
    reason_of,
)
from interlock.ids import Ids
from interlock.rights.roles import EVERY_STATE, Role, check_glob
from interlock.rights.token import Binding, Token, TokenText, check_token, digest_of, schema_of
from interlock.store.before import Before, nothing_before
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore

USED_EVERY = timedelta(minutes=10)
"""How exactly the last use is kept: each request would else be a write."""
NOTE_MAX = 200
ID_CHARS = 12
KEPT_S = 86_400
"""How long the token of a job is kept after its end, so that one can see who had it."""
FIRST_LASTS = timedelta(days=1)
_PREFIX = "token/"
_FIRST = "token-first"
_STATES = "state/"
_ENDS = "token-ends/"
_SWEEP = 20
_LOGIN = f"{command('ci', 'login', '--state', THIS_STATE)}    in a job of the pipeline"


class TokenList(Struct, frozen=True, kw_only=True):
    """The tokens of a store.

    Attributes:
        tokens: Those that can be read.
        unreadable: Ids of those that cannot; they let nobody in.
    """

    tokens: tuple[Token, ...]
    unreadable: tuple[str, ...]


class TokenBook:
    """Makes, finds and revokes tokens.

    Args:
        records: Where they are kept.
        clock: Of the store.
        ids: For ids and secrets.
    """

    def __init__(self, records: RecordStore, clock: Clock, ids: Ids) -> None:
        self._records = records
        self._clock = clock
        self._ids = ids

    async def create(  # noqa: PLR0913 - what a token is made of
        self,
        role: Role,
        *,
        states: str = EVERY_STATE,
        note: str = "",
        by: str,
        lifetime: timedelta | None = None,
        accounts: tuple[str, ...] = (),
        makers: tuple[str, ...] = (),
        before: Before[Token] = nothing_before,
    ) -> tuple[Token, TokenText]:
        """Make a token; the text with its secret is returned this once.

        Args:
            role: What it may do.
            states: For which states.
            note: What it is for.
            by: Who makes it.
            lifetime: After which it ends; None for never.
            accounts: Of the one person whose it is; empty for a program's.
            makers: Accounts of those who made it: they see its secret.
            before: Called with the token before it is good.

        Raises:
            UsageError: The glob names no states, the note is too long or not printable, or it would end at once.
            BackendUnavailable: The store cannot be written.
        """
        if lifetime is not None and lifetime <= timedelta():
            raise UsageError("the token was not made", why="it would have ended already", fix="write it like 8h or 90d")
        if len(note) > NOTE_MAX or not note.isprintable():
            raise UsageError("the note is not usable", why=f"it is printable and has at most {NOTE_MAX} characters")
        made, text = self._new(role, states=states, note=note, by=by, lifetime=lifetime)
        whose = replace(made, accounts=accounts, makers=makers)
        token = replace(whose, schema=schema_of(whose))
        await before(token, 0)
        await self._records.swap(_PREFIX + token.id, expected=None, value=msgspec.json.encode(token))
        return token, text

    async def first(self, *, before: Before[Token] = nothing_before) -> tuple[Token, TokenText] | None:
        """Make the first administrator's token of a store that holds nothing yet; None when it does, or had one.

        Of servers that begin at once on an empty store one makes it. It ends after a day: it is shown where others may
        read it later, and is for making the tokens that last.
        """
        if await self._records.list(_PREFIX, limit=1) or await self._records.list(_STATES, limit=1):
            return None
        try:
            await self._records.swap(_FIRST, expected=None, value=b"{}")
        except Mismatch:
            return None
        return await self.create(Role.ADMIN, note="first start", by="first start", lifetime=FIRST_LASTS, before=before)

    async def issue(
        self,
        role: Role,
        *,
        state: str,
        binding: Binding,
        by: str,
        lifetime: timedelta,
        accounts: tuple[str, ...] = (),
        before: Before[Token] = nothing_before,
    ) -> tuple[Token, TokenText]:
        """Make a token for a CI job: for one state, and for as long as it is renewed.

        Args:
            role: What it may do.
            state: The one state.
            binding: What it hangs on.
            by: Which rule gives it.
            lifetime: After which it ends unless it is renewed.
            accounts: Further ones of a person who logs in.
            before: Called with the token before it is good.

        Raises:
            UsageError: The state's name names several, or none.
            BackendUnavailable: The store cannot be written.
        """
        made, text = self._new(role, states=state, note=binding.job[:NOTE_MAX], by=by, lifetime=lifetime)
        whose = replace(made, bound=binding, accounts=accounts)
        token = replace(whose, schema=schema_of(whose))
        await before(token, 0)
        # Written first: a token without it would be kept for ever.
        ends = f"{_ENDS}{int(binding.until.timestamp()):012d}/{token.id}"
        await self._records.swap(ends, expected=None, value=b"{}")
        await self._records.swap(_PREFIX + token.id, expected=None, value=msgspec.json.encode(token))
        return token, text

    async def renew(self, token: Token, *, lifetime: timedelta) -> Token:
        """Let a bound token last for `lifetime` from now, at most as long as its binding says.

        Raises:
            AuthenticationFailed: It is not bound, or not good any more.
        """
        while True:
            record = await self._find(token.id)
            known = None if record is None else _decoded(record)
            now = self._clock.now()
            if record is None or known is None or known.bound is None or known.ended(now):
                raise AuthenticationFailed(f"token {token.id} is not renewed", why=_why_not(known, now), fix=_LOGIN)
            # Never for less than it has: that of a person lasts longer than one that is renewed.
            ends = max(known.expires_at or now, min(now + lifetime, known.bound.until))
            after = replace(known, expires_at=ends, used_at=now)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=msgspec.json.encode(after))
                return after

    async def forget_ended(self) -> None:
        """Forget some of the tokens of jobs that ended over a day ago; the audit log keeps that there were."""
        now_s = self._clock.now().timestamp()
        for record in await self._records.list(_ENDS, limit=_SWEEP):
            ends, _, token_id = record.key.removeprefix(_ENDS).partition("/")
            if not ends.isdecimal() or int(ends) + KEPT_S >= now_s:
                return
            with suppress(Mismatch):
                token = await self._find(token_id)
                if token is not None:
                    await self._records.swap(token.key, expected=token.version, value=None)
                await self._records.swap(record.key, expected=record.version, value=None)

    def _new(
        self, role: Role, *, states: str, note: str, by: str, lifetime: timedelta | None
    ) -> tuple[Token, TokenText]:
        check_glob(states)
        text = TokenText(self._ids.fresh()[:ID_CHARS], self._ids.secret())
        now = self._clock.now()
        token = Token(
            id=text.id,
            digest=digest_of(text.secret),
            role=role,
            states=states,
            note=note,
            made_by=by,
            made_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        return token, text

    async def all(self) -> TokenList:
        """Return every token, by id; one that cannot be read hides no other."""
        tokens: list[Token] = []
        unreadable: list[str] = []
        after = ""
        while page := await self._records.list(_PREFIX, after=after, limit=LIST_LIMIT_MAX):
            for record in page:
                try:
                    tokens.append(_decoded(record))
                except BackendUnavailable:
                    unreadable.append(_id_of(record))
            after = page[-1].key
        return TokenList(tokens=tuple(tokens), unreadable=tuple(unreadable))

    async def revoke(self, token_id: str, *, before: Before[Token] = nothing_before) -> Token:
        """End a token, from the next request on; one that has ended stays as it is.

        Args:
            token_id: Its id.
            before: Called with the token before it ends.

        Raises:
            UsageError: There is none.
        """
        while True:
            record = await self._find(token_id)
            if record is None:
                raise UsageError(f"there is no token {token_id[:40]!a}", fix="interlock token ls")
            token = _decoded(record)
            if token.revoked_at is not None:
                return token
            after = replace(token, revoked_at=self._clock.now())
            await before(after, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=msgspec.json.encode(after))
                return after

    async def identify(self, shown: TokenText) -> Token:
        """Return the token that somebody shows, and note that it is used.

        Raises:
            AuthenticationFailed: It is not known, or not good any more.
            BackendUnavailable: The store cannot be asked; then nobody is let in.
        """
        record = await self._find(shown.id)
        now = self._clock.now()
        token = check_token(None if record is None else _decoded(record), shown, now)
        if record is not None and (token.used_at is None or now - token.used_at > USED_EVERY):
            with suppress(InterlockError):  # another request has noted it, or the next one will
                value = msgspec.json.encode(replace(token, used_at=now))
                await self._records.swap(record.key, expected=record.version, value=value)
        return token

    async def _find(self, token_id: str) -> Record | None:
        is_id = len(token_id) == ID_CHARS and token_id.isascii() and token_id.isalnum()
        return await self._records.get(_PREFIX + token_id) if is_id else None


def _decoded(record: Record) -> Token:
    """Return the token of a record.

    Raises:
        BackendUnavailable: It is none, or one that a newer release made: it may be good for less than we understand.
    """
    try:
        token = decode_json(record.value, type=Token)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(record, reason_of(error), "interlock doctor") from error
    if token.schema != schema_of(token):
        raise _unreadable(record, "a newer release made it", "pip install --upgrade interlock")
    if token.id != _id_of(record):
        raise _unreadable(record, "it says that it is another", "interlock doctor")
    return token


def _why_not(token: Token | None, now: datetime) -> str:
    if token is None:
        return "it is not known any more"
    return token.ended(now) or "only tokens of CI jobs are renewed"


def _unreadable(record: Record, why: str, fix: str) -> BackendUnavailable:
    return BackendUnavailable(f"token {_id_of(record)[:40]!a} cannot be read", why=why, fix=fix)


def _id_of(record: Record) -> str:
    return record.key.removeprefix(_PREFIX)
