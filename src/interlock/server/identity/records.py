"""What is kept of identities: trust rules, and the tokens that were taken once. A hand.

`trust/rule/<name>` is a rule. `trust/seen/<when it ends>/<digest>` says that a token was exchanged; it is one record
that must be absent before, so the replicas of a server cannot take the same token twice.
"""

from __future__ import annotations

import math
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import BackendUnavailable, UsageError, command
from interlock.server.identity.claims import LEEWAY_S
from interlock.server.identity.rules import ACCOUNTS_SCHEMA, RULES_MAX, TrustRule, check_rule
from interlock.store.before import Before, nothing_before
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore

_RULES = "trust/rule/"
_SEEN = "trust/seen/"
_SWEEP = 50
_ATTEMPTS = 3


class RuleList(Struct, frozen=True, kw_only=True):
    """The trust rules of a store.

    Attributes:
        rules: Those that can be read, by name.
        unreadable: Names of those that cannot; they let nobody in.
    """

    rules: tuple[TrustRule, ...]
    unreadable: tuple[str, ...]


class TrustBook:
    """Keeps trust rules.

    Args:
        records: Where they are.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def add(self, rule: TrustRule, *, before: Before[TrustRule] = nothing_before) -> TrustRule:
        """Keep a rule that is new, and return it. Asked twice, as by a client that had no answer, it is kept once.

        Args:
            rule: It.
            before: Called with what is about to be kept.

        Raises:
            UsageError: It does not say enough (`check_rule`), its name is taken, or another rule has other keys for
                the same issuer.
        """
        check_rule(rule)
        known = (await self.all()).rules
        if len(known) >= RULES_MAX:
            raise UsageError("the trust rule was not added", why=f"there are {RULES_MAX}", fix=command("trust", "ls"))
        for other in known:
            if other.issuer.url == rule.issuer.url and (other.issuer, other.platform) != (rule.issuer, rule.platform):
                raise UsageError(
                    f"trust rule {rule.name!r} was not added",
                    why=f"rule {other.name} says otherwise of {rule.issuer.url}: they share keys and audience",
                    fix=command("trust", "ls"),
                )
        there = await self._records.get(_RULES + rule.name)
        if there is not None:
            return _same_as(rule, _decoded(there))
        await before(rule, 0)
        try:
            await self._records.swap(_RULES + rule.name, expected=None, value=msgspec.json.encode(rule))
        except Mismatch as error:
            return _same_as(rule, None if error.current is None else _decoded(error.current))
        return rule

    async def all(self) -> RuleList:
        """Return every rule, by name; one that cannot be read hides no other."""
        rules: list[TrustRule] = []
        unreadable: list[str] = []
        for record in await self._records.list(_RULES, limit=LIST_LIMIT_MAX):
            rule = _decoded(record)
            if rule is None:
                unreadable.append(record.key.removeprefix(_RULES))
            else:
                rules.append(rule)
        return RuleList(rules=tuple(rules), unreadable=tuple(unreadable))

    async def remove(self, name: str, *, before: Before[str] = nothing_before) -> None:
        """Take a rule away; tokens that it gave are not renewed any more.

        Args:
            name: Its name.
            before: Called with its name and the version of its record, which may not be readable.

        Raises:
            UsageError: There is none.
        """
        for _ in range(_ATTEMPTS):
            record = await self._records.get(_RULES + name) if name.isascii() and name.isprintable() and name else None
            if record is None:
                raise UsageError(f"there is no trust rule {name[:64]!a}", fix=command("trust", "ls"))
            await before(name, record.version)
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)
                return
        raise BackendUnavailable("the trust rule was not removed", why="others changed it", fix="try again")


class SeenTokens:
    """Remembers identity tokens until they end.

    Args:
        records: Where.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def take(self, digest: str, *, ends_s: float, by: str) -> bool:
        """Take a token, once; False when it was taken before, here or at another replica.

        Args:
            digest: Names it.
            ends_s: When it ends, in seconds since 1970.
            by: Names this attempt, so that one whose answer was lost knows itself again.

        Raises:
            BackendUnavailable: It cannot be told.
        """
        key = f"{_SEEN}{math.ceil(ends_s + LEEWAY_S):012d}/{digest}"
        try:
            await self._records.swap(key, expected=None, value=by.encode())
        except Mismatch as error:
            return error.current is not None and error.current.value == by.encode()
        return True

    async def forget(self, now_s: float) -> None:
        """Forget some of the tokens that have ended: they would not be taken any more."""
        for record in await self._records.list(_SEEN, limit=_SWEEP):
            ends = record.key.removeprefix(_SEEN).partition("/")[0]
            if not ends.isdecimal() or int(ends) >= now_s:
                return
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)


def _same_as(rule: TrustRule, there: TrustRule | None) -> TrustRule:
    """Return the rule that is there, if it is what was asked for."""
    if there is None or replace(rule, made_by=there.made_by, made_at=there.made_at) != there:
        raise UsageError(f"there is a trust rule {rule.name!r} already", fix=command("trust", "remove", rule.name))
    return there


def _decoded(record: Record) -> TrustRule | None:
    """Return the rule of a record; None for one that cannot be read, or that a newer release made."""
    try:
        rule = decode_json(record.value, type=TrustRule)
        return check_rule(rule) if rule.schema <= ACCOUNTS_SCHEMA and _RULES + rule.name == record.key else None
    except (msgspec.MsgspecError, UnicodeDecodeError, UsageError):
        return None
