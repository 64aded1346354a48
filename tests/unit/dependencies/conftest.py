"""Configurations in memory, traced with a state."""

import json
from collections.abc import Callable, Mapping

import pytest

from interlock.dependencies import EMPTY, Graph, Inventory, Root, from_state, trace
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree
from interlock.state import parse_document

Traced = Callable[..., Graph]
Stated = Callable[..., Inventory]


def inventory_of(*objects: tuple[str, str, str]) -> Inventory:
    """Make an inventory of (address, id, name); the address may have an instance key."""
    rows = []
    for address, ident, name in objects:
        head, _, key = address.partition("[")
        kind, label = head.split(".")
        instance: dict[str, object] = {"schema_version": 0, "attributes": {"id": ident, "name": name}}
        if key:
            instance["index_key"] = json.loads(key.rstrip("]"))
        rows.append({"mode": "managed", "type": kind, "name": label, "provider": "provider.p", "instances": [instance]})
    document = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "resources": rows}
    return from_state(parse_document(json.dumps(document).encode()))


@pytest.fixture
def stated() -> Stated:
    return inventory_of


@pytest.fixture
def traced() -> Traced:
    def trace_texts(
        texts: Mapping[str, str], *, inventory: Inventory = EMPTY, folders: tuple[str, ...] = (".",)
    ) -> Graph:
        tree = MemoryTree(texts)
        roots = [Root(module=read_module(tree, folder), inventory=inventory) for folder in folders]
        return trace(roots, tree)

    return trace_texts
