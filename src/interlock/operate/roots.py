"""The root modules of a repository: which there are, which needs which, and which a change touches. A hand.

`interlock.dependencies.roots` and `.touched` decide; this reads folders, asks where each state is, and asks git.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.bounded import read_yaml
from interlock.dependencies.roots import (
    Need,
    RemoteRead,
    RootModule,
    check_declared,
    find_needs,
    order_of,
)
from interlock.dependencies.site import Root, Site, list_sites
from interlock.dependencies.touched import (
    Footprint,
    Touched,
    differing_settings,
    find_touched,
    footprint_of,
    is_below,
)
from interlock.errors import InterlockError, UsageError, command
from interlock.existing.discovery import find_read
from interlock.existing.opening import address_of
from interlock.hcl import Traversal, constant_text, read_module
from interlock.operate.places import own_state_at
from interlock.site.ref import own_address
from interlock.site.which import holds_configuration, ref_of_run
from interlock.source.disk import DiskTree
from interlock.source.tree import join

if TYPE_CHECKING:
    from interlock.operate.changes import Change
    from interlock.settings.values import Settings

_READ = "terraform_remote_state"
_VAR_FILE = "-var-file"


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Root modules that are worked on together.

    Attributes:
        modules: Each with where its state is and what it reads, in the order in which they were named.
        needs: Which needs which.
        folderless: States of interlock.yaml that name no directory, so that nothing can be run for them.
        unclear: Why the address of a root's state, or what it reads, cannot be told; by root.
    """

    modules: tuple[RootModule, ...]
    needs: tuple[Need, ...]
    folderless: tuple[str, ...] = ()
    unclear: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(root.name for root in self.modules)

    @cached_property
    def waves(self) -> tuple[tuple[str, ...], ...]:
        """The order of work; each wave needs only earlier ones.

        Raises:
            UsageError: They need each other in a circle.
        """
        return order_of(self.names, self.needs)

    def folder(self, name: str) -> Path:
        """Return a root's folder."""
        return Path(next(root.module.path for root in self.modules if root.name == name))

    def only(self, names: Iterable[str]) -> Roots:
        """Return some of them, with what they need of each other."""
        kept = set(names)
        return replace(
            self,
            modules=tuple(root for root in self.modules if root.name in kept),
            needs=tuple(need for need in self.needs if {need.root, need.on} <= kept),
        )


def read_roots(
    settings: Settings,
    environ: Mapping[str, str],
    folders: Sequence[Path] = (),
    extra: Sequence[str] = (),
) -> Roots:
    """Read root modules: those of interlock.yaml, or the named folders alone.

    Args:
        settings: Those that hold where the command was started.
        environ: The environment in which Terraform would run.
        folders: The named folders, absolute; none for all of interlock.yaml.
        extra: Flags for Terraform, among which `-backend-config` may be.

    Raises:
        UsageError: interlock.yaml names no root, one of them is not in this checkout, or a `depends_on` is wrong.
    """
    check_declared({name: said.depends_on for name, said in settings.states.items()}, settings.states)
    named = dict(_named(settings, environ, folders, extra) if folders else _declared(settings))
    tree, unclear = DiskTree(), {}
    modules = []
    for name, folder in named.items():
        module = read_module(tree, str(folder))
        said = settings.states.get(name)
        address, trouble = _address(folder, settings, environ, extra)
        reads = tuple(_reads(RootModule(name=name, module=module), folder, environ))
        unclear[name] = (
            *trouble,
            *(f"{read.data}: which state it reads cannot be told" for read in reads if not read.address),
        )
        modules.append(
            RootModule(
                name=name, module=module, address=address, reads=reads, depends_on=said.depends_on if said else ()
            )
        )
    folderless = () if folders else tuple(name for name, said in settings.states.items() if said.directory is None)
    return Roots(modules=tuple(modules), needs=find_needs(modules, tree), folderless=folderless, unclear=unclear)


def _declared(settings: Settings) -> Iterator[tuple[str, Path]]:
    found = [(name, said.directory) for name, said in settings.states.items() if said.directory is not None]
    if not found:
        raise UsageError(
            "interlock.yaml names no root module" if settings.path else "there is no interlock.yaml that names roots",
            why="--all means the states with a `directory` in it",
            fix=command("init") + "    or name the folders",
        )
    for name, directory in found:
        folder = directory.resolve()
        if not folder.is_dir() or not holds_configuration(folder):
            raise UsageError(
                f"the directory of state {name} holds no configuration here: {directory}",
                why="interlock.yaml says that it is the state's root module",
                fix="correct `directory` in interlock.yaml, or name the folders that are here",
            )
        yield name, folder


def _named(
    settings: Settings, environ: Mapping[str, str], folders: Sequence[Path], extra: Sequence[str]
) -> Iterator[tuple[str, Path]]:
    """Yield named folders with the name of each root: that of interlock.yaml, else that of its state."""
    for folder in folders:
        name = settings.state_for(folder)
        if name is None:
            with suppress(InterlockError):  # the run itself says why
                name = ref_of_run(folder, settings, environ, extra).queue
        yield name or folder.name, folder


