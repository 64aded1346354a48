"""Every command that a message tells a person to type is one that the command line understands.

The strings are read from the source by their syntax tree, with a sample in place of each value, and each
`interlock …` in them goes through the real argument parser, without being run.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.exceptions import Exit, TyperException

from interlock.cli.main import COMMANDS, build
from interlock.errors import THIS_STATE, UsageError, command

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "interlock"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SAMPLE = "a sample; it's not plain"  # what stands for a value that only the running program knows
MANY = 64  # alternatives of one string that are looked at
HINTS = frozenset({"fix", "advice", "how_to", "next"})  # names of what a person is told to do next
_NAMES = 4  # words of a command that is only named: `interlock lock explain`
SPEAKING = ("cli", "ci", "lint")  # rooms whose other texts name commands without meaning them to be typed so
# Generated files, which have tests of their own; and the word for a person's work in Terraform's lock.
NO_HINTS = ("ci/rendering", "ci/comment.py", "ci/document.py")
NO_COMMANDS = frozenset({"interlock lock acquire"})

# What a person must choose themselves. A state, a folder, a run, a lock or a version is known when the hint is made.
CHOSEN = frozenset({"FILE", "FOLDER", "REGION"})
CHOSEN_AFTER = {"NAME": {"--bucket", "--person", "--table"}, "TEXT": {"--reason"}}
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+\Z")
_COMMAND = re.compile(r"(?<![\w/=-])interlock (?=-?-?[a-z])")
# Where a command ends in a sentence: a wide gap, punctuation with what follows it, a pipe. Never within quotes.
_END = re.compile(r"    |[;:,.)`\"]+(?=\s|\Z|\)|`)|[)`]|\s[|>#]|\s&&|\n|…|\s\(|\Z")
_QUOTED = re.compile(r"'(?:[^']|'\"'\"')*'")


def _texts(node: ast.expr) -> list[str]:
    """Return what an expression may spell, with `SAMPLE` for what is known only later."""
    match node:
        case ast.Constant(value=str() as text):
            found = [text]
        case ast.JoinedStr(values=parts):
            found = _joined([_texts(part) for part in parts])
        case ast.FormattedValue(value=value) | ast.Call(func=ast.Attribute(value=value, attr="rstrip" | "strip")):
            found = _texts(value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = _joined([_texts(left), _texts(right)])
        case ast.IfExp(body=body, orelse=orelse):
            found = [*_texts(body), *_texts(orelse)]
        case ast.Name(id="THIS_STATE"):
            found = [THIS_STATE]
        case ast.Call(func=ast.Name(id="command"), args=words):
            found = [command(*(_texts(word)[0] for word in words if not isinstance(word, ast.Starred)))]
        case _:
            found = [SAMPLE]
    return found


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(words) for words in itertools.islice(itertools.product(*parts), MANY)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.BinOp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_command(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command"


def _hinting(nodes: list[ast.AST]) -> set[int]:
    """Return the nodes that belong to a hint: an argument or a variable of such a name."""
    values: list[ast.expr] = []
    for node in nodes:
        match node:
            case ast.keyword(arg=str() as name, value=value) if name in HINTS:
                values.append(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in HINTS:
                values.append(value)
    return {id(part) for value in values for part in ast.walk(value)}


def _written(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Yield every text of a module but its docstrings and help pages: its line, itself, and whether it is a hint."""
    skipped: set[int] = set()
    nodes = list(ast.walk(tree))
    hints = _hinting(nodes)
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in {"help", "description"}:
            skipped.update(id(part) for part in ast.walk(node.value))
    for node in nodes:
        if id(node) not in skipped and (_is_text(node) or _is_command(node)):
            assert isinstance(node, ast.expr)
            yield from ((node.lineno, text, id(node) in hints) for text in _texts(node) if "interlock " in text)
            skipped.update(id(part) for part in ast.walk(node) if part is not node)


def commands_in(text: str) -> Iterator[str]:
    """Yield the `interlock …` command lines in a text."""
    plain = _QUOTED.sub(lambda quoted: "Q" * len(quoted[0]), text)
    for found in _COMMAND.finditer(plain):
        end = _END.search(plain, found.end())
        assert end is not None
        yield text[found.start() : end.start()].strip()


