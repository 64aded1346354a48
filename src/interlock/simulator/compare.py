"""Is the organisation what the Terraform state says? Pure; the last page of the demo and many tests ask it.

Compares the attributes that identify an object and its references; not every setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .answer import Json

View: TypeAlias = Callable[[Json], dict[str, Any]]


def differences(snapshot: Mapping[str, Sequence[Json]], state: Json) -> list[str]:
    """Return one line for each difference between organisation and state; empty when they are equal.

    Args:
        snapshot: As `Simulation.snapshot` returns it.
        state: A Terraform state document, format version 4, decoded.
    """
    objects = {(kind, item["id"]): item for kind, items in snapshot.items() for item in items}
    lines: list[str] = []
    seen: set[tuple[str, str]] = set()
    for address, kind, view, attributes in _instances(state):
        key = (kind, str(attributes.get("id")))
        seen.add(key)
        if key not in objects:
            lines.append(f"{address}: in the state, not in the organisation ({key[1]})")
        else:
            lines += [f"{address}: {line}" for line in _unequal(attributes, view(objects[key]))]
    lines += [
        f"{kind} {objects[kind, ident].get('name')}: in the organisation, not in the state ({ident})"
        for kind, ident in objects
        if (kind, ident) not in seen and not _is_inborn(objects[kind, ident])
    ]
    return lines


def _instances(state: Json) -> Iterator[tuple[str, str, View, Json]]:
    for resource in state.get("resources", []):
        known = _VIEWS.get(resource["type"])
        if resource["mode"] != "managed" or known is None:
            continue
        for instance in resource["instances"]:
            key = instance.get("index_key")
            suffix = "" if key is None else f"[{key}]" if isinstance(key, int) else f'["{key}"]'
            yield f"{resource['type']}.{resource['name']}{suffix}", *known, instance["attributes"]


def _unequal(attributes: Json, expected: dict[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        held = attributes.get(name)
        if _plain(held) != _plain(value):
            yield f"{name} is {held!r} in the state, {value!r} in the organisation"


def _plain(value: Any) -> Any:
    """Spell absent and empty the same, and sets in one order."""
    if isinstance(value, list):
        return sorted(map(str, value)) or None
    return value or None


def _is_inborn(item: Json) -> bool:
    return item.get("homeDivision") is True


def _named(item: Json) -> dict[str, Any]:
    return {"name": item["name"]}


def _described(item: Json) -> dict[str, Any]:
    return {"name": item["name"], "description": item["description"]}


def _divided(item: Json) -> dict[str, Any]:
    return {**_described(item), "division_id": item["division"]["id"]}


def _queue(item: Json) -> dict[str, Any]:
    members = [{"ring_num": ring, "user_id": user} for user, ring in item["members"].items()]
    return {**_divided(item), "wrapup_codes": item["wrapupCodes"], "members": members}


def _user(item: Json) -> dict[str, Any]:
    skills = [{"proficiency": level, "skill_id": skill} for skill, level in item["skills"].items()]
    return {
        "name": item["name"],
        "email": item["email"],
        "division_id": item["division"]["id"],
        "routing_skills": skills,
    }


def _group(item: Json) -> dict[str, Any]:
    return {**_described(item), "member_ids": item["individuals"]}


_VIEWS: dict[str, tuple[str, View]] = {
    "genesyscloud_auth_division": ("division", _described),
    "genesyscloud_routing_skill": ("skill", _named),
    "genesyscloud_routing_language": ("language", _named),
    "genesyscloud_routing_wrapupcode": ("wrapupcode", _divided),
    "genesyscloud_routing_queue": ("queue", _queue),
    "genesyscloud_user": ("user", _user),
    "genesyscloud_group": ("group", _group),
}
