"""Why something failed is told in plain words: not in those of Python, its libraries or the operating system."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import interlock
from interlock.errors import reason_of

ROOT = Path(interlock.__file__).parent
TOLD_BY = {"OSError", "PermissionError", "FileNotFoundError", "MsgspecError", "ValidationError", "JSONDecodeError"}
"""Exceptions whose own text has numbers of errors, paths in quotes, or types of a library in it."""


class Form(msgspec.Struct):
    count: int


def caught(act: Callable[[], Any]) -> Exception:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whichever it is
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: Path("/no/such/file").read_text(), "no such file or directory"),
        (lambda: json.loads("{"), "it is not JSON (line 1, column 2)"),
        (lambda: msgspec.json.decode(b'{"count": "x"}', type=Form), "it has not the expected form at count"),
        (lambda: msgspec.json.decode(b"{}", type=Form), "it has not the expected form"),
        (lambda: msgspec.json.decode(b"{", type=Form), "it is not JSON"),
        (b"\xff".decode, "it is not text in UTF-8"),
        (lambda: json.loads("{}")["serial"], "'serial' is missing"),
    ],
)
def test_a_reason_is_plain(act: Callable[[], Any], told: str) -> None:
    assert reason_of(caught(act)) == told


def test_nobody_prints_the_text_of_such_an_exception_itself() -> None:
    assert [place for path in ROOT.rglob("*.py") for place in _leaks(path)] == []


def _leaks(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    if name.startswith(("simulator/", "testing/", "store/aws")):  # botocore's exceptions name no number and no path
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler) and node.name and _names(node.type) & TOLD_BY:
            yield from (f"{name}:{line}" for line in _uses(node))


def _names(node: ast.expr | None) -> set[str]:
    if isinstance(node, ast.Tuple):
        return set().union(*map(_names, node.elts))
    return {node.attr} if isinstance(node, ast.Attribute) else {node.id} if isinstance(node, ast.Name) else set()


def _uses(handler: ast.ExceptHandler) -> Iterator[int]:
    asked = {id(part) for node in ast.walk(handler) if isinstance(node, ast.Compare) for part in ast.walk(node)}
    for node in ast.walk(handler):
        if id(node) in asked:  # looked at, and not told
            continue
        value = node.value if isinstance(node, ast.FormattedValue) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
            value = node.args[0]
        if isinstance(value, ast.Name) and value.id == handler.name:
            yield handler.lineno