@functools.cache
def _hints() -> list[tuple[str, str, bool]]:
    """Return where each command stands, the command, and whether it is to be typed as it is."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        source = path.read_text("utf-8")
        if place.startswith(NO_HINTS) or not ("interlock " in source or "command(" in source):
            continue
        for number, text, is_hint in _written(ast.parse(source)):
            strict = (is_hint and not place.startswith("lint/")) or not place.startswith(SPEAKING)
            lines = [line for line in commands_in(text) if line.split()[1] in COMMANDS or is_hint]
            lines = [line for line in lines if line not in NO_COMMANDS]
            found += [(f"{place}:{number}", line, strict) for line in lines]
    return found


def parse(line: str) -> str:
    """Return what the argument parser says against a command line; empty when it would run."""
    if re.search(r"[|<>&$*]", _QUOTED.sub("", line)):
        return "a shell would not pass this on"
    group: Any = build()
    rest, context = shlex.split(line)[1:], None
    try:
        while hasattr(group, "resolve_command"):
            context = group.make_context("interlock", rest, parent=context)
            _, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        group.make_context("interlock", rest, parent=context)
    except TyperException as error:
        # A page that names a group of commands means all of them.
        return "" if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()
    except UsageError as error:
        return error.what
    except Exit:  # --help
        return ""
    return ""


def test_the_reader_of_hints_finds_what_it_looks_for() -> None:
    assert len(_hints()) > 150
    assert list(commands_in("try `interlock plan`, or interlock state ls    then: interlock lock show a, at last")) == [
        "interlock plan",
        "interlock state ls",
        "interlock lock show a",
    ]
    assert list(commands_in(f"first {command('plan', SAMPLE)}, then more")) == [command("plan", SAMPLE)]
    assert parse("interlock state restore sample 7")
    assert parse("interlock lock explain")
    assert parse("interlock state histroy sample")
    assert parse("interlock drift accept|revert sample")
    assert not parse("interlock state restore sample --version 7")


@pytest.mark.promise("P8")
def test_every_command_in_a_message_is_understood_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for where, line, strict in _hints():
        if not strict and "'" not in line and len(line.split()) < _NAMES:
            continue  # the name of a command in a sentence
        if why := _said(line):
            wrong.append(f"{where}: {line}: {why}")
    capsys.readouterr()
    assert not wrong, "\n".join(wrong)


@pytest.mark.promise("P8")
def test_no_message_leaves_a_known_value_to_be_filled_in() -> None:
    wrong = []
    for where, line, strict in _hints():
        for before, word in itertools.pairwise(_QUOTED.sub("Q", line).split()):
            named = _PLACEHOLDER.match(word) or word.startswith(("<", "["))
            if strict and named and word not in CHOSEN and before not in CHOSEN_AFTER.get(word, ()):
                wrong.append(f"{where}: {line}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.promise("P8")
def test_every_command_on_a_page_is_understood_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for page in PAGES:
        for number, text in enumerate(page.read_text("utf-8").splitlines(), 1):
            quoted = re.findall(r"`(interlock [a-z][a-z-]+(?:[^`=]| [^`]+)*)`", text)
            typed = [text.strip().removeprefix("$ ")] if re.match(r"\s*(?:\$ )?interlock [a-z]", text) else []
            for line in [re.split(r"\s+[#>|]|; |\s&&", part)[0] for part in (*quoted, *typed)]:
                why = _said(line) if line.split()[1] in COMMANDS else "no such command"
                if why and not _is_mention(why):
                    wrong.append(f"{page.relative_to(ROOT)}:{number}: {line}: {why}")
    capsys.readouterr()
    assert not wrong, "\n".join(wrong)


def _said(line: str) -> str:
    try:
        return parse(line)
    except ValueError as error:
        return f"{error}: a value is not quoted; build it with errors.command"


def _is_mention(why: str) -> bool:
    """A page may name a command without its arguments, and show alternatives as `a|b`."""
    return why.startswith(("Missing", "a shell")) or "requires an argument" in why
