"""Explaining long logs and tracing 5,000 resources, against what a user would do instead: grep, and python-hcl2."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator

from benchmarks import Row, compared
from interlock.address import Address
from interlock.dependencies import Budget, Inventory, Root, plan_order, trace
from interlock.dependencies.inventory import Thing
from interlock.diagnosis import diagnose, read_messages
from interlock.hcl import read_module
from interlock.source.tree import MemoryTree

LOG_MB = 100
RESOURCES = 5_000
FILES = 200

_LINE = b"2026-11-24T07:10:00.1234567Z genesyscloud_user.agent: Refreshing state... [id=3e9f1f0a-0000-4d1b-9c53-0000]\n"
_PIECE = _LINE * (1_000_000 // len(_LINE))


def measure() -> list[Row]:
    texts, inventory = _texts(), _inventory()
    read, traced, planned = _graph_times(texts, inventory)
    return [
        compared(
            f"explain a log of {LOG_MB} MB",
            _seconds(lambda: diagnose(read_messages(_pieces()))),
            "s",
            baseline=_seconds(_grep),
            aim="a few times grep for one word",
        ),
        Row(name=f"read {RESOURCES} resources in {FILES} files", value=read, unit="s"),
        Row(name="trace their dependencies, hidden ones too", value=traced, unit="s", aim="a few seconds"),
        Row(name="waves, critical path, calls", value=planned, unit="s"),
    ]


def _pieces() -> Iterator[bytes]:
    for _ in range(LOG_MB):
        yield _PIECE


def _grep() -> None:
    """What people do first: look for lines with the word error, in any case."""
    wanted = re.compile(rb"error", re.IGNORECASE)
    for piece in _pieces():
        for _ in wanted.finditer(piece):
            pass


def _graph_times(texts: dict[str, str], inventory: Inventory) -> tuple[float, float, float]:
    tree = MemoryTree(texts)
    start = time.perf_counter()
    module = read_module(tree, ".")
    read = time.perf_counter()
    graph = trace([Root(module=module, inventory=inventory)], tree)
    traced = time.perf_counter()
    plan_order(graph, Budget())
    return read - start, traced - read, time.perf_counter() - traced


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _texts() -> dict[str, str]:
    """Skills, divisions, users, queues with literal division ids, and flows that name queues."""
    files: dict[str, str] = {"flow.yaml": "targetQueue: Queue 3\n" * 50}
    for number in range(RESOURCES):
        name = f"f{number % FILES}.tf"
        files[name] = files.get(name, "") + _block(number)
    return files


def _block(number: int) -> str:
    group = number // 5 * 5
    match number % 5:
        case 0:
            return f'resource "genesyscloud_routing_skill" "s{number}" {{\n  name = "Skill {number}"\n}}\n'
        case 1:
            return f'resource "genesyscloud_auth_division" "d{number}" {{\n  name = "Division {number}"\n}}\n'
        case 2:
            return (
                f'resource "genesyscloud_user" "u{number}" {{\n  name = "User {number}"\n'
                f"  division_id = genesyscloud_auth_division.d{group + 1}.id\n"
                f"  routing_skills {{\n    skill_id = genesyscloud_routing_skill.s{group}.id\n  }}\n}}\n"
            )
        case 3:
            return (
                f'resource "genesyscloud_routing_queue" "q{number}" {{\n  name = "Queue {number}"\n'
                f'  division_id = "{uuid.UUID(int=group + 1)}"\n'
                f"  members {{\n    user_id = genesyscloud_user.u{group + 2}.id\n  }}\n}}\n"
            )
        case _:
            return (
                f'resource "genesyscloud_flow" "f{number}" {{\n  filepath = "${{path.module}}/flow.yaml"\n'
                f'  substitutions = {{ queue = "Queue {number - 1}" }}\n}}\n'
            )


def _inventory() -> Inventory:
    things = [
        Thing(
            id=str(uuid.UUID(int=number)),
            name=f"Division {number}",
            address=Address(type="genesyscloud_auth_division", name=f"d{number}"),
        )
        for number in range(1, RESOURCES, 5)
    ]
    return Inventory(by_id={thing.id: thing for thing in things})
