"""Three-way merge of states, per instance: how two disjoint runs on one state become one state.

`base` is what a run started from (later: what it last wrote), `ours` what it writes now, `trunk` what is current.
A *hard* write changes an instance that the run's plan names; a *soft* write is a refresh, a rewritten `dependencies`
list or a schema upgrade that came along. Conflicts are values: nothing is raised and nothing is half merged.

Knows: document. The table it follows is in docs/facts/terraform-merging.md#merge-5, measured with real Terraform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from interlock.state.document import (
    MAX_SERIAL,
    Document,
    ObjectKey,
    Resource,
    ResourceKey,
    assemble,
    check_key,
    group_resources,
    index_objects,
    same_json,
    sort_checks,
)

_K = TypeVar("_K")


class Merged(Struct, frozen=True, kw_only=True):
    """A merge that worked.

    Attributes:
        document: The next trunk: serial one higher, or the trunk itself when nothing changed.
        hard: Instance addresses that this write changed by plan; remember them with the new serial.
        dropped: Instance addresses whose soft write lost against a newer trunk. Harmless: the next plan rewrites them.
        dirty_outputs: Outputs that both sides changed differently. A refresh-only apply of the merged configuration
            is needed, or they stay wrong.
    """

    document: Document
    hard: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    dirty_outputs: frozenset[str] = frozenset()


class Conflict(Struct, frozen=True, kw_only=True):
    """One instance that both sides changed by plan, or a document that has no common past with the trunk.

    Attributes:
        address: The instance; empty when it is about the whole document.
        reason: One sentence.
    """

    address: str
    reason: str


class Conflicted(Struct, frozen=True, kw_only=True):
    """A merge that must not happen. Admission should have made it impossible: keep `ours`, pause the state."""

    conflicts: tuple[Conflict, ...]


MergeResult: TypeAlias = Merged | Conflicted


class Writes(Struct, frozen=True, kw_only=True):
    """Who may have written what.

    Attributes:
        planned: Addresses that the run's plan changes: instance addresses, or addresses without keys for all
            instances of a resource. Both addresses of a move; deposed objects count with their instance.
        hard_since: Instance addresses hard-written on the trunk after the serial that the run started from.
    """

    planned: frozenset[str]
    hard_since: frozenset[str] = frozenset()

    def is_planned(self, key: ObjectKey) -> bool:
        """Whether the run's plan names this object."""
        address = key.address()
        return str(address) in self.planned or address.config() in self.planned


class _Outcome(Struct):
    """What the merge of the instances gathered so far."""

    resources: dict[ResourceKey, Resource] = field(default_factory=dict)
    hard: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    conflicts: list[Conflict] = field(default_factory=list)


def merge_documents(*, base: Document, trunk: Document, ours: Document, writes: Writes) -> MergeResult:
    """Merge what a run wrote into the current state.

    Args:
        base: What the run started from; its own previous accepted document after its first write.
        trunk: The current state.
        ours: What the run writes now.
        writes: What its plan names, and what others hard-wrote meanwhile.

    Returns:
        The next trunk, or the conflicts.

    Raises:
        StateInvalid: Instances of a document cannot be told apart; verify documents before merging.
    """
    foreign = _foreign(base, trunk, ours)
    if foreign is not None:
        return Conflicted(conflicts=(foreign,))
    outcome = _merge_resources(group_resources(base), group_resources(trunk), group_resources(ours), writes)
    if outcome.conflicts:
        return Conflicted(conflicts=tuple(sorted(outcome.conflicts, key=lambda each: each.address)))
    outputs, dirty = _merge_outputs(base.outputs, trunk.outputs, ours.outputs)
    merged = replace(
        trunk,
        resources=tuple(resource for _, resource in sorted(outcome.resources.items()) if resource.instances),
        outputs=outputs,
        check_results=_merge_checks(base.check_results, trunk.check_results, ours.check_results),
        terraform_version=max(trunk.terraform_version, ours.terraform_version, key=_version_order),
        source=None,
    )
    return Merged(
        document=_numbered(trunk, merged),
        hard=frozenset(outcome.hard),
        dropped=frozenset(outcome.dropped),
        dirty_outputs=dirty,
    )


def hard_since(written: Mapping[str, int], serial: int) -> frozenset[str]:
    """Return the addresses whose last hard write came after `serial`.

    Args:
        written: Instance address to the serial of its last hard write.
        serial: What the run started from.
    """
    return frozenset(address for address, at in written.items() if at > serial)


def remember_hard(written: Mapping[str, int], merged: Merged) -> dict[str, int]:
    """Return `written` with the hard writes of this merge."""
    return {**written, **dict.fromkeys(merged.hard, merged.document.serial)}


def _foreign(base: Document, trunk: Document, ours: Document) -> Conflict | None:
    if base.lineage != trunk.lineage or ours.lineage != trunk.lineage:
        return Conflict(address="", reason="the documents have different lineages")
    if trunk.serial >= MAX_SERIAL:
        return Conflict(address="", reason="the serial cannot rise any further")
    return None


