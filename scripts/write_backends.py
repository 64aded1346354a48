"""Writes docs/reference/backends.md: for each backend and promise what holds, what is only noticed, what there is not.

Run `python scripts/write_backends.py` after a backend is added, or a test is marked with `@pytest.mark.on("pg")`. Every
promise holds on every backend, unless `LESS` below says why it is less; and whatever holds, a test must show: one that
is marked with the promise and runs on that backend. `tests/docs/test_backends.py` holds that.
"""

# ruff: noqa: E501 - the sentences of a page
from __future__ import annotations

import ast
import runpy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "backends.md"
PROMISES = ("P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9")
"""The promises that depend on where the state is."""
ENCRYPTED = "encrypted"
COLUMNS = (*PROMISES, ENCRYPTED)
_ENCRYPTED_TESTS = "tests/e2e/test_encrypted_states.py"

ROWS: Mapping[str, str] = {
    "own": "Interlock's own",
    "s3": "`s3`",
    "gitlab": "`http`: GitLab",
    "http": "`http`: another server",
    "pg": "`pg`",
    "azurerm": "`azurerm`",
    "gcs": "`gcs`",
    "consul": "`consul`",
    "kubernetes": "`kubernetes`",
    "cloud": "`cloud`, `remote` (local execution)",
    "local": "`local`",
}
TRIED: Mapping[str, str] = {
    "own": "the real thing",
    "s3": "moto over HTTP, never AWS itself",
    "gitlab": "a double of GitLab's API, made from its source",
    "http": "a small server of the protocol",
    "pg": "a real PostgreSQL",
    "azurerm": "a double of the blob API; plain Terraform cannot be led to it, so only runs were tried",
    "gcs": "a double of Cloud Storage's API",
    "consul": "a real Consul 1.14 where one is on PATH, and a double of its API",
    "kubernetes": "a real kube-apiserver 1.35 where one is on PATH, and a double of it by HTTPS",
    "cloud": "a double of the platform's API",
    "local": "the real thing",
}
NOTICED, NOT = "noticed", "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Less:
    """Why a promise does not hold altogether on a backend: `NOTICED` or `NOT`, and the reason."""

    level: str
    why: str


_HOME = Less(
    level=NOT,
    why="The queue is in the home: its runs take turns in order. Runs of other homes are kept out by Terraform's own lock, "
    "which knows no order",
)
_PAST_US = "Terraform writes to the backend itself, and the backend asks nobody for a fencing token"
_FENCED_LATE = Less(
    level=NOTICED,
    why=f"{_PAST_US}: a run that lost its grant while it was stopped ends with 12, and the API refuses its calls; what it "
    "had written stands",
)
_JUDGED_LATE = Less(
    level=NOTICED,
    why=f"{_PAST_US}: a state that must not stand is found when Terraform has ended (20, or 23 with the state paused), and "
    "the one before is kept",
)
_OVERWRITES = (
    "a write by somebody who ignores the lock (`-lock=false`) during the apply is replaced by Terraform's next"
)

