"""Override files: which top-level blocks a folder's files mean together.

Knows: top-level blocks and how Terraform merges an override into its original. Knows nothing of resources' meaning.
Source: Terraform internal/configs/module.go and module_merge.go, module_merge_body.go; "Override Files" in its docs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import structs

from interlock.amounts import amount
from interlock.hcl.body import Attribute, Block, Body, File, Problem

LABELS: Mapping[str, int] = {
    "terraform": 0,
    "provider": 1,
    "variable": 1,
    "locals": 0,
    "output": 1,
    "module": 1,
    "resource": 2,
    "data": 2,
    "ephemeral": 2,
    "check": 1,
    "moved": 0,
    "import": 0,
    "removed": 0,
}
"""The top-level block types and how many labels each has."""

_UNIQUE = frozenset({"provider", "variable", "output", "module", "resource", "data", "ephemeral"})
"""Types of which two with one name are an error in Terraform, and which an override may change."""

_ALSO_NEW = frozenset({"provider"})
"""Types that an override file may add: the default configuration of a provider."""


def top_blocks(file: File) -> Iterator[Block | Problem]:
    """Yield the top-level blocks of one file; a known type with the wrong number of labels is a problem instead."""
    if file.body.is_json:
        for kind, labels in LABELS.items():
            yield from file.body.blocks(kind, labels=labels)
        return
    for block in file.body.nested:
        labels = LABELS.get(block.type, len(block.labels))
        if len(block.labels) == labels:
            yield block
        else:
            yield Problem(
                span=block.header,
                message=f'a "{block.type}" block has {amount(labels, "label")}, not {len(block.labels)}',
            )


def merge(originals: list[Block], overrides: list[Block]) -> tuple[list[Block], list[Problem]]:
    """Apply overrides to originals, in order.

    Returns:
        The blocks that the folder means, and what Terraform would refuse: two of one name, an override of nothing.
    """
    problems: list[Problem] = []
    merged: dict[object, Block] = {}
    for position, block in enumerate(originals):
        key = _key(block) if block.type in _UNIQUE else position
        if key in merged:
            first = merged[key].header
            problems.append(
                Problem(
                    span=block.header, message=f"{_name(block)} is declared twice, first in {first.path}:{first.line}"
                )
            )
        else:
            merged[key] = block
    for block in overrides:
        problems.extend(_override(merged, block))
    return list(merged.values()), problems


def merge_bodies(base: Body, override: Body) -> Body:
    """Merge as Terraform does: attributes one by one; of each nested block type in the override, all are replaced."""
    replaced = {_nested_type(block) for block in override.nested}
    if override.is_json:
        replaced |= set(override.attributes)
    kept = {name: attribute for name, attribute in base.attributes.items() if name not in replaced or not base.is_json}
    return Body(
        attributes={**kept, **override.attributes},
        nested=(*(block for block in base.nested if _nested_type(block) not in replaced), *override.nested),
        span=base.span,
        is_json=base.is_json or override.is_json,
    )


def _override(merged: dict[object, Block], block: Block) -> Iterator[Problem]:
    match block.type:
        case "terraform":
            _override_terraform(merged, block)
        case "locals":
            _override_locals(merged, block)
        case kind if kind in _UNIQUE and _key(block) in merged:
            original = merged[_key(block)]
            merged[_key(block)] = structs.replace(original, body=_merged_body(original.body, block.body))
        case kind if kind in _UNIQUE and kind not in _ALSO_NEW:
            yield Problem(
                span=block.header, message=f"{_name(block)} overrides nothing: the folder declares no such block"
            )
        case kind:
            merged[_key(block) if kind in _UNIQUE else (kind, block.span)] = block


def _merged_body(base: Body, override: Body) -> Body:
    """Merge a resource, variable or the like; `lifecycle` is merged attribute by attribute."""
    merged = merge_bodies(base, override)
    ours, theirs = base.block("lifecycle"), override.block("lifecycle")
    if ours is None or theirs is None or base.is_json or override.is_json:
        return merged
    lifecycle = structs.replace(ours, body=merge_bodies(ours.body, theirs.body))
    others = tuple(block for block in merged.nested if block.type != "lifecycle")
    return structs.replace(merged, nested=(*others, lifecycle))


def _override_terraform(merged: dict[object, Block], block: Block) -> None:
    """Merge settings: a backend or cloud block replaces either kind; required providers are merged by name."""
    has_backend = bool(
        block.body.blocks("backend", labels=1)
        or block.body.blocks("cloud")
        or block.body.blocks("state_store", labels=1)
    )
    wanted = {name for required in block.body.blocks("required_providers") for name in required.body.attributes}
    for key, original in list(merged.items()):
        if original.type == "terraform":
            gone = {"backend", "cloud", "state_store"} if has_backend else set()
            if "required_version" in block.body.attributes:
                gone.add("required_version")
            merged[key] = structs.replace(original, body=_without(original.body, gone, requirements=wanted))
    merged["terraform", block.span] = block


def _without(body: Body, gone: set[str], *, requirements: set[str]) -> Body:
    """Return a body without some members, and without some entries of its `required_providers`."""
    return structs.replace(
        body,
        attributes={name: attribute for name, attribute in body.attributes.items() if name not in gone},
        nested=tuple(
            structs.replace(block, body=_without(block.body, requirements, requirements=set()))
            if block.type == "required_providers"
            else block
            for block in body.nested
            if block.type not in gone
        ),
    )


def _override_locals(merged: dict[object, Block], block: Block) -> None:
    names: Mapping[str, Attribute] = block.body.attributes
    for key, original in list(merged.items()):
        if original.type == "locals":
            merged[key] = structs.replace(original, body=_without(original.body, set(names), requirements=set()))
    merged["locals", block.span] = block


def _key(block: Block) -> tuple[str, ...]:
    """Return what makes a block unique: its type and labels, and a provider's alias."""
    alias = block.body.get("alias") if block.type == "provider" else None
    value = getattr(alias, "value", "")
    return (block.type, *block.labels, str(value or ""))


def _nested_type(block: Block) -> str:
    return block.labels[0] if block.type == "dynamic" and block.labels else block.type


def _name(block: Block) -> str:
    return " ".join([block.type, *(f'"{label}"' for label in block.labels)])
