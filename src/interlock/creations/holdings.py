"""What a state holds, as far as it strikes creations out; pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from interlock.bounded import decode_json
from interlock.creations.creation import Creation
from interlock.errors import StateInvalid
from interlock.state import Document, parse_document


class Holdings:
    """The objects of one state, by type; only types that are asked for are read.

    Args:
        body: The state as it is stored; None when there is none.

    Raises:
        StateInvalid: It cannot be read, so nobody can tell what it holds.
    """

    def __init__(self, body: bytes | None) -> None:
        self._body = body or b""
        self._document: Document | None = parse_document(body) if body else None
        self._read: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def holds(self, creation: Creation) -> bool:
        """Say whether the state has this object, also as a tainted or a deposed one.

        Of an object whose type is not known it is enough that its id stands somewhere in the state.
        """
        if not creation.type:
            return bool(creation.id) and creation.id.encode() in self._body
        ids, names = self._of(creation.type)
        if creation.id and (creation.id in ids or creation.import_id in ids):
            return True
        from interlock.genesys.creating_calls import changes_id  # most runs ask for no type

        return changes_id(creation.type) and bool(creation.name) and creation.name in names

    def names(self, creation: Creation) -> bool:
        """Say whether the state has an object of this type and name, whatever its id."""
        return bool(creation.name) and creation.name in self._of(creation.type)[1]

    def has_id(self, resource_type: str, identifier: str) -> bool:
        """Say whether the state has an object of a type with this id."""
        return identifier in self._of(resource_type)[0]

    def _of(self, resource_type: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return ids and names of a type's objects."""
        if resource_type not in self._read:
            from interlock.genesys.creating_calls import name_attribute  # as above

            wanted = name_attribute(resource_type)
            found = [_decoded(raw) for raw in self._raw(resource_type)]
            ids = frozenset(value for each in found if isinstance(value := each.get("id"), str))
            names = frozenset(value for each in found if isinstance(value := each.get(wanted), str))
            self._read[resource_type] = (ids, names)
        return self._read[resource_type]

    def _raw(self, resource_type: str) -> Iterable[msgspec.Raw]:
        objects = self._document.objects() if self._document is not None else {}
        return (raw for key, raw in objects.items() if key.mode == "managed" and key.type == resource_type)


class _Instance(msgspec.Struct):
    attributes: dict[str, object] = msgspec.field(default_factory=dict)


def _decoded(raw: msgspec.Raw) -> dict[str, object]:
    try:
        return decode_json(raw, type=_Instance).attributes
    except msgspec.MsgspecError:
        return {}


def find_holdings(body: bytes | None) -> Holdings | None:
    """Return what a state holds; None when it cannot be read, as one that OpenTofu has encrypted."""
    try:
        return Holdings(body)
    except StateInvalid:
        return None
