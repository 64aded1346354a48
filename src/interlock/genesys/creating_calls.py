"""Which calls of the API make an object of which resource type, and by what it is imported.

Source: data/creating_calls.json.

A call is named by its method and its path below `/api/v2`. A POST to a path that is not in the table may make something
too: then only its answer tells, and its type is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from interlock.genesys.tables import Meta, load_table

API = "/api/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatingCall:
    """A call that makes one object.

    Attributes:
        path: Below `/api/v2`, with `{names}` for ids of the objects above.
        type: Resource type of what it makes.
        id: The field of the answer that names the object among those of its path.
        import_id: What imports it, from `{id}` and the names in `path`.
        object: Path of the object; empty for `path` and the id.
        field: The field of body and answer that holds the name which people know.
        attribute: The attribute that has the same value; empty when there is none.
        changes_id: Publishing gives it another id.
        job: The answer is a job, whose result is the object.
    """

    path: str
    type: str
    id: str = "id"
    import_id: str = "{id}"
    object: str = ""
    field: str = "name"
    attribute: str = "name"
    changes_id: bool = False
    job: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Revival:
    """A PATCH that brings a deleted object back, when its body has the values of `when`."""

    path: str
    type: str
    when: Mapping[str, str]
    field: str = "name"
    attribute: str = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A call of the table.

    Attributes:
        call: Its row.
        above: Values of the names in its path.
    """

    call: CreatingCall
    above: Mapping[str, str]

    def import_id(self, identifier: str) -> str:
        """Return what imports the object with this id."""
        text = self.call.import_id
        for name, value in {**self.above, "id": identifier}.items():
            text = text.replace("{" + name + "}", value)
        return text

    def object_path(self, identifier: str) -> str:
        """Return the path of the object with this id, below `/api/v2`."""
        text = self.call.object or f"{self.call.path}/{{id}}"
        for name, value in {**self.above, "id": identifier}.items():
            text = text.replace("{" + name + "}", value)
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    calls: tuple[CreatingCall, ...]
    revivals: tuple[Revival, ...]
    parts: tuple[str, ...]


@dataclass(slots=True)
class _Branch:
    """One step of the paths in the table: a fixed word, or the id of something."""

    words: dict[str, _Branch] = field(default_factory=dict)
    any: _Branch | None = None
    call: CreatingCall | None = None
    is_part: bool = False

    def at(self, word: str) -> _Branch:
        if not word.startswith("{"):
            return self.words.setdefault(word.lower(), _Branch())
        if self.any is None:
            self.any = _Branch()
        return self.any

    def find(self, words: tuple[str, ...]) -> _Branch | None:
        if not words:
            return self if self.call is not None or self.is_part else None
        fixed = self.words.get(words[0].lower())
        found = fixed.find(words[1:]) if fixed is not None else None
        return found or (self.any.find(words[1:]) if self.any is not None else None)


@cache
def _table() -> _Table:
    return load_table("creating_calls", _Table)


@cache
def _root() -> _Branch:
    root = _Branch()
    for call in _table().calls:
        _leaf(root, call.path).call = call
    for path in _table().parts:
        _leaf(root, path).is_part = True
    return root


def _leaf(root: _Branch, path: str) -> _Branch:
    for word in _words(path):
        root = root.at(word)
    return root


def _words(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def find_creating_call(path: str) -> Found | None:
    """Return what a POST to a path makes; None when the path is not in the table, or makes nothing of its own.

    Args:
        path: From `/api/v2` on, without a query.
    """
    words = _words(path.removeprefix(API))
    branch = _root().find(words)
    if branch is None or branch.call is None:
        return None
    names = _words(branch.call.path)
    above = {name.strip("{}"): word for name, word in zip(names, words, strict=True) if name.startswith("{")}
    return Found(call=branch.call, above=above)


def makes_parts(path: str) -> bool:
    """Say whether a POST to a path is known to make nothing of its own: members, versions, searches, exports."""
    branch = _root().find(_words(path.removeprefix(API)))
    return branch is not None and branch.call is None


def find_revival(path: str) -> Revival | None:
    """Return the row of the PATCH that may bring a deleted object back; None for no such path."""
    words = _words(path.removeprefix(API))
    for each in _table().revivals:
        names = _words(each.path)
        if len(names) == len(words) and all(
            name.startswith("{") or name == word for name, word in zip(names, words, strict=True)
        ):
            return each
    return None


def creating_calls() -> tuple[CreatingCall, ...]:
    """Return every row of the table."""
    return _table().calls


def name_attribute(resource_type: str) -> str:
    """Return the attribute by which people know an object of a type; empty when there is none, or it is not known."""
    return _by_type()[resource_type].attribute if resource_type in _by_type() else ""


def changes_id(resource_type: str) -> bool:
    """Say whether an object of a type has another id once it is published."""
    return resource_type in _by_type() and _by_type()[resource_type].changes_id


@cache
def _by_type() -> dict[str, CreatingCall]:
    return {call.type: call for call in _table().calls}
