"""What plain Terraform does in a cell, written down in few words: for the rule to be tried on in milliseconds.

A record holds the events of the plan that matter, and the objects of three states: the stored one, the one in the plan
file, and the one that the apply left.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from tests.matrix.cells import DESTROY, REFRESH_ONLY, SAVED, Cell
from tests.matrix.scene import Plain, Start, set_fault, write_module

from interlock.state import Document, find_lost, judge_deletions, parse_document
from interlock.terraform.events import parse_event
from interlock.terraform.plan import gather_plan

FOLDER = Path(__file__).with_name("recorded")
_KEPT = frozenset({"planned_change", "resource_drift", "change_summary", "outputs"})
_MODES = {DESTROY: ("-destroy",), REFRESH_ONLY: ("-refresh-only",)}

Record = dict[str, Any]


def record(plain: Plain, cell: Cell, start: Start) -> Record:
    """Plan and apply a cell with plain Terraform."""
    place = plain.folder / "recorded"
    shutil.rmtree(place, ignore_errors=True)
    things, module = place / "shelf", place / "module"
    things.mkdir(parents=True)
    for name, content in start.files.items():
        (things / name).write_text(content)
    write_module(module, cell.operation.after, things, cell.operation)
    (module / ".terraform.lock.hcl").write_bytes(start.locks)
    (module / "terraform.tfstate").write_bytes(start.state)
    plain.must(module, "init", "-input=false")
    stored = json.loads(start.state)
    if cell.operation.way != SAVED:
        set_fault(cell, things, stored)
    planned = plain.must(module, "plan", "-json", "-out=p", *_MODES.get(cell.operation.way, ()), *cell.operation.words)
    if cell.operation.way == SAVED:
        set_fault(cell, things, stored)
    applied = plain.run(module, "apply", "-json", "p")
    with zipfile.ZipFile(io.BytesIO((module / "p").read_bytes())) as archive:
        refreshed = json.loads(archive.read("tfstate"))
    return {
        "events": [_brief(line) for line in planned.out.splitlines() if json.loads(line).get("type") in _KEPT],
        "stored": objects_of(stored),
        "refreshed": objects_of(refreshed),
        "after": objects_of(json.loads((module / "terraform.tfstate").read_bytes())),
        "exit": applied.code,
    }


def _brief(line: str) -> dict[str, Any]:
    """Return an event without what differs from run to run."""
    event: dict[str, Any] = json.loads(line)
    brief = {name: value for name, value in event.items() if not name.startswith("@")}
    if "change" in brief:
        brief["change"] = {name: _resource(value) for name, value in brief["change"].items()}
    return brief


def _resource(value: Any) -> Any:
    return {"addr": value["addr"]} if isinstance(value, dict) and "addr" in value else value


def objects_of(state: dict[str, Any]) -> list[list[Any]]:
    """List what names each object of a state."""
    return [
        [row.get("module", ""), row["mode"], row["type"], row["name"], one.get("index_key"), one.get("deposed", "")]
        for row in state["resources"]
        for one in row["instances"]
    ]


def document_of(objects: list[list[Any]]) -> Document:
    """Return a state with these objects; their attributes do not matter to the rule."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for module, mode, kind, name, key, deposed in objects:
        instance: dict[str, Any] = {"attributes": {}}
        instance |= {} if key is None else {"index_key": key}
        instance |= {"deposed": deposed} if deposed else {}
        rows.setdefault((module, mode, kind, name), []).append(instance)
    resources = [
        {"module": module, "mode": mode, "type": kind, "name": name, "provider": "p", "instances": instances}
        for (module, mode, kind, name), instances in rows.items()
    ]
    head = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
    return parse_document(json.dumps({**head, "resources": resources}).encode())


def judge(record: Record) -> str:
    """Return why the rule speaks against what the apply wrote; empty when it does not."""
    facts = gather_plan(parse_event(json.dumps({"@message": "", **event})) for event in record["events"])
    stored, after = document_of(record["stored"]), document_of(record["after"])
    gone = {str(key) for key in find_lost(stored, document_of(record["refreshed"]))}
    refusal = judge_deletions(stored, after, facts.may_delete | gone)
    return "" if refusal is None else f"{refusal.why}: {', '.join(refusal.addresses)}"


def judge_by_events(record: Record) -> str:
    """Judge as before the plan file was looked into: by the events alone."""
    facts = gather_plan(parse_event(json.dumps({"@message": "", **event})) for event in record["events"])
    refusal = judge_deletions(document_of(record["stored"]), document_of(record["after"]), facts.may_delete)
    return "" if refusal is None else ", ".join(refusal.addresses)


def read_records() -> dict[str, Record]:
    """Return every record by its whole name, such as `terraform-1.11.4 destroy × gone`."""
    found: dict[str, Record] = {}
    for path in sorted(FOLDER.glob("*.json")):
        found |= {f"{path.stem} {name}": one for name, one in json.loads(path.read_text()).items()}
    return found
