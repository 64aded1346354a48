"""Does the API show an object as a state has it? Compares what has the same name in both; pure.

The provider spells most fields of the API as attributes in its own way: `calling_party_name` for `callingPartyName`,
`division_id` for the id in `division`. Blocks, lists and settings below others are not compared: their ways differ by
type, and only the provider knows them all. So a difference is a reason to look, and its absence is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.genesys.creating_calls import API, Found, creating_calls

_ID = "_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What a comparison found.

    Attributes:
        same: Attributes that the API shows as the state has them.
        different: Attributes that it shows otherwise.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]


def compare(attributes: Mapping[str, Any], shown: Mapping[str, Any]) -> Likeness:
    """Compare the attributes of an object in a state with the API's answer to a GET of it.

    Args:
        attributes: Of the state; those without a value are passed over.
        shown: The answer.
    """
    pairs = [(name, value == other) for name, value, other in _pairs(attributes, shown)]
    return Likeness(
        same=tuple(name for name, is_same in pairs if is_same),
        different=tuple(name for name, is_same in pairs if not is_same),
    )


def _pairs(attributes: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in sorted(attributes.items()):
        mine = None if name == "id" else _spelled(value)
        other = _spelled(_shown(name, shown))
        if mine is not None and other is not None:
            yield name, mine, other


def _shown(name: str, shown: Mapping[str, Any]) -> Any:
    if name.endswith(_ID) and isinstance(below := shown.get(_camel(name.removesuffix(_ID))), dict):
        return below.get("id")
    return shown.get(_camel(name))


def _spelled(value: Any) -> str | None:
    """Return a plain value as text: the two spell numbers differently. None for what is empty or not plain."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}"
    return value if isinstance(value, str) and value else None


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def find_object_path(resource_type: str, identifier: str) -> str | None:
    """Return where an object can be read, from `/api/v2` on; None for a type whose path is not its id alone."""
    for call in creating_calls():
        if call.type == resource_type and "{" not in call.path and not call.job:
            return API + Found(call=call, above={}).object_path(identifier)
    return f"{API}/flows/{identifier}" if resource_type == "genesyscloud_flow" else None
