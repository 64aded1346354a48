"""States and a plan that OpenTofu 1.12.6 itself encrypted; see `made` in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "corpus" / "opentofu_encrypted.json"
_ALL: dict[str, Any] = json.loads(_FILE.read_text())

FIRST: bytes = json.dumps(_ALL["first"], indent=2).encode() + b"\n"
"""Serial 1 of its lineage."""

SECOND: bytes = json.dumps(_ALL["second"], indent=2).encode() + b"\n"
"""Serial 2 of the same lineage."""

LINEAGE: str = _ALL["first"]["lineage"]
PLAN: bytes = json.dumps(_ALL["plan"]).encode()


def changed(body: bytes, **fields: object) -> bytes:
    """Return a document with other fields; None takes one out."""
    kept = {name: value for name, value in {**json.loads(body), **fields}.items() if value is not None}
    return json.dumps(kept).encode()


def in_clear(serial: int, *names: str, lineage: str = LINEAGE) -> bytes:
    """Return a state of the same lineage that is not encrypted."""
    rows = [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": name,
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [{"schema_version": 0, "attributes": {"id": name}}],
        }
        for name in names
    ]
    head = {"version": 4, "terraform_version": "1.12.6", "serial": serial, "lineage": lineage, "outputs": {}}
    return json.dumps({**head, "resources": rows, "check_results": None}).encode()
