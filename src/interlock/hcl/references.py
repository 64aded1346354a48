"""What a configuration's parts name: the edges that Terraform itself sees.

Knows: resources, variables, locals, outputs, module calls, and how one names another. Knows no reference tables.
A node is spelled as Terraform spells it, with its module path in front: `module.m.genesyscloud_user.ada`,
`module.m.var.pool`, `module.m.local.x`, `module.m.output.id`, `module.m.provider.genesyscloud`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from interlock.hcl.body import Block, Body, expressions
from interlock.hcl.expression import (
    Call,
    Conditional,
    Expression,
    Index,
    ListValue,
    Literal,
    Name,
    ObjectValue,
    Traversal,
    traversals,
)
from interlock.hcl.module import Module, ModuleCall, Resource
from interlock.source.tree import Span

_NO_NODE = frozenset({"each", "count", "path", "terraform", "self", "null", "true", "false", ""})
_COLLECTING = frozenset(
    {"toset", "tolist", "concat", "distinct", "sort", "compact", "flatten", "setunion", "reverse", "coalescelist"}
)
_AFTERWARDS = ("provisioner.", "connection.")
"""Parts of a resource that are read when it exists already, so they may name it."""

_PAIR = 2
_TRIPLE = 3


class Reference(Struct, frozen=True, kw_only=True):
    """One place in a body that names another part of the same module.

    Attributes:
        target: What is named, as other blocks name it: `type.name`, `data.type.name`, `module.m`, `var.v`, `local.l`.
        attribute: The names behind it, up to the first index: `("id",)`.
        path: Where it stands in the body, dots between nested blocks.
        span: The place of the traversal.
    """

    target: str
    attribute: tuple[str, ...]
    path: str
    span: Span


class Edge(Struct, frozen=True, kw_only=True):
    """`source` needs `target`, because of what stands at `span`.

    Attributes:
        input: The argument at which it stands, of a body.
        output: The output of a module that it names.
    """

    source: str
    target: str
    span: Span
    input: str = ""
    output: str = ""


def target_of(traversal: Traversal) -> tuple[str, tuple[str, ...]] | None:
    """Return what a traversal names and the names behind it; None for `each`, `count`, `path` and bare words."""
    names = _names(traversal)
    size = _TRIPLE if traversal.root in {"data", "ephemeral"} else _PAIR
    if traversal.root in _NO_NODE or len(names) < size:
        return None
    return ".".join(names[:size]), names[size:]


def references(body: Body) -> Iterator[Reference]:
    """Yield everything that a body names, nested blocks included; `depends_on` too."""
    for path, value in expressions(body):
        for traversal in traversals(value):
            found = target_of(traversal)
            if found is not None:
                yield Reference(target=found[0], attribute=found[1], path=path, span=traversal.span)


def find_values(body: Body, path: str) -> Iterator[Expression]:
    """Yield the values at a dotted path: through nested blocks, `dynamic` blocks, objects and lists of objects.

    A path may end in `.*`, which stands for every member of a map. Lists of plain values are yielded whole.
    """
    head, _, rest = path.partition(".")
    attribute = body.get(head)
    if attribute is not None:
        yield from _inside(attribute, rest)
    for block in body.nested:
        if rest and _holds(block, head):
            content = block.body.block("content") if block.type == "dynamic" else block
            if content is not None:
                yield from find_values(content.body, rest)


def elements(value: Expression) -> Iterator[Expression]:
    """Yield the single values that an expression may stand for: of lists, of both results of `?:`."""
    pending = [value]
    while pending:
        current = pending.pop()
        match current:
            case ListValue():
                pending.extend(reversed(current.items))
            case Conditional():
                pending.extend((current.no, current.yes))
            case Call() if current.function in _COLLECTING:
                pending.extend(reversed(current.arguments))
            case _:
                yield current


def edges(module: Module, prefix: str = "", *, through_unread: bool = True) -> Iterator[Edge]:
    """Yield every edge that Terraform sees in a module and the local modules below it.

    Args:
        module: The root module, or one below it.
        prefix: The module path of its nodes with a final dot; empty for the root.
        through_unread: A module that could not be read is one node, `module.x`, so that what uses an output of it needs
            everything that it is given: right for an order, since it may be so. Without it each input and output of
            such a module is a node of its own: right for cycles, which must be certain.
    """
    for edge in _whole_edges(module, prefix):
        yield from (edge,) if through_unread else _split(edge, module, prefix)
    for call in module.calls:
        if call.module is not None:
            yield from edges(call.module, f"{prefix}module.{call.name}.", through_unread=through_unread)


def _whole_edges(module: Module, prefix: str) -> Iterator[Edge]:
    for resource in module.resources:
        yield from _resource_edges(module, resource, prefix)
    for name, item in module.locals.items():
        yield from _value_edges(module, f"local.{name}", item.value, prefix)
    for output in module.outputs.values():
        if output.value is not None:
            yield from _value_edges(module, f"output.{output.name}", output.value, prefix)
    for provider in module.providers:
        yield from _body_edges(module, f"provider.{provider.key}", provider.block.body, prefix)
    for call in module.calls:
        yield from _call_edges(module, call, prefix)


def _resource_edges(module: Module, resource: Resource, prefix: str) -> Iterator[Edge]:
    yield from _body_edges(module, resource.key, resource.body, prefix)
    wanted = resource.provider or resource.type.partition("_")[0]
    if any(provider.key == wanted for provider in module.providers):
        span = resource.block.header
        yield Edge(source=prefix + resource.key, target=f"{prefix}provider.{wanted}", span=span)


def _body_edges(module: Module, source: str, body: Body, prefix: str) -> Iterator[Edge]:
    for reference in references(body):
        own = reference.target == source and reference.path.startswith(_AFTERWARDS)
        if not own and not _is_static(reference.path):
            yield from _edge(module, source, reference, prefix)


def _value_edges(module: Module, source: str, value: Expression, prefix: str) -> Iterator[Edge]:
    for traversal in traversals(value):
        found = target_of(traversal)
        if found is not None:
            reference = Reference(target=found[0], attribute=found[1], path="", span=traversal.span)
            yield from _edge(module, source, reference, prefix)


def _edge(module: Module, source: str, reference: Reference, prefix: str) -> Iterator[Edge]:
    """Yield the edges of one reference; one to a whole module goes to all of its outputs."""
    if not reference.target.startswith("module."):
        place = reference.path.partition(".")[0]
        yield Edge(source=prefix + source, target=prefix + reference.target, span=reference.span, input=place)
        return
    name = reference.target.removeprefix("module.")
    call = next((call for call in module.calls if call.name == name), None)
    inner = call.module if call is not None else None
    if inner is None:
        yield Edge(
            source=prefix + source,
            target=prefix + reference.target,
            span=reference.span,
            input=reference.path.partition(".")[0],
            output="".join(reference.attribute[:1]),
        )
        return
    outputs = [item for item in reference.attribute[:1] if item in inner.outputs] or list(inner.outputs)
    for output in outputs:
        yield Edge(source=prefix + source, target=f"{prefix}{reference.target}.output.{output}", span=reference.span)


def _call_edges(module: Module, call: ModuleCall, prefix: str) -> Iterator[Edge]:
    node = f"module.{call.name}"
    if call.module is None:
        yield from _body_edges(module, node, call.block.body, prefix)
        return
    inside = f"{prefix}{node}."
    for attribute in call.block.body.attributes.values():
        if attribute.name in call.module.variables:
            yield from _value_edges(module, f"{node}.var.{attribute.name}", attribute.value, prefix)
    for traversal in call.depends_on:
        found = target_of(traversal)
        if found is not None:
            for resource in call.module.resources:
                yield Edge(source=inside + resource.key, target=prefix + found[0], span=traversal.span)


_EVERY_INSTANCE = frozenset({"count", "for_each", "depends_on"})
"""Arguments of a module call on which everything in the module depends; on any other, only what uses that input."""


def _split(edge: Edge, module: Module, prefix: str) -> Iterator[Edge]:
    """Yield an edge with the ends at unread modules put to one input or output of them."""
    unread = {f"{prefix}module.{call.name}" for call in module.calls if call.module is None}
    source, target = edge.source, edge.target
    if source in unread and edge.input not in _EVERY_INSTANCE:
        source = f"{source}.input.{edge.input}"
    if target in unread:
        whole = edge.input == "depends_on"
        node = f"{target}.whole" if whole else f"{target}.output.{edge.output or '*'}"
        yield Edge(source=node, target=target, span=edge.span)
        if whole:
            yield from _everything_given(module, target, prefix)
        target = node
    yield replace(edge, source=source, target=target)


def _everything_given(module: Module, node: str, prefix: str) -> Iterator[Edge]:
    """Yield that a module as a whole needs its inputs: `depends_on` of it waits for all that is in it."""
    for call in module.calls:
        if f"{prefix}module.{call.name}" == node:
            for name, attribute in call.block.body.attributes.items():
                if name not in _EVERY_INSTANCE:
                    yield Edge(source=f"{node}.whole", target=f"{node}.input.{name}", span=attribute.span)


def _is_static(path: str) -> bool:
    """Say whether names at this path are not references: `provider`, `lifecycle` lists of attribute names."""
    return path == "provider" or path in {"lifecycle.ignore_changes", "providers"}


def _names(traversal: Traversal) -> tuple[str, ...]:
    """Return the root and its names; an index behind the name of a resource or module is passed over."""
    names = [traversal.root]
    for step in traversal.steps:
        if isinstance(step, Name):
            names.append(step.name)
        elif not (isinstance(step, Index) and len(names) > 1):
            break
    return tuple(names)


def _holds(block: Block, kind: str) -> bool:
    return block.type == kind or (block.type == "dynamic" and block.labels[:1] == (kind,))


def _inside(value: Expression, rest: str) -> Iterator[Expression]:
    if not rest:
        yield value
        return
    head, _, tail = rest.partition(".")
    for item in elements(value):
        if isinstance(item, ObjectValue):
            for key, member in item.items:
                if head == "*" or (isinstance(key, Literal) and key.value == head):
                    yield from _inside(member, tail)
