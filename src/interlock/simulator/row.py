"""One row of the table of collections: everything in which a kind of object differs from the others. Pure values.

`collection.py` interprets rows; the rows stand in `table/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from .answer import Json
from .call import Call
from .field import Field, Form
from .org import INBORN, Kind, Organisation, Record, VersionForm

Shape: TypeAlias = Callable[[Call, Json, Json | None], Json]
"""(call, body as the fields allow it, stored body or None) -> the body to store; raises ApiRefusal."""

View: TypeAlias = Callable[[Call, Record, Json], Json]
"""(call, record, object as it would be shown) -> the object to show."""

Guard: TypeAlias = Callable[[Call, Record], None]
"""Raises ApiRefusal when the object may not be deleted."""


class Paging(Enum):
    """How a list is spelled."""

    PAGES = auto()
    """`pageNumber`, `pageSize`, `total` and `entities`."""
    CURSOR = auto()
    """`entities` and, unless it is the last part, `nextUri` with `after`."""
    BARE = auto()
    """A plain JSON array of everything."""


class Versioning(Enum):
    """Whether a write names the version that it replaces."""

    NONE = auto()
    NEEDED = auto()
    """A write without the version is refused with 400, one with another with 409."""
    IF_GIVEN = auto()
    """Only a write with another version is refused."""


def _as_it_is(_call: Call, body: Json, _current: Json | None) -> Json:
    return body


def _shown_as_it_is(_call: Call, _record: Record, view: Json) -> Json:
    return view


def _unguarded(_call: Call, _record: Record) -> None:
    """Let every deletion pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of object with the usual operations.

    Attributes:
        kind: Our word for it, the key in snapshots.
        entity, service: The vendor's words in the audit log.
        path: Below `/api/v2`; a part in braces is the id of the `parent`.
        permission: Domain and entity, such as `outbound:campaign`; the action is put behind it.
        fields: What it holds besides its id and version.
        verbs: Permission actions for create, read, update and delete.
        operations: Letters of what it offers: create, read, list, update, delete.
        updates: Methods that update: PUT replaces, PATCH changes what it names.
        versioning, text_version: Whether versions are checked, and whether they are JSON strings.
        unique: The field that only one living object (of one parent) may have; empty for none.
        parent: The kind whose id stands in the path; its deletion takes these objects with it.
        own_id: The field with the id that the client chooses; empty when the API chooses it.
        created, deleted: Status of the answers.
        paging: How lists are spelled.
        narrowed: Query parameters of lists that name an id, each with the field that must refer to it.
        search: Path of a search by clauses; empty for none.
        stamps: Names of the dates of creation and of the latest change; empty names are not kept.
        shape: What makes this kind's body different from its fields.
        view: What makes its answers different from its body.
        guard: What keeps it from being deleted, besides the references that hold it.
        limit: Objects in one organisation.
    """

    kind: str
    entity: str
    service: str
    path: str
    permission: str
    fields: Mapping[str, Field]
    verbs: tuple[str, str, str, str] = ("add", "view", "edit", "delete")
    operations: str = "CRLUD"
    updates: tuple[str, ...] = ("PUT",)
    versioning: Versioning = Versioning.NONE
    text_version: bool = False
    unique: str = "name"
    parent: str = ""
    own_id: str = ""
    created: int = 200
    deleted: int = 204
    paging: Paging = Paging.PAGES
    narrowed: Mapping[str, str] = field(default_factory=dict)
    search: str = ""
    stamps: tuple[str, str] = ("dateCreated", "dateModified")
    shape: Shape = field(default=_as_it_is)
    view: View = field(default=_shown_as_it_is)
    guard: Guard = field(default=_unguarded)
    limit: int = 10_000

    def as_kind(self) -> Kind:
        """Return the kind under which the organisation keeps these objects."""
        form = VersionForm.TEXT if self.text_version else VersionForm.NUMBER
        return Kind(
            name=self.kind,
            entity=self.entity,
            service=self.service,
            version=VersionForm.NONE if self.versioning is Versioning.NONE else form,
            unique=KEY if self.parent and self.unique else self.unique,
            limit=self.limit,
        )

    def hidden(self) -> frozenset[str]:
        """Return the fields that are kept and never shown."""
        return frozenset({KEY, PARENT, INBORN, *(name for name, what in self.fields.items() if what.secret)})

    def holds(self, body: Json) -> Iterator[tuple[str, str]]:
        """Yield kind and id of every object that may not be deleted while `body` is stored."""
        for name, what in self.fields.items():
            if not what.holds or body.get(name) is None:
                continue
            named = [body[name]] if what.form is Form.REFERENCE else body[name]
            yield from ((what.kind, item["id"]) for item in named)

    def is_listed(self, body: Json, query: Mapping[str, str]) -> bool:
        """Return whether an object is in the list that a query asks for, as far as it names other objects."""
        wanted = ((query[name], body.get(of) or []) for name, of in self.narrowed.items() if query.get(name))
        return all(identifier in (each["id"] for each in named) for identifier, named in wanted)


KEY = "_key"
"""Where a body keeps what must be unique among the objects of one parent."""

PARENT = "_parent"
"""Where a body keeps the id of its parent."""


def key_of(row: Row, parent: str, body: Json) -> str | None:
    """Return what must be unique among the objects of all parents; None when nothing must."""
    value = body.get(row.unique) if row.unique else None
    return f"{parent}/{value}" if isinstance(value, str) else None


def children(org: Organisation, kind: str, parent: str) -> Iterator[Record]:
    """Yield the living objects of one parent."""
    return (record for record in org.living(kind) if record.body.get(PARENT) == parent)
