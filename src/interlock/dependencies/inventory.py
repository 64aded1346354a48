"""The objects that exist: whose id is it, who has that name. From a state document or from a plan's prior state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from interlock.address import Address, InstanceKey
from interlock.errors import PROGRAM, TerraformFailed, UsageError
from interlock.state import Document, ObjectKey
from interlock.terraform.plan import ShownPlan

MAX_ID_CHARS: Final = 512
_MAX_DEPTH: Final = 100  # modules in modules


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object that a state holds."""

    id: str
    name: str
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one state holds. `by_id` has managed objects before data sources of the same id."""

    by_id: Mapping[str, Thing] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many instances each configuration address has."""


EMPTY: Final = Inventory()


class _Attributes(msgspec.Struct):
    id: str | int | float | None = None
    name: str | int | float | bool | list[object] | dict[str, object] | None = None


class _Instance(msgspec.Struct):
    attributes: _Attributes | None = None


_INSTANCE: Final = msgspec.json.Decoder(_Instance)


def from_state(document: Document) -> Inventory:
    """Return what a state document holds.

    Raises:
        StateInvalid: An instance cannot be read.
    """
    return _inventory(_things_of_state(document))


def from_plan_json(data: bytes | str) -> Inventory:
    """Return what the `prior_state` of `terraform show -json PLAN` holds, or the `values` of `terraform show -json`.

    Raises:
        UsageError: It is no such document.
    """
    try:
        shown = ShownPlan(data)
        with shown.reading():
            if not shown.text("format_version"):
                raise _unreadable("it has no format_version")
            prior = shown.value("prior_state")
            values = prior.get("values") if isinstance(prior, dict) else shown.value("values")
    except TerraformFailed as error:
        raise _unreadable(error.why) from error
    root = values.get("root_module") if isinstance(values, dict) else None
    return _inventory(_things_of_module(root, 0))


def _unreadable(why: str) -> UsageError:
    return UsageError("the plan's JSON cannot be read", why=why, fix=f"{PROGRAM} show -json PLANFILE > plan.json")


def _inventory(things: Iterator[Thing]) -> Inventory:
    by_id: dict[str, Thing] = {}
    counts: dict[str, int] = {}
    for thing in things:
        config = thing.address.config()
        counts[config] = counts.get(config, 0) + 1
        known = by_id.get(thing.id)
        if thing.id and (known is None or (known.address.mode == "data" and thing.address.mode != "data")):
            by_id[thing.id] = thing
    return Inventory(by_id=by_id, counts=counts)


def _things_of_state(document: Document) -> Iterator[Thing]:
    for key, raw in document.objects().items():
        if not key.deposed:
            yield _thing(key, raw)


def _thing(key: ObjectKey, raw: msgspec.Raw) -> Thing:
    try:
        attributes = _INSTANCE.decode(raw).attributes or _Attributes()
    except (msgspec.MsgspecError, RecursionError):
        attributes = _Attributes()
    return Thing(id=_text(attributes.id), name=_text(attributes.name), address=key.address())


def _things_of_module(module: Any, depth: int) -> Iterator[Thing]:
    if not isinstance(module, dict) or depth > _MAX_DEPTH:
        return
    path = _text(module.get("address"))
    for row in module.get("resources") or ():
        if isinstance(row, dict) and row.get("type") and row.get("name"):
            values = row.get("values")
            given = values if isinstance(values, dict) else {}
            yield Thing(id=_text(given.get("id")), name=_text(given.get("name")), address=_address(row, path))
    for child in module.get("child_modules") or ():
        yield from _things_of_module(child, depth + 1)


def _address(row: Mapping[str, Any], path: str) -> Address:
    index = row.get("index")
    key: InstanceKey = index if isinstance(index, int | str) and not isinstance(index, bool) else None
    mode = "data" if row.get("mode") == "data" else "managed"
    return Address(module=path, mode=mode, type=_text(row["type"]), name=_text(row["name"]), key=key)


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_ID_CHARS else ""
