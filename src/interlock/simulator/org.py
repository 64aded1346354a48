"""The organisation in memory: objects with versions, references and delayed visibility.

Knows nothing of HTTP, tokens or limits. One organisation belongs to one thread. Instants come from the caller, ids from
a seeded stream, so a test can repeat a whole history.

Eventual consistency: a write answers at once, but other readers see it later. `Delays.read_s` is how long a GET by id
still shows the former content (404 for a new object, the object for a deleted one), `Delays.list_s` the same for lists
and searches. Both are zero unless asked for. Parts of an object (members, skills of a user) are never late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .answer import ApiRefusal, Json, Moment, conflict, not_found
from .chance import Chance

INBORN = "_inborn"
"""Marks the body of an object that every organisation has from its first day."""


class VersionForm(Enum):
    """How a kind spells its version in JSON; a wrong type is silently ignored by the provider.

    Source: docs/facts/genesys.md#genesys-29.
    """

    NONE = "none"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of object.

    Attributes:
        name: Our word, such as `queue`; the key in snapshots.
        entity: The vendor's word in the audit log, such as `Queue`.
        service: The vendor's service in the audit log, such as `ContactCenter`.
        version: How versions are spelled.
        keeps_deleted: A deleted object can still be read (state `deleted`).
        unique: The field whose value only one living object may have; empty for none.
        limit: Objects of this kind in one organisation.
    """

    name: str
    entity: str
    service: str
    version: VersionForm = VersionForm.NONE
    keeps_deleted: bool = False
    unique: str = "name"
    limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Seconds until a write is seen by reads of one object, and by lists and searches.

    Attributes:
        media_s: Until an uploaded sound file is ready.
    """

    read_s: float = 0.0
    list_s: float = 0.0
    media_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object, never changed in place.

    Attributes:
        body: What the API shows, without id and version. Treat as read-only.
        before: The body that slow readers still see; None when there was none.
        changed_s: When the latest write happened, monotonic seconds.
        deleted: Deleted, at `changed_s`.
    """

    kind: Kind
    id: str
    body: Json
    version: int = 1
    before: Json | None = None
    changed_s: float = 0.0
    deleted: bool = False

    def seen(self, moment: Moment, delay_s: float) -> Json | None:
        """Return the body that a reader sees who lags `delay_s` behind; None when it sees no object."""
        if moment.elapsed_s < self.changed_s + delay_s:
            return self.before
        return None if self.deleted else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write, for the audit log: body before and after, None for absent."""

    moment: Moment
    kind: Kind
    id: str
    action: str
    before: Json | None
    after: Json | None


class Organisation:
    """All objects of one organisation.

    Args:
        kinds: Every kind it can hold.
        chance: Where ids come from.
        delays: Eventual consistency.

    Attributes:
        permissions: Every permission that an operation asks for; the catalogue of roles.
    """

    def __init__(self, kinds: Mapping[str, Kind], *, chance: Chance, delays: Delays | None = None) -> None:
        self.kinds = kinds
        self.id = chance.uuid()
        self.delays = delays or Delays()
        self.on_change: Callable[[Change], None] | None = None
        self.permissions: frozenset[str] = frozenset()
        self._chance = chance
        self._records: dict[str, dict[str, Record]] = {name: {} for name in kinds}
        self._living: dict[str, int] = dict.fromkeys(kinds, 0)
        self._taken: dict[str, dict[str, str]] = {name: {} for name in kinds}

    def add(self, kind: str, body: Json, moment: Moment, *, identifier: str | None = None) -> Record:
        """Create an object; `identifier` is its id where the client chooses it (e-mail domains), None for a new one.

        Raises:
            ApiRefusal: 409 when its unique field or its id is taken; 400 when the organisation holds no more of these.
        """
        what = self.kinds[kind]
        if self._living[kind] >= what.limit:
            raise ApiRefusal(400, "limit.exceeded", f"The organization has reached its limit of {what.limit} {kind}s")
        if identifier is not None and self.find(kind, identifier) is not None:
            raise conflict(f"A {kind} with the id {identifier} already exists")
        identifier = identifier or self._chance.uuid()
        self._claim(what, body, identifier)
        record = Record(kind=what, id=identifier, body=body, changed_s=moment.elapsed_s)
        self._records[kind][identifier] = record
        self._living[kind] += 1
        self._tell(record, "Create", None, body, moment)
        return record

    def find(self, kind: str, identifier: str) -> Record | None:
        """Return a living object whatever readers see yet; None when there is none. For checks inside the API."""
        record = self._records[kind].get(identifier)
        return None if record is None or record.deleted else record

    def get(self, kind: str, identifier: str) -> Record:
        """Return a living object.

        Raises:
            ApiRefusal: 404.
        """
        record = self.find(kind, identifier)
        if record is None:
            raise not_found(kind, identifier)
        return record

    def read(self, kind: str, identifier: str, moment: Moment) -> tuple[Record, Json]:
        """Return an object and its body as a GET by id sees it now.

        Raises:
            ApiRefusal: 404 when it does not exist, or not yet, or no more.
        """
        record = self._records[kind].get(identifier)
        body = record.seen(moment, self.delays.read_s) if record is not None else None
        if record is None or body is None:
            raise not_found(kind, identifier)
        return record, body

    def find_deleted(self, kind: str, identifier: str) -> Record | None:
        """Return a deleted object of a kind that keeps them."""
        record = self._records[kind].get(identifier)
        return record if record is not None and record.deleted and record.kind.keeps_deleted else None

    def listed(self, kind: str, moment: Moment) -> Iterator[tuple[Record, Json]]:
        """Yield each object that lists show now, oldest first."""
        for record in self._records[kind].values():
            body = record.seen(moment, self.delays.list_s)
            if body is not None:
                yield record, body

    def living(self, kind: str) -> Iterator[Record]:
        """Yield each object that exists, whatever lists show yet."""
        return (record for record in self._records[kind].values() if not record.deleted)

    def graves(self, kind: str) -> Iterator[Record]:
        """Yield each deleted object of the kind."""
        return (record for record in self._records[kind].values() if record.deleted)

    def owner_of(self, kind: str, value: str) -> str | None:
        """Return the id of the living object whose unique field is `value`, compared without case."""
        return self._taken[kind].get(value.casefold())

    def change(self, record: Record, body: Json, moment: Moment, action: str = "Update") -> Record:
        """Store a new body under the next version.

        Raises:
            ApiRefusal: 409 when its unique field is taken by another object.
        """
        self._claim(record.kind, body, record.id)
        self._unclaim(record, unless=body)
        changed = replace(record, body=body, version=record.version + 1, before=record.body, changed_s=moment.elapsed_s)
        self._records[record.kind.name][record.id] = changed
        self._tell(changed, action, record.body, body, moment)
        return changed

    def remove(self, record: Record, moment: Moment) -> Record:
        """Delete an object; what `keeps_deleted` stays readable as deleted."""
        self._unclaim(record, unless=None)
        gone = replace(record, version=record.version + 1, before=record.body, changed_s=moment.elapsed_s, deleted=True)
        self._records[record.kind.name][record.id] = gone
        self._living[record.kind.name] -= 1
        self._tell(gone, "Delete", record.body, None, moment)
        return gone

    def revive(self, record: Record, body: Json, moment: Moment) -> Record:
        """Bring a deleted object back under the next version (users: docs/facts/genesys.md#genesys-32)."""
        self._claim(record.kind, body, record.id)
        back = replace(
            record, body=body, version=record.version + 1, before=None, changed_s=moment.elapsed_s, deleted=False
        )
        self._records[record.kind.name][record.id] = back
        self._living[record.kind.name] += 1
        self._tell(back, "Restore", None, body, moment)
        return back

    def snapshot(self) -> dict[str, list[Json]]:
        """Return every living object as plain data, by kind, oldest first; for comparisons and demos.

        What every organisation is born with is left out, but for the home division.
        """
        return {kind: [{"id": record.id, **record.body} for record in self._made(kind)] for kind in self._records}

    def _made(self, kind: str) -> Iterator[Record]:
        return (record for record in self.living(kind) if INBORN not in record.body)

    def _claim(self, kind: Kind, body: Json, identifier: str) -> None:
        value = _unique_value(kind, body)
        if value is None:
            return
        owner = self._taken[kind.name].setdefault(value, identifier)
        if owner != identifier:
            field = kind.unique if not kind.unique.startswith("_") else "name"
            raise conflict(f"A {kind.name} with the {field} {body.get(field, body[kind.unique])} already exists")

    def _unclaim(self, record: Record, *, unless: Json | None) -> None:
        value = _unique_value(record.kind, record.body)
        if value is not None and (unless is None or _unique_value(record.kind, unless) != value):
            self._taken[record.kind.name].pop(value, None)

    def _tell(self, record: Record, action: str, before: Json | None, after: Json | None, moment: Moment) -> None:
        if self.on_change is not None:
            self.on_change(
                Change(moment=moment, kind=record.kind, id=record.id, action=action, before=before, after=after)
            )


def version_of(record: Record) -> Any:
    """Return the version as its kind spells it, or None."""
    match record.kind.version:
        case VersionForm.NUMBER:
            return record.version
        case VersionForm.TEXT:
            return str(record.version)
        case VersionForm.NONE:
            return None


def _unique_value(kind: Kind, body: Json) -> str | None:
    value = body.get(kind.unique) if kind.unique else None
    return value.casefold() if isinstance(value, str) else None
