"""Files of text are read and written as UTF-8 wherever we run, and not as the locale of the person spells text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import interlock

SOURCE = Path(interlock.__file__).parent
PLACE = {"read_text": 0, "write_text": 1}
"""Which argument by position the encoding is."""
OPENERS = {"open", "fdopen"}
NOT_OURS = {"os", "urllib", "wave", "tokenize"}
ARGUMENTS = "given_values.py"
"""Writes what stood on the command line, whose bytes were decoded by the locale: so it gives the same bytes back."""


def unspecified(tree: ast.AST) -> Iterator[int]:
    """Return the lines on which a file of text is opened and nobody says in which encoding."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or any(each.arg == "encoding" for each in call.keywords):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in PLACE and isinstance(call.func, ast.Attribute) and len(call.args) <= PLACE[name]:
            yield call.lineno
        if name in OPENERS and _is_text(call):
            yield call.lineno


def _is_text(call: ast.Call) -> bool:
    """Say whether a call opens a file, and as text: its mode has no `b`, or is left out beside a text's argument."""
    modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if modes and set(modes[-1]) <= set("rwaxbt+"):
        return "b" not in modes[-1]
    return any(each.arg in {"errors", "newline"} for each in call.keywords)


def test_every_file_of_text_is_opened_in_a_named_encoding() -> None:
    files = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != ARGUMENTS]
    found = [
        f"{path.relative_to(SOURCE)}:{line}" for path in files for line in unspecified(ast.parse(path.read_bytes()))
    ]
    assert not found
    assert [*unspecified(ast.parse('p.read_text(); p.open("a"); p.open(errors="x"); p.open("rb"); os.open(p, 1)'))] == [
        *(1, 1, 1)
    ]
