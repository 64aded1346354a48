"""Which roots a change touches: files of a root and what it reads -> roots with reasons. Pure.

A root is touched by what is below its folder and below the local modules that it calls, by files that its
configuration names, by what interlock.yaml says that it reads, and by what interlock.yaml says of it. Whoever reads
what a touched root makes is touched too. When in doubt a root counts as touched: a plan too many costs minutes.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.dependencies.roots import Need, Reason
from interlock.hcl import (
    Call,
    Expression,
    Literal,
    Module,
    Scope,
    Template,
    Traversal,
    constant_text,
    expressions,
    walk,
)
from interlock.source.tree import Span, join

MAX_PATH_CHARS = 500  # a longer text is no path

_READERS = frozenset(
    {
        *("file", "filebase64", "filebase64sha256", "filebase64sha512", "fileexists", "filemd5", "fileset"),
        *("filesha1", "filesha256", "filesha512", "templatefile"),
    }
)
_WITHOUT_EFFECT = frozenset({"pipeline"})  # of interlock.yaml: what decides about CI files, not about a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a root depends on in the tree.

    Attributes:
        root: The root's name.
        folders: Folders of which everything counts, each with what it is for the root.
        files: Single files, likewise.
        patterns: Paths with wildcards that interlock.yaml lists under `reads`.
        doubts: Where the configuration reads a file whose path cannot be told.
    """

    root: str
    folders: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """One root that a change touches.

    Attributes:
        root: Its name.
        why: Reasons, at most one of each kind and file.
        through: The touched roots that it reads; empty when the change touches it by itself.
    """

    root: str
    why: tuple[str, ...]
    through: tuple[str, ...] = ()


def footprint_of(name: str, module: Module, reads: Sequence[str] = (), files: Sequence[str] = ()) -> Footprint:
    """Return what a root depends on.

    Args:
        name: The root's name.
        module: Its configuration, local modules included.
        reads: Paths and patterns of interlock.yaml, joined to its folder.
        files: Further files, such as those of `-var-file`.
    """
    folders = {module.path: "its folder"}
    named = dict.fromkeys(files, "a file of variables")
    doubts: list[str] = []
    for part in module.walk():
        if part is not module:
            folders.setdefault(part.path, f"module {posixpath.basename(part.path)}")
        for call in part.calls:
            source = constant_text(call.source, Scope())
            if source is not None and source.startswith(("./", "../")):
                folders.setdefault(join(part.path, source), f"module {call.name}")
        for path, why, is_folder in _read_by(part, module.path, doubts):
            (folders if is_folder else named).setdefault(path, why)
    return Footprint(root=name, folders=folders, files=named, patterns=tuple(reads), doubts=tuple(doubts))


