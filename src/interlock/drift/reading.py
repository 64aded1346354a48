"""The JSON of `terraform show -json PLANFILE` -> what drifted, and what the plan would do with it.

Values are compared where they stand: objects attribute by attribute, a nested block that occurs once likewise; other
lists are one value, because the JSON does not tell sets from lists and places in a set mean nothing.

Knows: the plan's JSON (docs/facts/terraform-runs.md#run-15). Values here are in clear and never shown; `classify`
masks them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from interlock.drift.inventory import Inventory, inventory_of
from interlock.errors import PROGRAM, TerraformFailed
from interlock.secrecy import Secrets, gather_secrets, hide_within, is_named_pair, is_placed, secret_places
from interlock.terraform.plan import ShownPlan, spell_path

MAX_DIFFERENCES = 1000  # of one object; beyond it the object counts as changed as a whole

Path: TypeAlias = tuple[str | int, ...]
_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value before and after, in clear.

    Attributes:
        steps: The way to it; empty for the whole object.
        sensitive: It must not be shown.
    """

    steps: Path
    before: Any = field(repr=False)
    after: Any = field(repr=False)
    sensitive: bool = False

    @property
    def path(self) -> str:
        """The way to it as people write it."""
        return spell_path(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """One entry of `resource_drift`.

    Attributes:
        gone: The object does not exist any more.
        previous: Its address before a move; empty for none.
        differences: What differs; none for an object that is gone.
    """

    address: str
    type: str
    object: str
    name: str
    gone: bool = False
    previous: str = ""
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One entry of `resource_changes` that does something."""

    address: str
    type: str
    object: str
    actions: frozenset[str]
    before: Any = field(repr=False)
    after: Any = field(repr=False)
    unknown: Any = field(repr=False)

    @property
    def destroys(self) -> bool:
        """The object as it is will not be there afterwards."""
        return "delete" in self.actions

    def overwrites(self, difference: Difference) -> bool:
        """Say whether the plan replaces the drifted value by another one.

        A value that is known only after an update is the provider's to choose, not the configuration's.
        """
        if self.destroys and "create" not in self.actions:
            return True
        if is_unknown(self.unknown, difference.steps):
            return self.destroys
        return not same(find(self.after, difference.steps), difference.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What drift needs of a plan."""

    drifted: tuple[Drifted, ...]
    planned: Mapping[str, Planned]
    inventory: Inventory = field(default_factory=Inventory)


def read_plan(shown: bytes) -> ReadPlan:
    """Read the JSON of a plan.

    Raises:
        TerraformFailed: It is too large, or not the JSON of a plan.
    """
    plan = ShownPlan(shown)
    try:
        with plan.reading():
            secrets = gather_secrets(plan.secret_texts())
            drifted = tuple(_drifted(entry, secrets) for entry in _managed(plan.each("resource_drift")))
            inventory = inventory_of(plan.value("prior_state") or {})
            planned = [_planned(entry) for entry in _managed(plan.each("resource_changes"))]
    except ValueError as error:
        raise _unreadable("it is not as expected") from error
    acting = {each.address: each for each in planned if each.actions - {"no-op", "read"}}
    return ReadPlan(drifted=drifted, planned=acting, inventory=inventory)


def find(value: Any, steps: Path) -> Any:
    """Return the value at `steps`, None where there is none."""
    found = _walk(value, steps)
    return None if found is _MISSING else found


def is_unknown(tree: Any, steps: Path) -> bool:
    """Say whether the value at `steps`, or a part of it, is known only after the apply."""
    for step in steps:
        if tree is True:
            return True
        tree = _walk(tree, (step,))
    return _has_mark(tree)


def same(one: Any, other: Any) -> bool:
    """Compare as JSON does: `true` is not 1."""
    return bool(one == other) and _spelled(one) == _spelled(other)


def _managed(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in entries if entry.get("mode", "managed") == "managed")


def _unreadable(why: str) -> TerraformFailed:
    return TerraformFailed("the plan's JSON cannot be read", why=why, fix=f"{PROGRAM} show -json PLANFILE")


def _drifted(entry: Mapping[str, Any], secrets: Secrets) -> Drifted:
    change = entry["change"]
    before, after = change.get("before"), change.get("after")
    marks = (change.get("before_sensitive"), change.get("after_sensitive"))
    gone = "delete" in change.get("actions", ())
    found = [] if gone else list(_differences(before, after, marks, ()))
    if len(found) > MAX_DIFFERENCES:
        found = [Difference(steps=(), before=before, after=after, sensitive=True)]
    return Drifted(
        address=str(entry["address"]),
        type=str(entry.get("type", "")),
        object=_text(before, "id"),
        name=secrets.hide(_text(after, "name") or _text(before, "name")),
        gone=gone,
        previous=str(entry.get("previous_address") or ""),
        differences=tuple(_guarded(each, secret_places(str(entry.get("type", ""))), secrets) for each in found),
    )


def _planned(entry: Mapping[str, Any]) -> Planned:
    change = entry["change"]
    return Planned(
        address=str(entry["address"]),
        type=str(entry.get("type", "")),
        object=_text(change.get("before"), "id"),
        actions=frozenset(str(word) for word in change.get("actions") or ()),
        before=change.get("before"),
        after=change.get("after"),
        unknown=change.get("after_unknown"),
    )


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _guarded(difference: Difference, places: tuple[tuple[str, ...], ...], secrets: Secrets) -> Difference:
    """Mark what is secret for its place, or holds a copy of a secret."""
    names = tuple(step for step in difference.steps if isinstance(step, str))
    sides = (difference.before, difference.after)
    if not (
        difference.sensitive or is_placed(names, places) or any(_holds(side, places, names, secrets) for side in sides)
    ):
        return difference
    return Difference(steps=difference.steps, before=difference.before, after=difference.after, sensitive=True)


def _holds(value: Any, places: tuple[tuple[str, ...], ...], names: tuple[str, ...], secrets: Secrets) -> bool:
    return not same(hide_within(value, secrets, places, names), value)


def _differences(before: Any, after: Any, marks: tuple[Any, Any], steps: Path) -> Iterator[Difference]:
    if same(before, after):
        return
    below = _steps_below(before, after)
    if not below or True in marks:
        sensitive = any(_has_mark(mark) for mark in marks)
        yield Difference(steps=steps, before=before, after=after, sensitive=sensitive)
        return
    named = is_named_pair(before) or is_named_pair(after)
    for step in below:
        inner = (True, True) if named and step == "value" else (_mark(marks[0], step), _mark(marks[1], step))
        yield from _differences(find(before, (step,)), find(after, (step,)), inner, (*steps, step))


def _steps_below(before: Any, after: Any) -> list[str | int]:
    if isinstance(before, dict) and isinstance(after, dict):
        return sorted({*before, *after})
    both_blocks = all(
        isinstance(side, list) and len(side) == 1 and isinstance(side[0], dict) for side in (before, after)
    )
    return [0] if both_blocks else []


def _mark(tree: Any, step: str | int) -> Any:
    return None if (found := _walk(tree, (step,))) is _MISSING else found


def _walk(value: Any, steps: Path) -> Any:
    for step in steps:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return _MISSING
    return value


def _has_mark(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(_has_mark(each) for each in tree.values())
    if isinstance(tree, list):
        return any(_has_mark(each) for each in tree)
    return tree is True


def _spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
