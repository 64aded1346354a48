"""What people and programs are shown of a run's plan and outputs: the files that hold it, its order, its spelling.

Pure, and imported by every front end of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from interlock.late_pattern import late

PLAN_TEXT: Final = "plan.txt"
"""The plan as Terraform prints it, in the run's folder; masked."""
PLAN_JSON: Final = "plan.json"
"""The plan for programs; likewise. See `told_plan`."""
OUTPUTS_JSON: Final = "outputs.json"
"""The outputs that the run left; likewise."""
HIDDEN: Final = "(sensitive value)"
"""Stands for a value that may not be shown, as in plans."""

_MAX_DEPTH: Final = 60  # of an output's value that is spelled out
_DIGITS: Final = late(r"(\d+)")


def by_address(address: str) -> list[tuple[int, str]]:
    """Return the key by which addresses are sorted for people: `a[2]` before `a[10]`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(address)]


def spell_outputs(outputs: Mapping[str, object]) -> str:
    """Return outputs as Terraform prints them after an apply: one `name = value` each."""
    return "".join(f"{name} = {spell_value(value)}\n" for name, value in outputs.items())


def spell_value(value: object, indent: str = "") -> str:
    """Return a value as Terraform spells it: maps and lists over several lines, texts in quotes, masks bare."""
    inner = indent + "  "
    match value:
        case str() if value == HIDDEN:
            return "<sensitive>"
        case dict() if len(inner) > 2 * _MAX_DEPTH:
            return "{ … }"
        case dict() if value:
            rows = "".join(f"{inner}{_text(str(key))} = {spell_value(each, inner)}\n" for key, each in value.items())
            return f"{{\n{rows}{indent}}}"
        case list() if value:
            rows = "".join(f"{inner}{spell_value(each, inner)},\n" for each in value)
            return f"[\n{rows}{indent}]"
        case str():
            return _text(value)
        case _:
            return msgspec.json.encode(value).decode()


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