def _read_by(module: Module, root: str, doubts: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield what the expressions of one module name: path, for whom, and whether everything below it counts."""
    for file in module.files:
        for _, value in expressions(file.body):
            yield from _named(value, module, root, doubts)
    for value in module.tfvars.values():
        yield from _named(value, module, root, doubts)


def _named(value: Expression, module: Module, root: str, doubts: list[str]) -> Iterator[tuple[str, str, bool]]:
    for part in walk(value):
        match part:
            case Call() if part.function in _READERS and part.arguments:
                yield from _argument(part, module, root, doubts)
            case Literal() if isinstance(part.value, str) and _may_be_path(part.value):
                yield join(root, part.value), f"named in {_place(part.span)}", False
            case Template() if _begins_with_path(part):
                yield from _paths(_spell(part, module, root), "", part.span, is_folder=False)
            case _:
                pass


def _argument(call: Call, module: Module, root: str, doubts: list[str]) -> Iterator[tuple[str, str, bool]]:
    text, is_whole = _spell(call.arguments[0], module, root)
    if not is_whole and "/" not in text:
        doubts.append(f"{_place(call.span)}: {call.function}() of a path that is not literal")
    else:
        base = "" if _begins_with_path(call.arguments[0]) else root
        yield from _paths((text, is_whole), base, call.span, is_folder=call.function == "fileset")


def _paths(spelled: tuple[str, bool], base: str, span: Span, *, is_folder: bool) -> Iterator[tuple[str, str, bool]]:
    text, is_whole = spelled
    if is_whole and len(text) <= MAX_PATH_CHARS:
        yield join(base, text), f"read in {_place(span)}", is_folder
    elif "/" in text:
        yield join(base, text.rpartition("/")[0] or "/"), f"read in {_place(span)}", True


def _begins_with_path(value: Expression) -> bool:
    """Say whether a path begins with `path.module` or its like; any other one is meant from the root module on."""
    first = value.parts[0] if isinstance(value, Template) and value.parts else value
    return isinstance(first, Traversal) and first.root == "path"


def _spell(value: Expression, module: Module, root: str) -> tuple[str, bool]:
    """Return how a path begins, and whether that is all of it."""
    text = ""
    for part in value.parts if isinstance(value, Template) else (value,):
        found = _part(part, module, root)
        if found is None:
            return text, False
        text += found
    return text, True


def _part(value: Expression, module: Module, root: str) -> str | None:
    if isinstance(value, Traversal) and value.root == "path":
        return module.path if value.names()[1:2] == ("module",) else root
    if isinstance(value, Literal):
        return value.value if isinstance(value.value, str) else None
    return constant_text(value, module.scope)


def _may_be_path(text: str) -> bool:
    return 0 < len(text) <= MAX_PATH_CHARS and ("/" in text or "." in text) and "\n" not in text and "\0" not in text


def _place(span: Span) -> str:
    return f"{posixpath.basename(span.path)}:{span.line}"


# -- the change -------------------------------------------------------------------------------------------------------


def find_touched(
    footprints: Sequence[Footprint],
    changed: Iterable[str],
    needs: Iterable[Need] = (),
    said: Mapping[str, str] | None = None,
) -> tuple[Touched, ...]:
    """Return the roots that a change touches, in the order of `footprints`.

    Args:
        footprints: All roots.
        changed: Paths of files that were changed, made or removed, spelled like those of the footprints.
        needs: What the roots need of each other: who reads a touched root is touched as well.
        said: By root, what interlock.yaml says differently of it.
    """
    paths = sorted(set(changed))
    tops = {next(iter(footprint.folders), "") for footprint in footprints}
    own = {each.root: _reasons(each, paths, tops, (said or {}).get(each.root)) for each in footprints}
    direct = {name for name, why in own.items() if why}
    through = _readers(direct, needs)
    return tuple(
        Touched(root=name, why=why or tuple(through[name].values()), through=() if why else tuple(through[name]))
        for name, why in own.items()
        if why or name in through
    )


def _reasons(footprint: Footprint, paths: Sequence[str], tops: set[str], said: str | None) -> tuple[str, ...]:
    found = [f"{path} ({why})" for path in paths if (why := _why(footprint, path, tops))]
    return (*([said] if said else ()), *found)


def _why(footprint: Footprint, path: str, tops: set[str]) -> str | None:
    """Return what a path is for a root; None when it is nothing. A root inside another one's folder is its own."""
    if (why := footprint.files.get(path)) is not None:
        return why
    if any(fnmatch.fnmatchcase(path, each) or is_below(path, each) for each in footprint.patterns):
        return "listed under reads"
    if any(is_below(folder, path) for folder in footprint.folders):  # git lists no folders: a submodule, or a link
        return "a submodule or a link with a folder of it"
    inside = max((each for each in footprint.folders if is_below(path, each)), key=len, default=None)
    if inside is None or any(len(top) > len(inside) and is_below(path, top) for top in tops):
        return None
    return footprint.folders[inside]


def is_below(path: str, folder: str) -> bool:
    """Say whether a path is a folder itself or is in it, at any depth."""
    return folder in {".", path} or path.startswith(f"{folder.rstrip('/')}/")


def _readers(direct: set[str], needs: Iterable[Need]) -> dict[str, dict[str, str]]:
    """Return who needs a touched root, directly or not: by name, the touched roots that it needs with a reason each."""
    by_need: dict[str, list[Need]] = {}
    for need in needs:
        by_need.setdefault(need.on, []).append(need)
    found: dict[str, dict[str, str]] = {}
    pending = sorted(direct)
    passed = set(pending)
    while pending:
        name = pending.pop(0)
        for need in by_need.get(name, ()):
            verb = "comes after" if need.reason is Reason.DECLARED else "reads"
            found.setdefault(need.root, {})[name] = f"{verb} {name}, which is touched: {need.why}"
            if need.root not in passed:
                passed.add(need.root)
                pending.append(need.root)
    return found


def differing_settings(
    before: Mapping[str, object] | None, now: Mapping[str, object], roots: Iterable[str]
) -> dict[str, str]:
    """Return what interlock.yaml says differently of each root.

    Args:
        before: Its values at the base; None when they cannot be told, or there was no such file.
        now: Its values now.
        roots: The names of all roots.
    """
    names = list(roots)
    if before is None:
        return dict.fromkeys(names, "interlock.yaml is new, or was another file")
    keys = (before.keys() | now.keys()) - _WITHOUT_EFFECT - {"states"}
    general = sorted(key for key in keys if before.get(key) != now.get(key))
    if general:
        return dict.fromkeys(names, f"interlock.yaml ({', '.join(general)})")
    old, new = _mapping(before.get("states")), _mapping(now.get("states"))
    return {name: f"interlock.yaml (states.{name})" for name in names if old.get(name) != new.get(name)}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