def _address(
    folder: Path, settings: Settings, environ: Mapping[str, str], extra: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    try:
        return ref_of_run(folder, settings, environ, extra).address, ()
    except InterlockError as error:
        return "", (error.what,)


def _reads(root: RootModule, folder: Path, environ: Mapping[str, str]) -> Iterator[RemoteRead]:
    for site in list_sites(Root(module=root.module)):
        if site.resource.mode == "data" and site.resource.type == _READ:
            span = site.resource.block.header
            yield RemoteRead(data=site.address, address=_read_address(site, folder, environ), span=span)


def _read_address(site: Site, folder: Path, environ: Mapping[str, str]) -> str:
    body = site.resource.body
    kind = constant_text(body.get("backend"), site.scope)
    workspace = body.get("workspace")
    is_own = isinstance(workspace, Traversal) and workspace.names() == ("terraform", "workspace")
    chosen = environ.get("TF_WORKSPACE") or "default" if is_own else None
    found = find_read(kind, body, environ, site.scope, workspace=chosen) if kind else None
    address = address_of(found, folder) if found is not None else None
    own = own_state_at(address) if kind == "http" and address is not None else None
    return own_address(own) if own is not None else address or ""


# -- what a change touches --------------------------------------------------------------------------------------------


def touched_by(
    roots: Roots, change: Change, settings: Settings, extra: Sequence[str] = ()
) -> tuple[tuple[Touched, ...], tuple[str, ...]]:
    """Return the roots that a change touches, and the reads that cannot be told.

    Args:
        roots: All roots.
        change: What changed since its base.
        settings: Those of interlock.yaml.
        extra: Flags for Terraform, among which `-var-file` may be.
    """
    prints = [_footprint(root, settings, extra) for root in roots.modules]
    paths = [join(str(change.top), path) for path in change.paths]
    said = _said(roots, change, settings, paths)
    touched = find_touched(prints, paths, roots.needs, said)
    return tuple(_shown(each, change.top) for each in touched), tuple(
        f"{each.root}: {doubt}" for each in prints for doubt in each.doubts
    )


def paths_that_touch(roots: Roots, settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return by root which paths of the repository touch it, as patterns of CI files: a folder is `path/**`.

    Paths outside the repository are left out; outside a repository there are none.
    """
    found = {}
    for root in roots.modules:
        top = next(
            (f for f in (Path(root.module.path), *Path(root.module.path).parents) if (f / ".git").exists()), None
        )
        if top is not None:
            found[root.name] = tuple(_patterns(_footprint(root, settings, ()), top))
    return found


def _patterns(footprint: Footprint, top: Path) -> Iterator[str]:
    for folder in footprint.folders:
        if is_below(folder, str(top)):
            inside = Path(folder).relative_to(top).as_posix()
            yield "**/*" if inside == "." else f"{inside}/**/*"
    named = [path for path in footprint.files if Path(path).is_file()]
    for path in (*named, *footprint.patterns, str(top / "interlock.yaml")):
        if is_below(path, str(top)):
            yield Path(path).relative_to(top).as_posix()


def _shown(touched: Touched, top: Path) -> Touched:
    """Return the same with paths as they are in the repository."""
    return replace(touched, why=tuple(why.removeprefix(f"{top}/") for why in touched.why))


def _footprint(root: RootModule, settings: Settings, extra: Sequence[str]) -> Footprint:
    said = settings.states.get(root.name)
    base = settings.path.parent.resolve() if settings.path else Path.cwd()
    reads = [join(str(base), each) for each in (said.reads if said else ())]
    files = [join(root.module.path, path) for path in _var_files(extra)]
    return _with_links(footprint_of(root.name, root.module, reads, files))


def _var_files(extra: Sequence[str]) -> Iterator[str]:
    words = iter(extra)
    for word in words:
        name, equals, value = word.partition("=")
        if name.replace("--", "-", 1) == _VAR_FILE:
            yield value if equals else next(words, "")


def _with_links(footprint: Footprint) -> Footprint:
    """Add where links lead: git says what changed under the true names of files and folders."""
    folders, files = dict(footprint.folders), dict(footprint.files)
    for folder, why in footprint.folders.items():
        folders.setdefault(str(Path(folder).resolve()), why)
        with suppress(OSError):
            for entry in Path(folder).iterdir():
                if entry.is_symlink():
                    (folders if entry.is_dir() else files).setdefault(str(entry.resolve()), f"linked from {entry.name}")
    return replace(footprint, folders=folders, files=files)


def _said(roots: Roots, change: Change, settings: Settings, paths: Sequence[str]) -> dict[str, str]:
    """Return what interlock.yaml says differently of roots; nothing where it did not change."""
    file = settings.path.resolve() if settings.path else None
    if file is None or str(file) not in paths:
        return {}
    before = change.before(str(file.relative_to(change.top)))
    return differing_settings(_mapping(before), _mapping(file.read_bytes()) or {}, roots.names)


def _mapping(content: bytes | None) -> Mapping[str, object] | None:
    if content is None:
        return None
    from ruamel.yaml.error import YAMLError

    try:
        document = read_yaml(content.decode())
    except (InterlockError, YAMLError, ValueError):
        return None
    return document if isinstance(document, Mapping) else {}
