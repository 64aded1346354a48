"""Two documents -> what changed, by instance address.

Finding the changed objects compares bytes and reads heads only where bytes differ; which attributes changed is worked
out for one object at a time, when somebody looks. Sensitive values are masked here, so no view can forget it.

Knows: document, redact. The law: applying a diff to its first document gives its second (`apply_diff`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, TypeVar

import msgspec
from msgspec import Raw, Struct

from interlock.errors import StateInvalid, reason_of
from interlock.secrecy import NO_SECRETS, PartlyShown, Secrets, sounds_secret
from interlock.state.document import (
    Document,
    ObjectKey,
    Resource,
    ResourceKey,
    assemble,
    group_resources,
    index_objects,
    same_json,
)
from interlock.state.redact import (
    MASK,
    Path,
    is_masked,
    mask,
    named_places,
    plain,
    read_attributes,
    read_exactly,
    secrets_within,
    sensitive_paths,
)

_K = TypeVar("_K")
_V = TypeVar("_V")
MAX_ATTRIBUTE_CHANGES = 1000  # of one object; more is not read by anybody


class Kind(Enum):
    """How something differs between two documents."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class ObjectChange(PartlyShown, frozen=True, kw_only=True):
    """One object that differs.

    Attributes:
        key: Which object.
        before: Its JSON in the first document, or None.
        after: Its JSON in the second document, or None.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"before", "after"})

    key: ObjectKey
    before: Raw | None
    after: Raw | None

    @property
    def kind(self) -> Kind:
        """Return whether the object came, went or changed."""
        return _kind(self.before, self.after)

    @property
    def address(self) -> str:
        """Return the instance address."""
        return str(self.key.address())


class OutputChange(PartlyShown, frozen=True, kw_only=True):
    """One output that differs. The values are JSON of the whole output, `sensitive` mark included."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"before", "after"})

    name: str
    before: Raw | None
    after: Raw | None

    @property
    def kind(self) -> Kind:
        """Return whether the output came, went or changed."""
        return _kind(self.before, self.after)


class HeaderChange(Struct, frozen=True, kw_only=True):
    """A resource block that came, went or has another provider; without its instances."""

    key: ResourceKey
    before: Resource | None
    after: Resource | None


