"""Writes docs/reference/proofs.md: which tests prove which promise, and at which level.

Run `python scripts/write_proofs.py` after marking a test with `@pytest.mark.promise("P4")`, or after renaming one. The
marks are read from the syntax trees of the tests; nothing is run. `tests/docs/test_proofs.py` says what must hold.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "proofs.md"
PROMISES = tuple(f"P{number}" for number in range(1, 12))

PROPERTY, SIMULATION, WHOLE, OTHER = "property", "simulation", "end to end", "other"
LEVELS = (PROPERTY, SIMULATION, WHOLE)
# Tests whose every choice comes from a seed, in other folders than tests/simulation.
SEEDED = frozenset(
    {
        "tests/contract/test_aws_faults.py",
        "tests/contract/test_sqlite_processes.py",
        "tests/e2e/test_chaos.py",
        "tests/property/test_gateway_admission.py",
    }
)
_FOLDERS = {"property": PROPERTY, "simulation": SIMULATION, "e2e": WHOLE}

# Levels at which a promise has no proof, with the reason.
ABSENT = {
    ("P10", SIMULATION): "no order of events decides what is shown: property tests draw the documents instead",
    ("P11", SIMULATION): "files, settings and the store decide which state is meant, not an order of events",
}

_MEANINGS = {
    PROPERTY: "laws over drawn examples (hypothesis), the same examples in every run",
    SIMULATION: "many agents, crashes, stalls and lost replies from one seed, or every order of events up to a bound",
    WHOLE: "real processes: the command line, Terraform, stores and servers on this machine",
}


_SLOW = """Those marked *slow* are left out of `make test`; `make proofs` runs them all, and each CI run those that are
begun within a minute, others for each commit. `make chaos`, `make matrix` and `make search` look longer."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Proof:
    """One test that proves a promise: the promise, the level, file and name of the test, and whether it is slow."""

    promise: str
    level: str
    file: str
    name: str
    slow: bool


def level_of(file: str) -> str:
    """Return the level of a test file, named from the repository's root."""
    return SIMULATION if file in SEEDED else _FOLDERS.get(Path(file).parts[1], OTHER)


def collect(tests: Path = ROOT / "tests") -> list[Proof]:
    """Return what every marked test proves, in order."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        file = path.relative_to(tests.parent).as_posix()
        for name, promises, slow in marked(path.read_text("utf-8")):
            found += [Proof(promise=each, level=level_of(file), file=file, name=name, slow=slow) for each in promises]
    return sorted(set(found), key=lambda proof: (PROMISES.index(proof.promise), proof.level, proof.file, proof.name))


def marked(source: str) -> Iterator[tuple[str, list[str], bool]]:
    """Yield each test of a module that is marked, with its promises and whether it is slow.

    A mark is the test's own, its class's or the module's. A test of which only some examples are slow is not slow.

    Raises:
        ValueError: A mark names what is no promise, or is not written out.
    """
    tree = ast.parse(source)
    yield from _below(tree.body, _of_module(tree))


def _below(body: Iterable[ast.stmt], inherited: list[ast.expr]) -> Iterator[tuple[str, list[str], bool]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _below(node.body, [*inherited, *node.decorator_list])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = [*inherited, *node.decorator_list]
            if promises := _promises(marks):
                yield node.name, list(dict.fromkeys(promises)), any(map(_is_slow, marks))


def _of_module(tree: ast.Module) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                found += value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return found


def _is_slow(mark: ast.expr) -> bool:
    return isinstance(mark, ast.Attribute) and mark.attr == "slow"


def _promises(marks: Iterable[ast.expr]) -> list[str]:
    found = []
    for mark in marks:
        match mark:
            case ast.Call(func=ast.Attribute(attr="promise"), args=words):
                found += [word.value if isinstance(word, ast.Constant) else ast.unparse(word) for word in words]
    for each in found:
        if each not in PROMISES:
            raise ValueError(f"promise({each!r}): one of {', '.join(PROMISES)}, written out")
    return [str(each) for each in found]


def sentences() -> dict[str, str]:
    """Return the promises as docs/architecture.md has them."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return dict(re.findall(r"^\| (P\d+) \| (.+) \|$", text, re.MULTILINE))


def render(proofs: list[Proof]) -> str:
    """Return the page."""
    text = "# What proves each promise\n\n<!-- Made by scripts/write_proofs.py; mark the tests, not this page. -->\n\n"
    text += "A test that proves a promise of [the architecture](../architecture.md#the-promises) is marked with it. "
    text += "Its name is the sentence\nthat it proves. Levels:\n\n"
    text += "".join(f"- **{level}**: {meaning}.\n" for level, meaning in _MEANINGS.items())
    text += f"\n{_SLOW}\n\n"
    text += "| promise | " + " | ".join(LEVELS) + " |\n|---|" + "---|" * len(LEVELS) + "\n"
    text += "".join(f"| [{promise}](#{promise.lower()}) | {_row(promise, proofs)} |\n" for promise in PROMISES)
    words = sentences()
    for promise in PROMISES:
        text += f"\n## {promise}\n\n{words[promise]}\n" + _section([p for p in proofs if p.promise == promise])
    return text


def _row(promise: str, proofs: list[Proof]) -> str:
    return " | ".join(_cell(promise, level, proofs) for level in LEVELS)


def _cell(promise: str, level: str, proofs: list[Proof]) -> str:
    speeds = {proof.slow for proof in proofs if (proof.promise, proof.level) == (promise, level)}
    if not speeds:
        return f"none: {ABSENT.get((promise, level), 'missing')}"
    return {(False,): "yes", (False, True): "yes, some slow", (True,): "only slow"}[tuple(sorted(speeds))]


def _section(proofs: list[Proof]) -> str:
    text = ""
    for level in LEVELS:
        files = sorted({proof.file for proof in proofs if proof.level == level})
        text += f"\n### {proofs[0].promise}, {level}\n" if files else ""
        for file in files:
            text += f"\n`{file}`\n\n"
            text += "".join(f"- {_sentence(p)}\n" for p in proofs if (p.file, p.level) == (file, level))
    others = sorted({proof.file for proof in proofs if proof.level == OTHER})
    text += f"\n### {proofs[0].promise}, besides\n\n" if others else ""
    return text + "".join(f"- `{file}`\n" for file in others)


def _sentence(proof: Proof) -> str:
    return proof.name.removeprefix("test_").replace("_", " ") + (" (*slow*)" if proof.slow else "")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(collect()), "utf-8")


if __name__ == "__main__":
    main()
