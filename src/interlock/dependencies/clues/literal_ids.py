"""An id written by hand: in an attribute, a local value, a variable's default, or an argument of a module."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.dependencies.clues.clue import ID, Clue, World
from interlock.dependencies.graph import Kind
from interlock.dependencies.inventory import Thing
from interlock.dependencies.site import Site
from interlock.hcl import Expression, Literal, Template, Traversal, constant_text, expressions, walk
from interlock.source.tree import Span


def find(site: Site, world: World) -> Iterator[Clue]:
    """Yield ids in a resource that belong to a managed object."""
    for path, value in expressions(site.resource.body):
        inside = {id(part) for item in walk(value) if isinstance(item, Template) for part in item.parts}
        for item in walk(value):
            yield from _of_item(site, world, path, item, is_whole=id(item) not in inside)


def _of_item(site: Site, world: World, path: str, item: Expression, *, is_whole: bool) -> Iterator[Clue]:
    if isinstance(item, Literal) and isinstance(item.value, str):
        for match in ID.finditer(item.value):
            found = world.owner(match[0], site.root)
            if found is not None:
                whole = is_whole and match[0] == item.value
                yield _clue(site, found, item.span, f"{path} holds the id", whole=whole)
    elif isinstance(item, Traversal) and item.root in {"var", "local"}:
        text = constant_text(item, site.scope) or ""
        found = world.owner(text, site.root) if ID.fullmatch(text) else None
        if found is not None:
            yield _of_input(site, item, path, found)


def _clue(site: Site, found: tuple[Site, Thing], span: Span, evidence: str, *, whole: bool) -> Clue:
    target, thing = found
    return Clue(
        source=site,
        target=target,
        kind=Kind.LITERAL_ID,
        evidence=f"{evidence} {thing.id} of {thing.address}",
        span=span,
        written=target.expression("id", thing) if whole else "",
    )


def _of_input(site: Site, item: Traversal, path: str, found: tuple[Site, Thing]) -> Clue:
    """A local or variable holds the id. Passed into a module, the place to change is the argument of the call."""
    target, thing = found
    name = ".".join(item.names()[:2])
    argument = _argument(site, item)
    if argument is None:
        return _clue(site, found, item.span, f"{path} is {name}, which holds the id", whole=True)
    return Clue(
        source=site,
        target=target,
        kind=Kind.MODULE_INPUT,
        evidence=f"module.{site.chain[-1][1].name} is given the id {thing.id} of {thing.address} as {item.names()[1]}",
        span=argument.span,
        written=target.expression("id", thing),
    )


def _argument(site: Site, item: Traversal) -> Literal | None:
    """Return the literal argument of the call that a variable was given, when there is one."""
    if item.root != "var" or not site.chain:
        return None
    attribute = site.chain[-1][1].block.body.attributes.get(item.names()[1])
    return attribute.value if attribute is not None and isinstance(attribute.value, Literal) else None
