"""The operations that most kinds share: create, list, read, update, delete. Pure.

A kind says what differs: how a request body becomes an object, what forbids a deletion, which permissions it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .answer import Json, Reply
from .call import Call, check_version, named, page, shown
from .org import Record
from .routes import Route

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
        return page(
            call, named(call, (shown(record, body) for record, body in call.org.listed(self.kind, call.moment)))
        )

    def read(self, call: Call) -> Reply:
        """GET of one object."""
        deleted = call.org.find_deleted(self.kind, call.params[0]) if self.shows_deleted else None
        if deleted is not None:
            return Reply(content=shown(deleted, {**deleted.body, "state": "deleted"}))
        return Reply(content=shown(*call.org.read(self.kind, call.params[0], call.moment)))

    def update(self, call: Call) -> Reply:
        """PUT or PATCH of one object, under its current version."""
        record = call.org.get(self.kind, call.params[0])
        given = call.fields()
        check_version(record, given)
        changed = call.org.change(record, self.build(call, given, record.body), call.moment)
        return Reply(content=shown(changed, changed.body))

    def remove(self, call: Call) -> Reply:
        """DELETE of one object: 204, or the guard's refusal."""
        record = call.org.get(self.kind, call.params[0])
        self.guard(call, record)
        call.org.remove(record, call.moment)
        return Reply(status=204)
