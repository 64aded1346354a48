"""What Terraform is told of a provider's types, in one line for each attribute and block: names, kinds and flags.

Facts only: no description, no validation. `tests/corpus/provider_schema.json` holds them of the real provider for the
types that the stand-in has; `tests/real_provider/test_schema.py` renews and checks it where the provider is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus" / "provider_schema.json"

Lines = dict[str, str]


def kept_facts() -> dict[str, Lines]:
    """Return the stored facts: for each type (data sources with `data.`), a line for each name."""
    stored: dict[str, Lines] = json.loads(CORPUS.read_text())["types"]
    return stored


def of_document(document: Mapping[str, Any], types: list[str]) -> dict[str, Lines]:
    """Return the facts of `terraform providers schema -json` for these types."""
    (schemas,) = document["provider_schemas"].values()
    found = {
        **schemas["resource_schemas"],
        **{f"data.{name}": each for name, each in schemas["data_source_schemas"].items()},
    }
    return {name: dict(sorted(_document_lines(found[name]["block"], "").items())) for name in sorted(types)}


def of_message(block: Any) -> Lines:
    """Return the facts of a schema as a provider of ours sends it (a protobuf block)."""
    return dict(sorted(_message_lines(block, "").items()))


def _document_lines(block: Mapping[str, Any], prefix: str) -> Lines:
    lines = {
        prefix + name: _attribute(each["type"], each.get("required"), each.get("optional"), each.get("computed"))
        for name, each in block.get("attributes", {}).items()
    }
    for name, each in block.get("block_types", {}).items():
        lines[prefix + name] = _blocks(each["nesting_mode"], each.get("min_items", 0), each.get("max_items", 0))
        lines.update(_document_lines(each["block"], f"{prefix}{name}."))
    return lines


def _message_lines(block: Any, prefix: str) -> Lines:
    lines = {
        prefix + each.name: _attribute(json.loads(each.type), each.required, each.optional, each.computed)
        for each in block.attributes
    }
    for each in block.block_types:
        mode = {2: "list", 3: "set"}[each.nesting]
        lines[prefix + each.type_name] = _blocks(mode, each.min_items, each.max_items)
        lines.update(_message_lines(each.block, f"{prefix}{each.type_name}."))
    return lines


def _attribute(kind: Any, required: Any, optional: Any, computed: Any) -> str:
    flags = [
        word for word, is_set in (("required", required), ("optional", optional), ("computed", computed)) if is_set
    ]
    return f"{json.dumps(kind, sort_keys=True)} {' '.join(flags)}"


def _blocks(mode: str, least: int, most: int) -> str:
    return f"blocks: {mode} of {least} to {most or 'any'}"
