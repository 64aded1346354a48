"""What only looks like drift: the same value in another spelling.

Knows: rules, built in (genesys/data/spellings.json) and the user's own (interlock.yaml, `drift.noise`), each with its
reason. The user's come first, so that their reason is the one that is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any

from interlock.genesys.spellings import Equal, Spelling

MAX_JSON_CHARS = 1_000_000  # of one text that is read as JSON to compare it


def find_noise(rules: Iterable[Spelling], *, address: str, kind: str, path: str, before: Any, after: Any) -> str | None:
    """Return why a difference is not drift; None when it is.

    Args:
        rules: In order; the first that fits gives the reason.
        address: Of the object.
        kind: Its resource type.
        path: Of the attribute.
        before: In the state, in clear.
        after: In the organisation, in clear.
    """
    fitting = (rule for rule in rules if _covers(rule, address, kind, path) and are_equal(rule.equal, before, after))
    rule = next(fitting, None)
    return None if rule is None else rule.reason


def are_equal(sense: Equal, before: Any, after: Any) -> bool:
    """Say whether two values are the same in a sense."""
    return _COMPARED[sense](before, after)


def _covers(rule: Spelling, address: str, kind: str, path: str) -> bool:
    pairs = ((kind, rule.type), (path, rule.attribute), (address, rule.address))
    return all(pattern in ("*", text) or fnmatchcase(text, _literal_brackets(pattern)) for text, pattern in pairs)


def _literal_brackets(pattern: str) -> str:
    """Take `[` as itself: it is part of addresses and paths."""
    return pattern.replace("[", "[[]")


def _empty(before: Any, after: Any) -> bool:
    return _emptied(before) == _emptied(after) and _spelled(_emptied(before)) == _spelled(_emptied(after))


def _emptied(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: found for name, each in value.items() if (found := _emptied(each)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_emptied(each) for each in value] or None
    return None if value == "" else value


def _number(before: Any, after: Any) -> bool:
    one, other = _as_number(before), _as_number(after)
    return one is not None and one == other


def _as_number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _json(before: Any, after: Any) -> bool:
    one, other = _as_document(before), _as_document(after)
    return one is not None and other is not None and _spelled(one) == _spelled(other)


def _as_document(value: Any) -> Any:
    """Return the JSON object or list that a text holds; None for anything else."""
    if not isinstance(value, str) or len(value) > MAX_JSON_CHARS or not value.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _texts(change: Callable[[str], object]) -> Callable[[Any, Any], bool]:
    def compare(before: Any, after: Any) -> bool:
        return isinstance(before, str) and isinstance(after, str) and change(before) == change(after)

    return compare


def _order(before: Any, after: Any) -> bool:
    if not (isinstance(before, list) and isinstance(after, list)):
        return False
    return sorted(map(_spelled, before)) == sorted(map(_spelled, after))


def _instant(before: Any, after: Any) -> bool:
    one, other = _as_instant(before), _as_instant(after)
    return one is not None and one == other


def _as_instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


_COMPARED: dict[Equal, Callable[[Any, Any], bool]] = {
    Equal.EMPTY: _empty,
    Equal.NUMBER: _number,
    Equal.JSON: _json,
    Equal.CASE: _texts(str.casefold),
    Equal.TRIM: _texts(str.strip),
    Equal.ORDER: _order,
    Equal.INSTANT: _instant,
    Equal.ANYTHING: lambda _before, _after: True,
}