LESS: Mapping[tuple[str, str], Less] = {
    **{(row, "P2"): _HOME for row in ("gitlab", "http", "cloud", "local")},
    **{(row, "P4"): _FENCED_LATE for row in ("s3", "gcs", "cloud", "local")},
    **{(row, "P6"): _JUDGED_LATE for row in ("s3", "gcs", "cloud", "local")},
    ("s3", "P3"): Less(
        level=NOTICED, why=f"Of a bucket without versions {_OVERWRITES}; with versions it is kept as one"
    ),
    ("gcs", "P3"): Less(level=NOT, why=f"Without object versioning {_OVERWRITES}"),
    ("local", "P3"): Less(level=NOT, why=f"The file has one version and a backup: {_OVERWRITES}"),
    ("pg", "P1"): Less(
        level=NOTICED,
        why="The lock ends with the session that took it. After a kill -9 of the supervisor plain Terraform may come in "
        "while the dead run's Terraform is being stopped; that one can write nothing, and what it leaves is not stored "
        "over what somebody else stored",
    ),
    ("consul", "P1"): Less(
        level=NOTICED,
        why="The lock ends with the session that took it. After a kill -9 of the supervisor it ends by itself within some 35 "
        "seconds, and plain Terraform may come in while the dead run's Terraform is being stopped; that one can write "
        "nothing, and a write of ours is made only while our session has the lock",
    ),
    ("kubernetes", "P6"): Less(
        level=NOTICED,
        why="A state that is larger than 1 MiB when packed is in several Secrets, which cannot be written at once: a writer "
        "that is killed between two of them leaves one that is not whole; it is found, and the one before is kept",
    ),
    ("http", "P1"): Less(
        level=NOTICED,
        why="As good as the server's lock: without a `lock_address` nobody is kept out but the runs of this home, and the "
        "run says so in its first lines",
    ),
    ("http", "P5"): Less(
        level=NOTICED,
        why="A server that does not say who holds leaves the verdict undecided, so nothing is broken; the protocol compares "
        "nothing, so milliseconds remain between comparing and breaking",
    ),
    ("kubernetes", ENCRYPTED): Less(
        level=NOTICED,
        why="No packing makes an encrypted state smaller. One of more than 1 MiB is in several Secrets, of which OpenTofu reads "
        "the first alone: runs go on, plain tofu cannot read it, and each run says so",
    ),
    ("cloud", ENCRYPTED): Less(level=NOT, why="HCP Terraform takes no state that it cannot read; it was not tried"),
    ("cloud", "P5"): Less(
        level=NOTICED, why="Nothing in the API is conditional: what is read just before is what is acted on"
    ),
}

REFUSED = ("cos", "oss", "oci")
"""Backends of Terraform 1.11 on which runs end with status 3."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shown:
    """One test that shows a promise on a backend."""

    row: str
    promise: str
    file: str
    name: str


def collect() -> list[Shown]:
    """Return what tests show, in order, from their marks."""
    found = [*_of_contract(), *_of_places(), *_marked(), *_encrypted()]
    return sorted(set(found))


def _of_contract() -> Iterator[Shown]:
    """Yield what the suite of sites shows for each class that is marked with its backend."""
    file = "tests/contract/test_sites.py"
    suite = list(_promises_of(ROOT / "src" / "interlock" / "testing" / "site_contract.py"))
    for node in ast.parse((ROOT / file).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for row in _words(node.decorator_list, "on"):
                yield from (Shown(row=row, promise=each, file=file, name=name) for name, each, _ in suite)


def _of_places() -> Iterator[Shown]:
    """Yield what the whole runs show on each of their places, but on those that a test leaves out."""
    file = "tests/e2e/test_runs_elsewhere.py"
    places = _places()
    for name, promise, marks in _promises_of(ROOT / file):
        left_out = _words(marks, "not_on")
        yield from (Shown(row=row, promise=promise, file=file, name=name) for row in places if row not in left_out)


def _places() -> list[str]:
    tree = ast.parse((ROOT / "tests/e2e/test_runs_elsewhere.py").read_text("utf-8"))
    return next(_keys(node) for node in tree.body if _is_named(node, "PLACES"))


def _encrypted() -> Iterator[Shown]:
    """Yield what is shown of states that OpenTofu encrypts: on the backends of a mark, or on all places but the cloud."""
    everywhere = [place for place in _places() if place != "cloud"]
    for name, _, marks in _promises_of(ROOT / _ENCRYPTED_TESTS):
        rows = everywhere if any("ELSEWHERE" in ast.unparse(mark) for mark in marks) else _words(marks, "on")
        yield from (Shown(row=row, promise=ENCRYPTED, file=_ENCRYPTED_TESTS, name=name) for row in rows)


def _marked() -> Iterator[Shown]:
    """Yield what tests show that are marked with promise and backend themselves, or by their module."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        file = path.relative_to(ROOT).as_posix()
        if "mark.on(" not in text or file == _ENCRYPTED_TESTS:
            continue
        above = _of_module(ast.parse(text))
        for name, promise, marks in _promises_of(path):
            rows = _words([*above, *marks], "on")
            yield from (Shown(row=row, promise=promise, file=file, name=name) for row in rows)


