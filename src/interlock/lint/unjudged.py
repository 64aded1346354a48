"""What a lint did not look at: things that the files use and that are not among them.

"No findings" means something only for what was read. Knows: sources, reports.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.amounts import amount
from interlock.ci.workflow import Elsewhere, Unread
from interlock.hcl import constant_text
from interlock.lint.report import NotJudged
from interlock.lint.rule import Sources
from interlock.source.tree import Span

_SENTENCES = {
    Elsewhere.WORKFLOW: ("job calls a workflow that is not here", "jobs call a workflow that is not here"),
    Elsewhere.TEMPLATE: ("job or step calls a remote template", "jobs and steps call a remote template"),
    Elsewhere.EXTENDS: ("job extends one that was not read", "jobs extend one that was not read"),
    Elsewhere.INCLUDE: ("included file is elsewhere", "included files are elsewhere"),
    Elsewhere.ACTION: ("step uses a local action that is not here", "steps use a local action that is not here"),
    Elsewhere.SCRIPT: ("step runs a script that is not here", "steps run a script that is not here"),
}
_MODULES = ("module call leads elsewhere", "module calls lead elsewhere")


def not_judged(sources: Sources) -> tuple[NotJudged, ...]:
    """Return what the sources use and do not hold, one entry a kind, in a stable order."""
    unread = [item for workflow in sources.workflows for item in workflow.unread]
    found = [_of_kind(kind, [item for item in unread if item.kind is kind]) for kind in Elsewhere]
    modules = tuple(sorted(set(_modules(sources)), key=lambda place: (place[1].order(), place[0])))
    if sources.generated_by:
        found.append(_generated(sources))
    if modules:
        found.append(NotJudged(kind="remote-module", what=_counted(len(modules), _MODULES), places=modules))
    return tuple(one for one in found if one is not None)


def _generated(sources: Sources) -> NotJudged | None:
    """Return the root modules whose backend another program writes, as far as they have none of their own."""
    bare = [module for module in sources.modules if module.backend is None and (module.providers or module.settings)]
    places = [
        (module.path, (module.settings[0] if module.settings else module.providers[0].block).header) for module in bare
    ]
    what = f"{_counted(len(bare), _BARE)} {sources.generated_by}"
    return NotJudged(kind="generated-backend", what=what, places=tuple(places)) if bare else None


_BARE = ("root module gets its backend from", "root modules get their backend from")


def _of_kind(kind: Elsewhere, items: list[Unread]) -> NotJudged | None:
    places = {(item.name, item.span) for item in items}
    if not places:
        return None
    ordered = tuple(sorted(places, key=lambda place: (place[1].order(), place[0])))
    return NotJudged(kind=kind.value, what=_counted(len(ordered), _SENTENCES[kind]), places=ordered)


def _counted(count: int, spelled: tuple[str, str]) -> str:
    return amount(count, *spelled)


def _modules(sources: Sources) -> Iterator[tuple[str, Span]]:
    for module in sources.all_modules():
        for call in module.calls:
            if call.module is None:
                yield constant_text(call.block.body.get("source")) or call.name, call.block.header
