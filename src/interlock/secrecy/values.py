"""Which values of a structure are secret for their place: by a schema, by a name on the way, by a name beside them.

The same rule for states, plans and drift. Pure. Knows nothing of the marks that each of them has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from interlock.late_pattern import late
from interlock.secrecy.secrets import MASK, Secrets, sounds_secret

Names: TypeAlias = tuple[str, ...]
"""The names on the way to a value, without indexes."""

_UUID: Final = late(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def is_placed(names: Names, places: Iterable[Names]) -> bool:
    """Whether the value at `names` is at or below a secret place, or a name on the way sounds secret."""
    return any(names[: len(place)] == place for place in places) or any(map(sounds_secret, names))


def is_named_pair(value: object) -> bool:
    """Whether a map says in words that its `value` is secret: `{"name": "Authorization", "value": …}`."""
    if not isinstance(value, dict) or "value" not in value:
        return False
    name = value.get("name", value.get("key"))
    return isinstance(name, str) and sounds_secret(name)


def placed_texts(value: object, places: Iterable[Names], names: Names = ()) -> Iterator[str]:
    """Yield the texts and numbers below a value that are secret for their place, to be found in other places too.

    Left out is a UUID under a name that sounds secret: `credentials` of Genesys Cloud lists ids.
    """
    known = tuple(places)
    waiting = [(value, names, is_placed(names, known))]
    while waiting:
        part, way, is_secret = waiting.pop()
        if isinstance(part, dict):
            for name, each in part.items():
                here = (*way, name) if known else ()
                waiting.append((each, here, is_secret or sounds_secret(name) or here in known))
            if is_named_pair(part):
                yield from all_texts(part.get("value"))
        elif isinstance(part, list):
            waiting.extend((each, way, is_secret) for each in part)
        elif is_secret:
            yield from (text for text in all_texts(part) if not _UUID.match(text))


def all_texts(value: object) -> Iterator[str]:
    """Yield every text and number of a value; a flag and null tell nothing."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif part is not None and not isinstance(part, bool):
            yield str(part)


def hide_within(value: object, secrets: Secrets, places: Iterable[Names] = (), names: Names = ()) -> object:
    """Return a value with everything that may not be shown replaced by `MASK`; null stays null.

    Args:
        value: As JSON has it.
        secrets: What is hidden wherever it occurs.
        places: Where the schema of its resource type has secrets.
        names: Its own place.
    """
    known = tuple(places)
    if value is None:
        return None
    if names and is_placed(names, known):
        return MASK
    if isinstance(value, dict):
        pair = is_named_pair(value)
        return {
            secrets.hide_short(name): MASK
            if pair and name == "value" and each is not None
            else hide_within(each, secrets, known, (*names, name))
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [hide_within(each, secrets, known, names) for each in value]
    if isinstance(value, bool):
        return value
    text = str(value)
    hidden = secrets.hide(text)
    return value if hidden == text else hidden
