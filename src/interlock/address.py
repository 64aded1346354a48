"""Resource addresses: `module.m["k"].type.name[0]`, parsed and ordered.

Source: Terraform's address grammar (internal/addrs/parse_target.go, instance_key.go).
"""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct

from interlock.late_pattern import late

InstanceKey: TypeAlias = int | str | None
"""The key of one instance: None without `count` and `for_each`, an int with `count`, a string with `for_each`."""

_MAX_LENGTH = 4096  # longer than any address Terraform accepts in practice; bounds the work on hostile input
_NAME = r"[^\W\d][\w-]*"
_KEY = r'\[(?:(\d+)|"((?:[^"\\]|\\.)*)")\]'
_MODULE = late(rf"module\.({_NAME})(?:{_KEY})?\.")
_RESOURCE = late(rf"(data\.)?({_NAME})\.({_NAME})(?:{_KEY})?\Z")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class Address(Struct, frozen=True, kw_only=True):
    """One resource instance, or the whole resource when `key` is None.

    Attributes:
        module: The module instance path as Terraform spells it, `module.a.module.b["k"]`; empty for the root.
        mode: `managed` or `data`.
        type: Resource type, such as `genesyscloud_routing_queue`.
        name: The name in the configuration.
        key: The instance key.
    """

    module: str = ""
    mode: str = "managed"
    type: str
    name: str
    key: InstanceKey = None

    def __str__(self) -> str:
        """Spell the address as Terraform does."""
        prefix = f"{self.module}." if self.module else ""
        data = "data." if self.mode == "data" else ""
        return f"{prefix}{data}{self.type}.{self.name}{render_key(self.key)}"

    def config(self) -> str:
        """Return the address in the configuration: without any instance key, in modules too."""
        return str(Address(module=_without_keys(self.module), mode=self.mode, type=self.type, name=self.name))

    def order(self) -> tuple[object, ...]:
        """Return the sort key that Terraform uses: module, mode, type, name, then none, ints, strings."""
        rank = 0 if self.key is None else 1 if isinstance(self.key, int) else 2
        number = self.key if isinstance(self.key, int) else 0
        text = self.key if isinstance(self.key, str) else ""
        return (self.module, self.mode, self.type, self.name, rank, number, text)


def render_key(key: InstanceKey) -> str:
    """Spell an instance key with its brackets; empty for None."""
    if key is None:
        return ""
    if isinstance(key, int):
        return f"[{key}]"
    text = key.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'["{text}"]'


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        ValueError: The text is not a resource address, or is longer than 4096 characters.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"address of {len(text)} characters")
    position = 0
    while match := _MODULE.match(text, position):
        position = match.end()
    resource = _RESOURCE.match(text, position)
    if resource is None:
        raise ValueError(f"not a resource address: {text[:200]!r}")
    data, kind, name, number, quoted = resource.groups()
    if kind == "module" and not data:
        raise ValueError(f"the address of a module, not of a resource: {text[:200]!r}")
    return Address(
        module=text[:position].rstrip("."),
        mode="data" if data else "managed",
        type=kind,
        name=name,
        key=_key(number, quoted),
    )


def _key(number: str | None, quoted: str | None) -> InstanceKey:
    if number is not None:
        return int(number)
    if quoted is not None:
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), quoted, flags=re.DOTALL)
    return None


def _without_keys(module: str) -> str:
    return re.sub(_KEY, "", module)
