"""The operations that most kinds share: create, list, read, update, delete. Pure.

`Declared` interprets one row of the table (`row.py`, `table/`). `Collection` serves the kinds that are older than the
table and build their bodies with code of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .answer import Json, Reply, conflict, not_found
from .call import Call, check_version, cursor_page, identifier_of, named, page, shown
from .field import Field, build_body
from .org import Record
from .routes import Route
from .row import KEY, PARENT, Paging, Row, Versioning, children, key_of
from .search import searched

_NO_CONTENT = 204

Build: TypeAlias = Callable[[Call, Json, Json | None], Json]
"""(call, request body, current body or None) -> the body to store; raises ApiRefusal."""


def _unguarded(_call: Call, _record: Record) -> None:
    """Let every deletion pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A kind with the usual operations.

    Attributes:
        kind: Its name in the organisation.
        path: Below `/api/v2`, such as `/routing/skills`.
        build: Makes the stored body.
        add, view, edit, delete: Permission for each operation.
        updates: Methods that update, such as `PUT`.
        guard: Raises ApiRefusal when an object may not be deleted.
        shows_deleted: A GET of a deleted object answers 200 with state `deleted` (skills, languages).
    """

    kind: str
    path: str
    build: Build
    add: str
    view: str
    edit: str
    delete: str
    updates: tuple[str, ...] = ("PUT",)
    guard: Callable[[Call, Record], None] = _unguarded
    shows_deleted: bool = False

    def routes(self) -> list[Route]:
        """Return the routes of the usual operations."""
        one = self.path + "/{id}"
        return [
            Route(method="POST", path=self.path, handler=self.create, permissions=(self.add,)),
            Route(method="GET", path=self.path, handler=self.list, permissions=(self.view,)),
            Route(method="GET", path=one, handler=self.read, permissions=(self.view,)),
            Route(method="DELETE", path=one, handler=self.remove, permissions=(self.delete,)),
            *(Route(method=verb, path=one, handler=self.update, permissions=(self.edit,)) for verb in self.updates),
        ]

    def create(self, call: Call) -> Reply:
        """POST: answers 200 with the whole object."""
        body = self.build(call, call.fields(), None)
        record = call.org.add(self.kind, body, call.moment)
        return Reply(content=shown(record, record.body))

    def list(self, call: Call) -> Reply:
        """GET of the collection, by page and name."""
        return page(call, named(call, (shown(record, body) for record, body in call.listed(self.kind))))

    def read(self, call: Call) -> Reply:
        """GET of one object."""
        deleted = call.org.find_deleted(self.kind, call.params[0]) if self.shows_deleted else None
        if deleted is not None:
            return Reply(content=shown(deleted, {**deleted.body, "state": "deleted"}))
        return Reply(content=shown(*call.read(self.kind, call.params[0])))

    def update(self, call: Call) -> Reply:
        """PUT or PATCH of one object, under its current version."""
        record = call.get(self.kind, call.params[0])
        given = call.fields()
        check_version(record, given)
        changed = call.org.change(record, self.build(call, given, record.body), call.moment)
        return Reply(content=shown(changed, changed.body))

    def remove(self, call: Call) -> Reply:
        """DELETE of one object: 204, or the guard's refusal."""
        record = call.get(self.kind, call.params[0])
        self.guard(call, record)
        call.org.remove(record, call.moment)
        return Reply(status=204)


