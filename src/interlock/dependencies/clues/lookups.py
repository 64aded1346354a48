"""A data source that looks up an object which is managed here, or by another root module of the same tree."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.dependencies.clues.clue import Clue, World
from interlock.dependencies.fix import content_of, replace_span
from interlock.dependencies.graph import Edit, Kind
from interlock.dependencies.site import Site
from interlock.hcl import Reference, constant_text, references
from interlock.source.tree import Span

_NO_ARGUMENTS = frozenset({"depends_on", "provider", "count", "for_each", "lifecycle"})


def find(site: Site, world: World) -> Iterator[Clue]:
    """Yield the managed resource that a data source finds by its name."""
    if site.resource.mode != "data":
        return
    for name in site.names():
        found = world.named(name, [site.resource.type], site.root)
        if found is not None and _agrees(site, found[0]):
            target = found[0]
            yield Clue(
                source=site,
                target=target,
                kind=Kind.LOOKUP,
                evidence=f'{site.resource.key} looks up "{name}", which {target.address} creates',
                span=site.resource.block.header,
                edits=tuple(_edits(site, target)),
            )
            return


def _agrees(site: Site, target: Site) -> bool:
    """Say whether the data source's other certain arguments are those of the resource."""
    for name, attribute in site.resource.body.attributes.items():
        wanted = constant_text(attribute.value, site.scope)
        given = constant_text(target.resource.body.get(name), target.scope)
        if name not in _NO_ARGUMENTS and wanted is not None and given is not None and wanted != given:
            return False
    return True


def _edits(site: Site, target: Site) -> Iterator[Edit]:
    """Yield the edits that put the resource in the data source's place; none when more than its id is used."""
    uses = tuple(_uses(site))
    plain = not site.is_repeated and not target.is_repeated and site.chain == target.chain and site.root is target.root
    if not plain or any(use.attribute != ("id",) for use in uses):
        return
    for use in uses:
        yield replace_span(use.span, f"{target.resource.key}.id")
    yield _removal(site.resource.block.span, content_of(site.module, site.resource.block.span.path))


def _uses(site: Site) -> Iterator[Reference]:
    for file in site.module.files:
        yield from (found for found in references(file.body) if found.target == site.resource.key)


def _removal(span: Span, content: bytes) -> Edit:
    """Take a block away with its line end and the blank line behind it."""
    end = span.end
    for _ in range(2):
        for newline in (b"\r\n", b"\n"):
            if content[end : end + len(newline)] == newline:
                end += len(newline)
                break
    return Edit(path=span.path, start=span.start, end=end, text="")