def _promises_of(path: Path) -> Iterator[tuple[str, str, list[ast.expr]]]:
    """Yield name, promise and marks of each test of a file, also of those in a class."""
    tree = ast.parse(path.read_text("utf-8"))
    above = _of_module(tree)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for node in (node for body in bodies for node in body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for promise in _words([*above, *node.decorator_list], "promise"):
                yield node.name, promise, node.decorator_list


def _of_module(tree: ast.Module) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                found += value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return found


def _words(marks: Iterable[ast.expr], mark: str) -> list[str]:
    return [
        str(word.value)
        for each in marks
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == mark
        for word in each.args
        if isinstance(word, ast.Constant)
    ]


def _is_named(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name


def _keys(node: ast.stmt) -> list[str]:
    assert isinstance(node, ast.AnnAssign)
    assert isinstance(node.value, ast.Dict)
    return [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]


def unshown(shown: Iterable[Shown]) -> list[tuple[str, str]]:
    """Return what is said to hold, or to be noticed, and no test shows."""
    there = {(one.row, one.promise) for one in shown}
    wanted = [(row, column) for row in ROWS for column in COLUMNS]
    return [cell for cell in wanted if cell not in there and (cell not in LESS or LESS[cell].level == NOTICED)]


def page(shown: list[Shown]) -> str:
    """Return the text of the page."""
    return "\n".join([*_head(), *_table(shown), "", *_reasons(), *_tests(shown)])


def _head() -> Iterator[str]:
    promises = runpy.run_path(str(ROOT / "scripts" / "write_proofs.py"))["sentences"]()
    yield "# Backends and promises"
    yield ""
    yield "For each backend on which runs work, and each promise that depends on where the state is: what **holds** (with the"
    yield "number of tests that show it), what is only **noticed**, and what there is **not**. Written by"
    yield "`scripts/write_backends.py` from the marks of the tests. P7, P10 and P11 do not depend on the backend;"
    yield "[proofs.md](proofs.md) has them. How a run reaches each backend is in"
    yield "[where the state is](../explanation/where-the-state-is.md), what each adapter was tried on in [adapters.md](adapters.md)."
    yield ""
    yield from (f"- **{name}** {promises[name]}" for name in PROMISES)
    yield "- **encrypted** States that OpenTofu encrypts live there, in order and fenced, and are rescued without their key;"
    yield "  [what is off](../howto/encrypt-with-opentofu.md) for them. The tests need `tofu` on PATH."
    yield ""


def _table(shown: list[Shown]) -> Iterator[str]:
    yield f"| backend | {' | '.join(COLUMNS)} | tried on |"
    yield f"|---|{'---|' * len(COLUMNS)}---|"
    notes = list(dict.fromkeys(LESS.values()))
    for row, title in ROWS.items():
        cells = []
        for column in COLUMNS:
            less = LESS.get((row, column))
            count = sum((one.row, one.promise) == (row, column) for one in shown)
            cells.append(f"holds ({count})" if less is None else f"{less.level} [{notes.index(less) + 1}](#less)")
        yield f"| {title} | {' | '.join(cells)} | {TRIED[row]} |"


def _reasons() -> Iterator[str]:
    yield "## Less"
    yield ""
    yield from (f"{number}. {less.why}." for number, less in enumerate(dict.fromkeys(LESS.values()), start=1))
    yield ""
    yield "Runs end with status 3, and say what to do instead, on every other type (such as"
    yield f"{', '.join(f'`{name}`' for name in REFUSED)})."
    yield ""


def _tests(shown: list[Shown]) -> Iterator[str]:
    yield "## Tests"
    yield ""
    for row, title in ROWS.items():
        yield f"### {title}"
        yield ""
        for column in COLUMNS:
            files = sorted({one.file for one in shown if (one.row, one.promise) == (row, column)})
            if files:
                yield f"- {column}: {', '.join(f'`{file}`' for file in files)}"
        yield ""


if __name__ == "__main__":
    tests = collect()
    if missing := unshown(tests):
        raise SystemExit(f"no test shows: {', '.join(f'{promise} on {row}' for row, promise in missing)}")
    PAGE.write_text(page(tests), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
