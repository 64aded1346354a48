"""Values as configuration: HCL text that means a value, with known ids as references.

Knows: HCL's layout. It is what `terraform fmt` leaves alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from interlock.address import Address, parse_address
from interlock.hcl.spelling import hcl_text

_INDENT = "  "
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ITEM = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z_][A-Za-z0-9_-]*) *= (?P<value>.*)")
_OPENERS = ("{", "[", "(", "EOT")


def hcl_value(value: Any, names: Mapping[str, str], indent: str = "") -> str:
    """Return the expression that means `value`.

    Args:
        value: JSON.
        names: Id to the expression that gives it, such as `genesyscloud_user.ana.id`.
        indent: Of the line on which it begins.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return names.get(value) or hcl_text(value)
        case list():
            return _listed(value, names, indent)
        case dict():
            return _mapped(value, names, indent)
        case _:
            return json.dumps(value)


def hcl_assignment(name: str, value: Any, names: Mapping[str, str], *, as_blocks: bool = False) -> str:
    """Return the lines that set an attribute, or the nested blocks of that name."""
    if not (as_blocks and isinstance(value, list) and value and all(isinstance(item, dict) for item in value)):
        return f"{name} = {hcl_value(value, names)}"
    return "\n".join(f"{name} {_block_body(item, names)}" for item in value)


def reference_names(by_id: Mapping[str, str]) -> dict[str, str]:
    """Return the expression for each id of an object that has an address in the root module.

    Args:
        by_id: Id to address.
    """
    names = {}
    for identifier, text in by_id.items():
        address = _parsed(text)
        if address is not None and not address.module and address.mode == "managed":
            names[identifier] = f"{text}.id"
    return names


def align(lines: Iterable[str]) -> list[str]:
    """Put the `=` of neighbouring one-line assignments of one depth below each other, as `terraform fmt` does."""
    done: list[str] = []
    group: list[re.Match[str]] = []
    for line in lines:
        found = _ITEM.fullmatch(line)
        if found is not None and not found["value"].rstrip().endswith(_OPENERS):
            if group and group[0]["indent"] != found["indent"]:
                done += _aligned(group)
                group = []
            group.append(found)
            continue
        done += _aligned(group)
        group = []
        done.append(f"{found['indent']}{found['name']} = {found['value']}" if found is not None else line)
    return done + _aligned(group)


def _aligned(group: list[re.Match[str]]) -> list[str]:
    width = max((len(each["name"]) for each in group), default=0)
    return [f"{each['indent']}{each['name'].ljust(width)} = {each['value']}" for each in group]


def _listed(items: list[Any], names: Mapping[str, str], indent: str) -> str:
    if not items:
        return "[]"
    plain = [hcl_value(item, names, indent) for item in items]
    if not any(isinstance(item, list | dict) for item in items) and sum(map(len, plain)) < 80:  # noqa: PLR2004 - one line
        return f"[{', '.join(plain)}]"
    deeper = indent + _INDENT
    lines = "".join(f"{deeper}{hcl_value(item, names, deeper)},\n" for item in items)
    return f"[\n{lines}{indent}]"


def _mapped(fields: Mapping[str, Any], names: Mapping[str, str], indent: str) -> str:
    if not fields:
        return "{}"
    deeper = indent + _INDENT
    lines = [f"{deeper}{_key(name)} = {hcl_value(value, names, deeper)}" for name, value in fields.items()]
    return "{\n" + "\n".join(align(lines)) + f"\n{indent}}}"


def _block_body(fields: Mapping[str, Any], names: Mapping[str, str]) -> str:
    set_fields = {name: value for name, value in fields.items() if value is not None}
    return _mapped(set_fields, names, "")


_KEYWORDS = frozenset({"for", "if", "in", "true", "false", "null"})
"""As keys of an object they are read as something else: `{ for = 1 }` begins a comprehension, `null` is no name."""


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and name not in _KEYWORDS else hcl_text(name)


def _parsed(text: str) -> Address | None:
    try:
        return parse_address(text)
    except ValueError:
        return None
