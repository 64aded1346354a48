"""Every path and module that a docstring, a comment or a page names is there; every link and anchor leads somewhere.

What counts as a path of ours, and must exist:

- what begins with a folder of this repository (`docs/`, `src/`, `tests/` and so on), or with `facts/`, which must be
  `docs/facts/`;
- what begins with a room (`run/process.py`), seen from `src/interlock`; a module with or without `.py`;
- any path or file name that ends in `.py`, and any path that ends in `.md`, seen from the repository, from
  `src/interlock`, or from the folder of the file that names it; a bare name must be that of some file;
- `interlock.room.module` and `interlock.room.module.Name`; not files such as `interlock.yaml`, nor codes of errors,
  which stand in the source as texts of their own;
- `ADR 7`, a page in `docs/adr`; `docs/facts/page.md#name-7`, and `#name-8` after it, facts of that page.

What does not count: other people's sources (`FOREIGN`), addresses, and anything in a fenced example of a page. Of
Python files docstrings and comments are read, and of the other texts in them what begins with `docs/`.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "interlock"
DOCS = ROOT / "docs"
FACTS = DOCS / "facts"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
FOLDERS = frozenset(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
ROOMS = frozenset(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name.isidentifier())
CODE = ("src", "tests", "scripts", "benchmarks")
OTHERS = ("Makefile", "pyproject.toml", "action.yml", "tests/corpus/**/*.toml", "src/interlock/**/*.json")
SELF = Path(__file__).name
# Pages, examples and logs speak of a user's files too; there only these folders count, and paths to `.py` files.
OURS = frozenset({*CODE, "docs", "facts"})

# Sources of Terraform, of the provider, of Linux and of others, and files of a user in examples.
FOREIGN = (
    "internal/", "lib/", "include/", "linux/", "packages/", "provider/", "helper/", "util/", "platformclientv2/",
    "actions/", "hashicorp/", "shells/", "src/backend/", "docs/plugin-protocol/",
)  # fmt: skip
FOREIGN_NAMES = frozenset({"runner.py", "deploy.py", "x.py"})  # programs of a user, in examples
FILE_ENDINGS = frozenset({"db", "yaml", "yml", "json", "toml", "tf", "md", "io", "svg", "sock", "log", "dev", "sarif"})

_PATH = re.compile(r"(?<![\w./:@$*<{~-])((?:[\w-][\w.-]*/)+[\w.-]*\w|[\w-]+\.py\b)(?![\w*<{/-])")
_MODULE = re.compile(r"(?<![\w./@-])interlock((?:\.[A-Za-z_]\w*)+)(?![\w-]|/)")
_FACT = re.compile(r"docs/facts/([\w-]+)\.md((?:(?:,| and|, and)? ?#[\w-]+)+)")
_ADR = re.compile(r"\bADR (\d+)\b")
_LINK = re.compile(r"\]\(([^()\s]*)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_QUOTED = (
    r'[rbufRBUF]{0,2}(?:"""(?:[^\\]|\\.)*?"""|\'\'\'(?:[^\\]|\\.)*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')'
)
_TOKEN = re.compile(rf"#[^\n]*|{_QUOTED}(?:\s+{_QUOTED})*|[()\[\]{{}}]", re.DOTALL)
_STATEMENT = re.compile(rf"^ *{_QUOTED}", re.DOTALL | re.MULTILINE)  # a docstring, also one of an attribute
_BETWEEN_PARTS = re.compile(r"""["']\s+[rbufRBUF]{0,2}["']""")  # of a text that is written in several
_NAMED_PAGE = re.compile(r"""(?<![^\s"'])docs/[^\s"'{}]+""")
_BRACKETS = {**dict.fromkeys("([{", 1), **dict.fromkeys(")]}", -1)}
_HEADING = re.compile(r"^#{1,6} (.+?)#*$", re.MULTILINE)


def _prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, and its other texts that name a page, with their lines.

    One regular expression reads them; the trees and tokens of the whole repository take ten times as long.
    """
    depth, line, counted = 0, 1, 0
    for found in _TOKEN.finditer(source):
        token, begin = found[0], found.start()
        line, counted = line + source.count("\n", counted, begin), begin
        if token.startswith("#"):
            yield line, token
        elif token in _BRACKETS:
            depth += _BRACKETS[token]
        else:
            if "docs/" in token:
                yield line, " ".join(_NAMED_PAGE.findall(_BETWEEN_PARTS.sub("", token)))
            if not depth:
                lines = source[source.rfind("\n", 0, begin) + 1 : found.end()]
                yield from ((line, text[0]) for text in _STATEMENT.finditer(lines))


@functools.cache
def _texts() -> list[tuple[Path, int, str]]:
    """Return every text that may name something, with its file and line."""
    found = []
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != SELF:
                found += [(path, line, text) for line, text in _prose(path.read_text("utf-8"))]
    for page in PAGES:
        plain = _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), page.read_text("utf-8"))
        found += [(page, line, _LINK.sub("]", text)) for line, text in enumerate(plain.splitlines(), 1)]
    for pattern in OTHERS:
        for path in sorted(ROOT.glob(pattern)):
            found += [(path, line, text) for line, text in enumerate(path.read_text("utf-8").splitlines(), 1)]
    return found


@functools.cache
def _codes() -> frozenset[str]:
    """Return the texts of the source that look like modules and are codes of errors."""
    source = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    return frozenset(re.findall(r'"(interlock(?:\.[a-z]+)+)"', source))


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(path.name for folder in CODE for path in (ROOT / folder).rglob("*.py"))


def is_missing(name: str, *, at: Path) -> bool:
    """Say whether a path that a file names is one of ours and is not there."""
    first, _, rest = name.partition("/")
    if not rest:
        return name not in _names() and name not in FOREIGN_NAMES
    if first == "facts":
        return True
    if name.startswith(FOREIGN):
        return False
    if first in FOLDERS - ROOMS:
        places = [ROOT / name]
    elif first in ROOMS or name.endswith((".py", ".md")):
        places = [PACKAGE / name, PACKAGE / f"{name}.py", at.parent / name, ROOT / name]
    else:
        return False
    return not any(place.exists() for place in places)


def is_unknown_module(dotted: str) -> bool:
    """Say whether `.room.module.Name` below `interlock` is not there."""
    parts = dotted.strip(".").split(".")
    if parts[0] in FILE_ENDINGS or f"interlock{dotted}" in _codes():
        return False
    place, module = PACKAGE, ["interlock"]
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        module.append(parts[0])
        place /= parts.pop(0)
    found: object = importlib.import_module(".".join(module))
    for part in parts:
        if not hasattr(found, part):
            return True
        found = getattr(found, part)
    return False


def _where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_path_that_is_named_is_there() -> None:
    wrong = []
    for path, line, text in _texts():
        for name in _PATH.findall(text):
            first = name.partition("/")[0]
            is_ours = first in OURS or (name.endswith(".py") and first != name)
            if (is_ours or path.suffix == ".py") and is_missing(name, at=path):
                wrong.append(f"{_where(path, line)}: {name}")
    assert not wrong, "\n".join(wrong)


def test_every_module_that_is_named_is_there() -> None:
    wrong = [
        f"{_where(path, line)}: interlock{name}"
        for path, line, text in _texts()
        for name in _MODULE.findall(text)
        if is_unknown_module(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_decision_that_is_named_has_its_page() -> None:
    pages = {int(path.name[:4]) for path in (DOCS / "adr").glob("*.md")}
    wrong = [
        f"{_where(path, line)}: ADR {number}"
        for path, line, text in _texts()
        for number in _ADR.findall(text)
        if int(number) not in pages
    ]
    assert not wrong, "\n".join(wrong)


def slugs(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives the headings of a page, and those that it sets itself."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    found: dict[str, int] = {}
    anchors = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return frozenset(anchors)


def test_every_link_and_anchor_leads_somewhere() -> None:
    wrong = []
    for page in PAGES:
        for target in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
            if "://" in target or target.startswith("mailto:"):
                continue
            place, _, anchor = target.partition("#")
            there = page if not place else page.parent / place
            if not there.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target}")
            elif anchor and there.suffix == ".md" and anchor not in slugs(there):
                wrong.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_every_fact_that_is_cited_is_there() -> None:
    wrong = []
    for path, line, text in _texts():
        for page, anchors in _FACT.findall(text):
            there = FACTS / f"{page}.md"
            known = slugs(there) if there.exists() else frozenset()
            wrong += [
                f"{_where(path, line)}: {page} {name}"
                for name in re.findall(r"#([\w-]+)", anchors)
                if name not in known
            ]
    assert not wrong, "\n".join(wrong)


def test_no_fact_has_the_name_of_another_and_each_page_numbers_its_own() -> None:
    seen: dict[str, str] = {}
    for page in sorted(FACTS.glob("*.md")):
        names = re.findall(r"^### (.+)$", page.read_text("utf-8"), re.MULTILINE)
        assert all(re.fullmatch(r"[a-z0-9]+-\d+", name) for name in names), page.name
        assert len({name.rpartition("-")[0] for name in names}) <= 1, page.name
        assert not seen.keys() & set(names), page.name
        seen |= dict.fromkeys(names, page.name)
        assert len(set(names)) == len(names), page.name
    assert len(seen) > 100


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("docs/architecture.md", False),
        ("docs/nowhere.md", True),
        ("facts/genesys.md", True),
        ("run/process.py", False),
        ("run/processes.py", True),
        ("run/process", False),
        ("elsewhere/s3.py", True),
        ("process.py", False),
        ("no_such_module_at_all.py", True),
        ("internal/command/meta.go", False),
        ("prod/routing", False),
    ],
)
def test_a_path_counts_by_these_rules(name: str, *, missing: bool) -> None:
    assert is_missing(name, at=ROOT / "README.md") is missing


def test_the_docstrings_and_comments_of_a_module_are_read_and_the_pages_that_its_other_texts_name() -> None:
    source = '''"""What it is."""

x = ["no docs#", f"see docs/a.md#b and docs/{y}.md", (  # a comment
    "at docs/"
    "c.md"
)]

def f():
    """Two
    lines."""
    y = "a"
    """Of y."""
    return 'it\\\'s # no comment'
'''
    assert list(_prose(source)) == [
        (1, '"""What it is."""'),
        (3, "docs/a.md#b"),
        (3, "# a comment"),
        (4, "docs/c.md"),
        (9, '    """Two\n    lines."""'),
        (11, '    """Of y."""'),
    ]


def test_a_module_counts_by_these_rules() -> None:
    assert not is_unknown_module(".errors.UsageError")
    assert not is_unknown_module(".yaml")
    assert is_unknown_module(".errors.NoSuchError")
    assert is_unknown_module(".no_such_room.module")


def test_no_text_leads_to_pages_outside_the_repository() -> None:
    outside = re.compile(r"\.\./shared\b|\b(?:DESIGN|LAYOUT|STYLE)\.md|\bhouse-moves\.md|(?<![\w/])/" + "work/")
    assert [_where(path, line) for path, line, text in _texts() if outside.search(text)] == []


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in (DOCS / "adr").glob("*.md")]
    assert sorted(number for number in set(numbers) if numbers.count(number) > 1) == []
    titled = {path.name: path.read_text().partition(".")[0] for path in (DOCS / "adr").glob("*.md")}
    assert {name: title for name, title in titled.items() if title != f"# {int(name[:4])}"} == {}
