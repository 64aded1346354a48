"""Verify, diff and merge of a 100 MB state, in time and memory, against reading it with the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import Row, compared
from interlock.state import (
    Document,
    Writes,
    content_digest,
    diff_documents,
    find_deletions,
    merge_documents,
    parse_document,
    render_document,
    verify_state,
)

QUEUES = 3000
QUEUES_IN_A_MB = 30
INSTANCES = 14  # of each; a real state has few large and many small resources
REPEATS = 3  # the best of them counts: other processes of the machine only ever make it slower
_MARK = b'"acw_timeout_ms": 300000'


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{part}.tfstate" for part in ("base", "trunk", "ours")]
        size = _write(paths)
        rows = [Row(name="size of the state", value=size / 1e6, unit="MB")]
        # Every figure comes from a process of its own, so that none inherits the memory of another.
        baseline = {count: _in_child("read plainly", paths[:count]) for count in (1, 2, 3)}
        for operation, count in (("verify", 1), ("verify thoroughly", 1), ("diff", 2), ("merge", 3)):
            result = _in_child(operation, paths[:count])
            rows.append(
                compared(operation, result["time_s"], "s", baseline=baseline[count]["time_s"], aim="about 0.5 s")
            )
            memory = (result["peak"] - result["idle"]) / (size * count)
            plain = (baseline[count]["peak"] - baseline[count]["idle"]) / (size * count)
            rows.append(
                compared(
                    f"{operation}: peak memory", memory, "x size of its documents", baseline=plain, aim="2.5 at most"
                )
            )
        for operation in ("render", "content digest", "find deletions"):
            count = 2 if operation == "find deletions" else 1
            rows.append(Row(name=operation, value=_in_child(operation, paths[:count])["time_s"], unit="s"))
        return rows


def _in_child(operation: str, paths: list[Path]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.state", operation, *map(str, paths)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    result: dict[str, float] = json.loads(output)
    return result


def _child(operation: str, names: list[str]) -> None:
    idle = _peak()
    work = _OPERATIONS[operation]
    best = float("inf")
    for _ in range(REPEATS):
        bodies = [Path(name).read_bytes() for name in names]
        start = time.perf_counter()
        work(bodies)
        best = min(best, time.perf_counter() - start)
        del bodies
    print(json.dumps({"time_s": best, "idle": idle, "peak": _peak()}))


def _peak() -> int:
    """Return this process's peak of resident memory. Not from getrusage, which would count the parent's as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell the peak of resident memory")


def _diff(bodies: list[bytes]) -> None:
    first, second = map(parse_document, bodies)
    assert len(diff_documents(first, second).objects) == 1


def _merge(bodies: list[bytes]) -> None:
    base, trunk, ours = map(parse_document, bodies)
    address = diff_documents(base, ours).objects[0].address
    merged = merge_documents(base=base, trunk=trunk, ours=ours, writes=Writes(planned=frozenset({address})))
    assert getattr(merged, "hard", None) == {address}


def _deletions(bodies: list[bytes]) -> None:
    first, second = map(parse_document, bodies)
    assert not find_deletions(first, second)


def _on_document(work: Callable[[Document], object]) -> Callable[[list[bytes]], object]:
    return lambda bodies: work(parse_document(bodies[0]))


_OPERATIONS: dict[str, Callable[[list[bytes]], object]] = {
    "read plainly": lambda bodies: [json.loads(body) for body in bodies],
    "verify": lambda bodies: verify_state(bodies[0]),
    "verify thoroughly": lambda bodies: verify_state(bodies[0], thorough=True),
    "diff": _diff,
    "merge": _merge,
    "find deletions": _deletions,
    "render": _on_document(lambda document: render_document(document.with_serial(document.serial + 1))),
    "content digest": _on_document(content_digest),
}


def _write(paths: list[Path]) -> int:
    """Write a state, and two that each change one instance of it; return the size of one."""
    body = state_of_size(QUEUES // QUEUES_IN_A_MB)
    first, last = body.index(_MARK), body.rindex(_MARK)
    changed = _MARK.replace(b"300000", b"300001")
    paths[0].write_bytes(body)
    paths[1].write_bytes(body[:first] + changed + body[first + len(_MARK) :])
    paths[2].write_bytes(body[:last] + changed + body[last + len(_MARK) :])
    return len(body)


def state_of_size(megabytes: int) -> bytes:
    """Return a state of about so many megabytes, as Terraform spells it."""
    return (json.dumps(_state(Random(1), megabytes * QUEUES_IN_A_MB), indent=2) + "\n").encode()


def _state(chance: Random, queues: int) -> dict[str, Any]:
    resources = [
        {
            "mode": "managed",
            "type": "genesyscloud_routing_queue",
            "name": f"queue_{number:05d}",
            "provider": 'provider["example.test/mypurecloud/genesyscloud"]',
            "instances": [_instance(chance, place) for place in range(INSTANCES)],
        }
        for number in range(queues)
    ]
    head = {"version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "3f0c", "outputs": {}}
    return {**head, "resources": resources, "check_results": None}


def _instance(chance: Random, place: int) -> dict[str, Any]:
    return {
        "index_key": f"site-{place}",
        "schema_version": 1,
        "attributes": {
            "id": f"{chance.getrandbits(128):032x}",
            "name": f"Queue {place}",
            "description": "x" * 200,
            "members": [{"user_id": f"{chance.getrandbits(128):032x}", "ring_num": 1} for _ in range(14)],
            "acw_timeout_ms": 300000,
            "alerting_timeout_sec": 8.5,
        },
        "sensitive_attributes": [],
        "private": "bnVsbA==",
        "dependencies": ["genesyscloud_auth_division.main", "genesyscloud_user.agents"],
    }


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2:])