def _merge_resources(
    base: Mapping[ResourceKey, Resource],
    trunk: Mapping[ResourceKey, Resource],
    ours: Mapping[ResourceKey, Resource],
    writes: Writes,
) -> _Outcome:
    outcome = _Outcome(resources=dict(trunk))
    for key in base.keys() | ours.keys():
        old, new = base.get(key), ours.get(key)
        if old is not None and new is not None and _same_resource(old, new):
            continue  # by far the most: the run did not touch it, so the trunk stays
        _merge_resource(key, old, trunk.get(key), new, writes, outcome)
    return outcome


def _same_resource(one: Resource, other: Resource) -> bool:
    return one.instances == other.instances and one.provider == other.provider


def _merge_resource(
    key: ResourceKey,
    base: Resource | None,
    trunk: Resource | None,
    ours: Resource | None,
    writes: Writes,
    outcome: _Outcome,
) -> None:
    old, current, new = index_objects(base), index_objects(trunk), index_objects(ours)
    changed = [name for name in old.keys() | new.keys() if not same_json(old.get(name), new.get(name))]
    taken = [name for name in changed if _takes(name, old.get(name), current.get(name), new.get(name), writes, outcome)]
    for name in taken:
        _set(current, name, new.get(name))
    header = ours if ours is not None and (taken or _same_header(base, trunk)) else trunk
    if header is not None and (taken or header is not trunk):
        outcome.resources |= {each.key: each for each in assemble({key: header}, current)}


def _same_header(one: Resource | None, other: Resource | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.with_instances([]) == other.with_instances([])


def _takes(
    key: ObjectKey, base: Raw | None, trunk: Raw | None, ours: Raw | None, writes: Writes, outcome: _Outcome
) -> bool:
    """Decide one changed object: whether our version replaces the trunk's. The table of section 8, line by line."""
    if key.mode == "data":
        return True  # both runs read it again; the last reader wins, strict comparison gave false conflicts
    address = str(key.address())
    if not writes.is_planned(key):
        if same_json(trunk, base):
            return True
        outcome.dropped.add(address)
        return False
    if address in writes.hard_since and not same_json(trunk, base) and not same_json(trunk, ours):
        outcome.conflicts.append(Conflict(address=address, reason="both runs changed it by plan"))
        return False
    outcome.hard.add(address)
    return True


def _merge_outputs(
    base: Mapping[str, Raw], trunk: Mapping[str, Raw], ours: Mapping[str, Raw]
) -> tuple[dict[str, Raw], frozenset[str]]:
    result = dict(trunk)
    dirty: set[str] = set()
    for name in base.keys() | ours.keys():
        old, current, new = base.get(name), trunk.get(name), ours.get(name)
        if same_json(new, old) or same_json(new, current):
            continue
        if not same_json(current, old):
            dirty.add(name)  # neither side saw what the other did, so either value may be wrong
        _set(result, name, new)
    return {name: result[name] for name in sorted(result)}, frozenset(dirty)


def _merge_checks(base: Raw, trunk: Raw, ours: Raw) -> Raw:
    """Take our entries where we changed them; the last writer wins, and the order becomes fixed."""
    old, current, new = (_checks(raw) for raw in (base, trunk, ours))
    touched = {key for key in old.keys() | new.keys() if not same_json(old.get(key), new.get(key))}
    if all(same_json(current.get(key), new.get(key)) for key in touched):
        return trunk
    merged = {key: raw for key, raw in current.items() if key not in touched}
    merged |= {key: raw for key, raw in new.items() if key in touched}
    return Raw(msgspec.json.encode([merged[key] for key in sorted(merged)]))


def _checks(raw: Raw) -> dict[tuple[bytes, bytes], Raw]:
    return {check_key(msgspec.json.decode(each, type=dict[str, Raw])): each for each in sort_checks(raw)}


def _numbered(trunk: Document, merged: Document) -> Document:
    """Give the result its serial: the trunk itself when nothing changed, so that no serial is spent on nothing."""
    unchanged = (
        trunk.outputs == merged.outputs
        and same_json(trunk.check_results, merged.check_results)
        and _instances(trunk) == _instances(merged)
    )
    return trunk if unchanged else replace(merged, serial=trunk.serial + 1)


def _instances(document: Document) -> dict[ResourceKey, Resource]:
    return {key: resource for key, resource in group_resources(document).items() if resource.instances}


def _version_order(text: str) -> tuple[tuple[int, ...], bool]:
    """Order `1.11.4` before `1.12.0`; a pre-release comes before its release."""
    release, _, pre = text.partition("-")
    return tuple(_numbers(release)), not pre


def _numbers(release: str) -> Iterator[int]:
    for part in release.split("."):
        yield int(part) if part.isdecimal() else 0


def _set(table: dict[_K, Raw], key: _K, value: Raw | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
