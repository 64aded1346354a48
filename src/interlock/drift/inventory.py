"""What a state holds, as far as drift needs it: ids by type, who depends on whom, flows.

Knows: state documents, of which only ids are decoded, and the state as a plan's JSON repeats it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from interlock.state import Document

_FLOW = "genesyscloud_flow"


class _Attributes(msgspec.Struct, gc=False):
    id: str = ""
    name: str | None = ""


class _Instance(msgspec.Struct, gc=False):
    attributes: _Attributes | None = None
    dependencies: list[str] = []


_INSTANCE = msgspec.json.Decoder(_Instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """One managed instance."""

    address: str
    type: str
    id: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one state holds.

    Attributes:
        by_id: Id to instance; of two with one id the first.
        dependents: Address in the configuration to the number of instances that depend on it.
    """

    by_id: Mapping[str, Managed] = field(default_factory=dict)
    dependents: Mapping[str, int] = field(default_factory=dict)

    @property
    def flows(self) -> tuple[Managed, ...]:
        """The flows."""
        return tuple(each for each in self.by_id.values() if each.type == _FLOW)

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that is taken."""
        return frozenset(each.address for each in self.by_id.values())


def read_inventory(document: Document) -> Inventory:
    """Read a state. Instances that cannot be read are passed over: whether a state is whole is judged elsewhere."""
    by_id: dict[str, Managed] = {}
    dependents: Counter[str] = Counter()
    for key, raw in document.objects().items():
        if key.mode != "managed" or key.deposed:
            continue
        try:
            instance = _INSTANCE.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        dependents.update(set(instance.dependencies))
        found = instance.attributes
        if found is not None and found.id:
            managed = Managed(address=str(key.address()), type=key.type, id=found.id, name=found.name or "")
            by_id.setdefault(found.id, managed)
    return Inventory(by_id=by_id, dependents=dependents)


def inventory_of(prior: Mapping[str, Any]) -> Inventory:
    """Read the `prior_state` of a plan's JSON: the state as refreshed. Raises what malformed parts raise."""
    by_id: dict[str, Managed] = {}
    dependents: Counter[str] = Counter()
    for resource in _resources((prior.get("values") or {}).get("root_module") or {}):
        if resource.get("mode") != "managed":
            continue
        dependents.update(set(resource.get("depends_on") or ()))
        values = resource.get("values") or {}
        if isinstance(values.get("id"), str):
            name = values.get("name")
            managed = Managed(
                address=str(resource["address"]),
                type=str(resource.get("type", "")),
                id=values["id"],
                name=name if isinstance(name, str) else "",
            )
            by_id.setdefault(managed.id, managed)
    return Inventory(by_id=by_id, dependents=dependents)


def _resources(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [module]
    while waiting:
        current = waiting.pop()
        yield from current.get("resources") or ()
        waiting.extend(current.get("child_modules") or ())
