"""What a flow's YAML says of itself: its name. The configuration holds only the path of that file.

Source: Genesys Cloud Architect's YAML: one key, the kind of flow, and below it the settings, `name` among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,60}:\s*(?:#.*)?$")
_NAME: Final = re.compile(r"(?P<indent>[ \t]+)[\"']?name[\"']?\s*:\s*(?P<value>.*?)\s*$")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([\w.-]{1,100})\s*\}\}")
MAX_LINES: Final = 2000  # in which the name must stand: it is the first setting in every export


def name_of_flow(text: str, substitutions: Mapping[str, str] | None = None) -> str:
    """Return the name that a flow's YAML gives the flow.

    Args:
        text: The file.
        substitutions: Values for the `{{placeholders}}` in it, as far as they are known.

    Returns:
        The name; empty when there is none, or when it has a placeholder without a value.
    """
    kind, indent = "", ""
    for line in text.removeprefix("\ufeff").splitlines()[:MAX_LINES]:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            if kind:
                return ""
            kind = line if _KIND.match(line) else ""
            continue
        indent = indent or line[: len(line) - len(line.lstrip())]
        found = _NAME.match(line)
        if kind and found is not None and found["indent"] == indent:
            return _filled(_unquoted(found["value"]), substitutions or {})
    return ""


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value.partition(" #")[0].strip()


def _filled(name: str, substitutions: Mapping[str, str]) -> str:
    filled = _PLACEHOLDER.sub(lambda found: substitutions.get(found[1], found[0]), name)
    return "" if _PLACEHOLDER.search(filled) else filled