class AttributeChange(Struct, frozen=True, kw_only=True):
    """One attribute of one object that differs.

    Attributes:
        path: As in Terraform, `members[0].ring_num`.
        before: The value as JSON-ready data, `MASK` when sensitive, None when absent or null.
        after: Likewise.
        sensitive: Whether the values are masked.
    """

    path: str
    before: object
    after: object
    sensitive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """Everything in which two documents differ.

    Attributes:
        objects: In Terraform's order of addresses.
        outputs: By name.
        headers: Resource blocks that came, went or changed their provider.
        checks_changed: Whether `check_results` have other bytes (their order is random).
        second: The document without resources and outputs: serial, lineage, versions, checks, unknown fields.
    """

    objects: tuple[ObjectChange, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    headers: tuple[HeaderChange, ...] = ()
    checks_changed: bool = False
    second: Document = field(repr=False)

    def is_empty(self) -> bool:
        """Whether both documents hold the same objects and outputs."""
        return not (self.objects or self.outputs or self.headers)

    def counts(self) -> dict[Kind, int]:
        """Count the changed objects by kind."""
        kinds = [change.kind for change in self.objects]
        return {kind: kinds.count(kind) for kind in Kind}


def diff_documents(first: Document, second: Document) -> Diff:
    """Compare two documents.

    Raises:
        StateInvalid: Instances of one of them cannot be told apart.
    """
    before, after = group_resources(first), group_resources(second)
    keys = sorted(before.keys() | after.keys())
    changes = [each for key in keys for each in _object_changes(before.get(key), after.get(key))]
    return Diff(
        objects=tuple(sorted(changes, key=lambda change: change.key.order())),
        outputs=tuple(_output_changes(first.outputs, second.outputs)),
        headers=tuple(_header_changes(before, after)),
        checks_changed=not same_json(first.check_results, second.check_results),
        second=replace(second, resources=(), outputs={}, source=None),
    )


def apply_diff(document: Document, diff: Diff) -> Document:
    """Return what `document` becomes by `diff`; resources and instances come out in Terraform's order.

    Raises:
        StateInvalid: Instances of the document cannot be told apart.
    """
    headers = {key: resource.with_instances([]) for key, resource in group_resources(document).items()}
    objects = document.objects()
    outputs = dict(document.outputs)
    for header in diff.headers:
        _put(headers, header.key, header.after)
    for change in diff.objects:
        _put(objects, change.key, change.after)
    for output in diff.outputs:
        _put(outputs, output.name, output.after)
    return replace(diff.second, resources=assemble(headers, objects), outputs=outputs, source=None)


def attribute_changes(change: ObjectChange, secrets: Secrets = NO_SECRETS) -> tuple[AttributeChange, ...]:
    """Work out which attributes of one object changed, masked where sensitive.

    Args:
        change: One object.
        secrets: What is hidden wherever it occurs; see `collect_secrets`.

    Returns:
        Leaf by leaf in the order of paths, at most `MAX_ATTRIBUTE_CHANGES`. An object that came or went lists all its
        attributes. Empty when only fields beside the attributes changed (`private`, `dependencies`).
    """
    marked = (*_marks(change.before, change.key.type), *_marks(change.after, change.key.type))
    rows: list[AttributeChange] = []
    sides = (_attributes(change.before), _attributes(change.after))
    marked = (*marked, *(place for side in sides for place in named_places(side)))
    if secrets is NO_SECRETS:
        secrets = secrets_within(sides, marked)
    for path, old, new in _leaves(*sides, ()):
        if len(rows) == MAX_ATTRIBUTE_CHANGES:
            break
        rows.append(_attribute_change(path, old, new, marked, secrets))
    return tuple(rows)


def output_values(change: OutputChange, secrets: Secrets = NO_SECRETS) -> AttributeChange:
    """Return both values of a changed output, masked when either side is sensitive or its name sounds secret."""
    old, new = _output(change.before), _output(change.after)
    sensitive = sounds_secret(change.name) or old[1] or new[1]
    values = (
        MASK if sensitive and value is not None else mask(value, (), secrets=secrets) for value in (old[0], new[0])
    )
    before, after = map(plain, values)
    return AttributeChange(path=secrets.hide(change.name), before=before, after=after, sensitive=sensitive)


def _put(table: dict[_K, _V], key: _K, value: _V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _kind(before: Raw | None, after: Raw | None) -> Kind:
    if before is None:
        return Kind.ADDED
    return Kind.REMOVED if after is None else Kind.CHANGED


def _object_changes(before: Resource | None, after: Resource | None) -> Iterator[ObjectChange]:
    if before is not None and after is not None and before.instances == after.instances:
        return
    old, new = index_objects(before), index_objects(after)
    for key in old.keys() | new.keys():
        if not same_json(old.get(key), new.get(key)):
            yield ObjectChange(key=key, before=old.get(key), after=new.get(key))


def _output_changes(before: Mapping[str, Raw], after: Mapping[str, Raw]) -> Iterator[OutputChange]:
    for name in sorted(before.keys() | after.keys()):
        if not same_json(before.get(name), after.get(name)):
            yield OutputChange(name=name, before=before.get(name), after=after.get(name))


def _header_changes(
    before: Mapping[ResourceKey, Resource], after: Mapping[ResourceKey, Resource]
) -> Iterator[HeaderChange]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        bare_old = old.with_instances([]) if old is not None else None
        bare_new = new.with_instances([]) if new is not None else None
        if bare_old != bare_new:
            yield HeaderChange(key=key, before=bare_old, after=bare_new)


def _marks(instance: Raw | None, kind: str) -> tuple[Path, ...]:
    return () if instance is None else sensitive_paths(instance, kind)


def _attributes(instance: Raw | None) -> object:
    if instance is None:
        return None
    try:
        return read_attributes(instance)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateInvalid("the attributes of an instance cannot be read", why=reason_of(error)) from error


def _attribute_change(
    path: Path, old: object, new: object, marked: tuple[Path, ...], secrets: Secrets
) -> AttributeChange:
    sensitive = is_masked(path, marked)
    # A whole list or map may be one leaf (it came from nothing), so what lies below is masked as well.
    before, after = (plain(mask(value, marked, path, secrets)) for value in (old, new))
    return AttributeChange(path=secrets.hide(spell_path(path)), before=before, after=after, sensitive=sensitive)


def spell_path(path: Path) -> str:
    """Spell a path as Terraform does: `members[0].ring_num`, `labels["a b"]`; empty for the whole value."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").replace("-", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{msgspec.json.encode(step).decode()}]"
    return text


def _leaves(old: object, new: object, path: Path) -> Iterator[tuple[Path, object, object]]:
    """Yield the smallest differing parts of two values."""
    names = _steps(old, new)
    if names is None:
        if type(old) is not type(new) or old != new:  # 1 equals True in Python, but not in a state
            yield path, old, new
        return
    for name in names:
        yield from _leaves(_get(old, name), _get(new, name), (*path, name))


def _steps(old: object, new: object) -> list[str | int] | None:
    """Return the steps into two values of one shape (None counts as empty of the other's shape), or None for leaves."""
    sides = [side for side in (old, new) if side is not None]
    if all(isinstance(side, dict) and side for side in sides):
        return sorted({name for side in sides if isinstance(side, dict) for name in side})
    if all(isinstance(side, list) and side for side in sides):
        return list(range(max(len(side) for side in sides if isinstance(side, list))))
    return None


def _get(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _output(raw: Raw | None) -> tuple[object, bool]:
    """Return value and sensitivity of an output; one that cannot be read counts as sensitive."""
    if raw is None:
        return None, False
    fields = read_exactly(raw)
    if not isinstance(fields, dict):
        return None, True
    return fields.get("value"), bool(fields.get("sensitive"))
