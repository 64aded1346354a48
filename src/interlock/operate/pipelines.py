"""The pipeline that interlock.yaml describes, with what its root modules say themselves. A hand.

`interlock.ci` decides what is written; this reads folders, asks where each state is, and looks at other workflows.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.ci import find, read_all
from interlock.ci.beside import Beside, find_beside, is_generated
from interlock.ci.pipeline import Pipeline, StateFacts, read_pipeline
from interlock.dependencies.roots import graph_of
from interlock.errors import InterlockError, UsageError
from interlock.operate.roots import paths_that_touch, read_roots
from interlock.site.which import ref_of_run
from interlock.source.disk import DiskTree

if TYPE_CHECKING:
    from interlock.settings.values import Settings


def described_pipeline(settings: Settings, environ: Mapping[str, str], *, with_order: bool = False) -> Pipeline:
    """Return the pipeline that interlock.yaml describes.

    Args:
        settings: Those that hold where the command was started.
        environ: The environment in which Terraform would run.
        with_order: Also say of each root what it needs and which paths touch it, for which all of them are read.

    Raises:
        UsageError: There is nothing to deploy, a value is wrong, or roots need each other in a circle.
    """
    from interlock import __version__

    if settings.path is None:
        raise UsageError("there is no interlock.yaml here", why="it says which states a pipeline deploys", fix=_INIT)
    order = _order(settings, environ) if with_order else {}
    base = str(settings.path.parent)
    states = {
        name: StateFacts(
            directory=None if state.directory is None else posixpath.relpath(state.directory, base),
            environment=state.environment,
            locked=state.directory is not None and (state.directory / ".terraform.lock.hcl").is_file(),
            backend=_backend_of(state.directory, settings, environ),
            needs=order.get(name, ((), ()))[0],
            touched_by=order.get(name, ((), ()))[1],
        )
        for name, state in settings.states.items()
    }
    section = settings.sections.get("pipeline", {})
    return read_pipeline(section, states, server=settings.server, interlock_version=__version__)


_INIT = "interlock init"


def _backend_of(directory: Path | None, settings: Settings, environ: Mapping[str, str]) -> str:
    """Return Terraform's word for the backend of a root module; "" for our own, and for what cannot be read yet."""
    if directory is None or not directory.is_dir():
        return ""
    try:
        ref = ref_of_run(directory.resolve(), settings, environ)
    except UsageError:
        return "unknown"  # `check_states` says why
    return "" if ref.is_own else ref.found.type


def _order(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return by state what its root needs, directly or not, and which paths touch it; of roots that are here."""
    folders = [s.directory.resolve() for s in settings.states.values() if s.directory and s.directory.is_dir()]
    if len(folders) <= 1:
        return {}
    roots = read_roots(settings, environ, tuple(dict.fromkeys(folders)))
    _ = roots.waves  # a circle is refused: no pipeline could keep it
    graph = graph_of(roots.names, roots.needs)
    paths = paths_that_touch(roots, settings)
    found = {}
    for name in roots.names:
        needs = tuple(sorted(graph.all_needs(name)))
        touched = dict.fromkeys(path for one in (name, *needs) for path in paths.get(one, ()))
        found[name] = (needs, tuple(touched))
    return found


def check_states(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse what would keep runs from a state of interlock.yaml: in the generated jobs they would end with 3.

    Raises:
        UsageError: See above.
    """
    for state in settings.states.values():
        if state.directory is not None and state.directory.is_dir():
            ref_of_run(state.directory.resolve(), settings, environ).for_runs()


def absent(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the states whose root module is not in this checkout, so that nothing is known of it."""
    for name, state in settings.states.items():
        if state.directory is not None and not state.directory.is_dir():
            yield name, state.directory


def applied_beside(pipeline: Pipeline, root: Path) -> tuple[Beside, ...]:
    """Return the commands of other workflows of the repository that apply a root of this pipeline."""
    tree = DiskTree(root)
    workflows = read_all(tree, find(tree))
    texts = {}
    for path in {op.span.path for each in workflows for job in each.jobs for _, op in job.operations()}:
        with suppress(InterlockError):
            texts[path] = tree.read(path) or b""
    return tuple(find_beside(workflows, texts, [target.directory for target in pipeline.targets]))


def action_for(path: Path, text: str) -> str:
    """Say what writing means for one file: `create`, `update`, `same`, or `foreign` when somebody else wrote it."""
    try:
        present = path.read_text(errors="replace", encoding="utf-8")
    except OSError:
        return "create"
    if present == text:
        return "same"
    return "update" if is_generated(present) else "foreign"