class Declared:
    """The usual operations of one row of the table.

    Args:
        row: What the kind is like.
        table: Every row, to find what belongs to an object and what holds it.
    """

    def __init__(self, row: Row, table: Sequence[Row]) -> None:
        self.row = row
        self._hidden = row.hidden()
        self._place = len(_variables(row.path)) - 1  # of the parent's id among the variable parts of the path
        self._children = [other for other in table if other.parent == row.kind]
        self._holders = [other for other in table if any(what.kind == row.kind for what in _holding(other))]

    def routes(self) -> list[Route]:
        """Return the routes of the row's operations."""
        row = self.row
        one = row.path + "/{id}"
        add, view, edit, delete = (f"{row.permission}:{verb}" for verb in row.verbs)
        offered = {
            "C": [Route(method="POST", path=row.path, handler=self.create, permissions=(add,))],
            "L": [Route(method="GET", path=row.path, handler=self.list, permissions=(view,))],
            "R": [Route(method="GET", path=one, handler=self.read, permissions=(view,))],
            "U": [Route(method=verb, path=one, handler=self.update, permissions=(edit,)) for verb in row.updates],
            "D": [Route(method="DELETE", path=one, handler=self.remove, permissions=(delete,))],
        }
        found = [route for letter in row.operations for route in offered[letter]]
        if row.search:
            found.append(Route(method="POST", path=row.search, handler=self.search, permissions=(view,)))
        return found

    def create(self, call: Call) -> Reply:
        """POST: answers with the whole object."""
        return Reply(status=self.row.created, content=self.made(call, call.fields()))

    def made(self, call: Call, given: Json) -> Json:
        """Create one object from what was sent, and return it as it is shown."""
        parent = self._parent(call)
        body = self._placed(self.row.shape(call, self._build(call, given, None), None), parent)
        body.update(dict.fromkeys((name for name in self.row.stamps if name), _stamp(call)))
        own = identifier_of(given.get(self.row.own_id)) if self.row.own_id else None
        record = call.org.add(self.row.kind, body, call.moment, identifier=own)
        return self.shown(call, record, body)

    def list(self, call: Call) -> Reply:
        """GET of the collection, by page and name."""
        return paged(call, named(call, self.all_shown(call)), self.row.paging)

    def all_shown(self, call: Call) -> Sequence[Json]:
        """Return every object that lists show now."""
        parent = self._parent(call)
        return [
            self.shown(call, record, body)
            for record, body in call.listed(self.row.kind)
            if (not self.row.parent or body[PARENT] == parent) and self.row.is_listed(body, call.request.query)
        ]

    def search(self, call: Call) -> Reply:
        """POST of clauses; see `search.py`."""
        facts = [
            (self.shown(call, record, body), {**body, "id": record.id}) for record, body in call.listed(self.row.kind)
        ]
        return searched(call, facts)

    def read(self, call: Call) -> Reply:
        """GET of one object."""
        self._parent(call)
        record, body = call.read(self.row.kind, call.params[self._place + 1])
        self._check_parent(call, record)
        return Reply(content=self.shown(call, record, body))

    def update(self, call: Call) -> Reply:
        """PUT or PATCH of one object, under its current version."""
        record = self.one(call)
        given = call.fields()
        self._check_version(record, given)
        if call.request.method == "PATCH":
            given = {**{name: record.body[name] for name in self.row.fields if name in record.body}, **given}
        body = self.row.shape(call, self._build(call, given, record.body), record.body)
        changed = self.store(call, record, body)
        return Reply(content=self.shown(call, changed, changed.body))

    def remove(self, call: Call) -> Reply:
        """DELETE of one object: the row's status, or the refusal of what holds it."""
        record = self.one(call)
        self.row.guard(call, record)
        self._check_holders(call, record)
        for row in self._children:
            for child in tuple(children(call.org, row.kind, record.id)):
                call.org.remove(child, call.moment)
        call.org.remove(record, call.moment)
        return Reply(status=self.row.deleted, content=None if self.row.deleted == _NO_CONTENT else {})

    def one(self, call: Call) -> Record:
        """Return the object that the path names, whatever readers see yet.

        Raises:
            ApiRefusal: 404, or 403 when its division is not the caller's.
        """
        self._parent(call)
        record = call.get(self.row.kind, call.params[self._place + 1])
        self._check_parent(call, record)
        return record

    def store(self, call: Call, record: Record, body: Json) -> Record:
        """Store a body in place of the object's own, with what the API itself keeps in it."""
        created, modified = self.row.stamps
        kept = {name: record.body[name] for name in (PARENT, created) if name in record.body}
        dated = {modified: _stamp(call)} if modified else {}
        return call.org.change(
            record, self._placed({**body, **kept, **dated}, record.body.get(PARENT, "")), call.moment
        )

    def shown(self, call: Call, record: Record, body: Json) -> Json:
        """Return an object as the API shows it."""
        visible = {name: value for name, value in body.items() if name not in self._hidden}
        view = self.row.view(call, record, shown(record, visible))
        view["selfUri"] = f"/api/v2{self._path(body)}/{record.id}"
        return view

    def _path(self, body: Json) -> str:
        variables = _variables(self.row.path)
        return self.row.path.replace(variables[0], body[PARENT]) if variables else self.row.path

    def _build(self, call: Call, given: Json, current: Json | None) -> Json:
        return build_body(call, self.row.fields, given, current)

    def _placed(self, body: Json, parent: str) -> Json:
        if not self.row.parent:
            return dict(body)
        key = key_of(self.row, parent, body)
        return {**body, PARENT: parent, **({KEY: key} if key is not None else {})}

    def _parent(self, call: Call) -> str:
        """Return the id of the parent; it must exist."""
        if not self.row.parent:
            return ""
        return call.get(self.row.parent, call.params[self._place]).id

    def _check_parent(self, call: Call, record: Record) -> None:
        if self.row.parent and record.body[PARENT] != call.params[self._place]:
            raise not_found(self.row.kind, record.id)

    def _check_version(self, record: Record, given: Json) -> None:
        if self.row.versioning is Versioning.NEEDED or given.get("version") is not None:
            check_version(record, given)

    def _check_holders(self, call: Call, record: Record) -> None:
        for row in self._holders:
            for holder in call.org.living(row.kind):
                if (self.row.kind, record.id) in row.holds(holder.body):
                    name = holder.body.get("name", holder.id)
                    raise conflict(f"The {self.row.kind} is in use by the {row.kind} {name} ({holder.id})", "in.use")


def paged(call: Call, found: Sequence[Json], paging: Paging) -> Reply:
    """Return the list in the row's spelling."""
    match paging:
        case Paging.PAGES:
            return page(call, found)
        case Paging.CURSOR:
            return cursor_page(call, found)
        case Paging.BARE:
            return Reply(content=list(found))


def _holding(row: Row) -> Iterator[Field]:
    return (what for what in row.fields.values() if what.holds)


def _variables(path: str) -> list[str]:
    return [part for part in path.split("/") if part.startswith("{")]


def _stamp(call: Call) -> str:
    return call.moment.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{call.moment.at.microsecond // 1000:03d}Z"
