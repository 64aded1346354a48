"""The matrix as a table: operations, and for each the objects that a fault may hit.

A cell is an operation and a fault. A configuration `before` is applied; then the fault is set; then the operation is
done with the configuration `after`. An operation names, for each fault, the objects that it hits; a fault that it does
not name cannot happen to it (a destroy creates nothing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

NONE, GONE, CREATE, UPDATE, DELETE = "none", "gone", "create", "update", "delete"
FAULTS = (NONE, GONE, CREATE, UPDATE, DELETE)
"""Nothing; the object was deleted outside Terraform; its creation, update or deletion fails."""

APPLY, DESTROY, SAVED, REFRESH_ONLY = "apply", "destroy", "saved", "refresh-only"
"""How the operation is done. For `SAVED` the fault comes after the plan; `REFRESH_ONLY` applies such a saved plan."""


def item(label: str, name: str = "", content: str = "1", kind: str = "", more: str = "") -> str:
    """Spell one object."""
    lines = [f'  name = "{name or label}"', f'  content = "{content}"', f'  kind = "{kind}"' if kind else "", more]
    return "\n".join([f'resource "shelf_item" "{label}" {{', *filter(None, lines), "}", ""])


def moved(source: str, target: str) -> str:
    """Spell a `moved` block."""
    return f"moved {{\n  from = {source}\n  to   = {target}\n}}\n"


def removed(source: str, *, destroy: bool) -> str:
    """Spell a `removed` block."""
    return f"removed {{\n  from = {source}\n  lifecycle {{\n    destroy = {str(destroy).lower()}\n  }}\n}}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row.

    Attributes:
        name: For the table.
        before: What is applied first.
        after: The configuration of the operation.
        hits: Fault to the names of the objects that it hits.
        way: How it is done.
        words: Terraform's own flags.
        modules: Name to content of module folders, of both configurations.
        deposed: Before the operation, one object is replaced and the deletion of the old one fails.
        older: The state says that an older version of the provider wrote it.
        lying: Objects that lie on the shelf, to be imported.
        forgotten: Names of objects that stay on the shelf and leave the state.
    """

    name: str
    before: str
    after: str
    hits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    way: str = APPLY
    words: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    deposed: str = ""
    older: bool = False
    lying: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


_LOOK = 'data "shelf_look" "l" {}\noutput "seen" {\n  value = data.shelf_look.l.seen\n}\n'
_FIRST = "  lifecycle {\n    create_before_destroy = true\n  }"
_IN_MODULE = {"inner": item("a", more="").replace('content = "1"', "content = var.content") + 'variable "content" {}\n'}
_CALL = 'module "m" {\n  source  = "./inner"\n  content = "2"\n}\n'
_USE_MODULE = (
    'terraform {\n  required_providers {\n    shelf = {\n      source = "shelf.test/stand/shelf"\n    }\n  }\n}\n'
)


def _many(how: str, name: str, content: str = "1") -> str:
    return f'resource "shelf_item" "c" {{\n  {how}\n  name    = {name}\n  content = "{content}"\n}}\n'


_COUNT = _many("count = 2", '"c${count.index}"')
_EACH = _many('for_each = toset(["c0", "c2"])', "each.key")
_CHECK = (
    'check "c" {\n  assert {\n    condition     = shelf_item.a.content == "%s"\n    error_message = "odd"\n  }\n}\n'
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="destroy",
        before=item("a") + item("b", more="  depends_on = [shelf_item.a]") + _LOOK,
        after=item("a") + item("b", more="  depends_on = [shelf_item.a]") + _LOOK,
        way=DESTROY,
        hits={GONE: ("a",), DELETE: ("b",)},
    ),
    Operation(
        name="destroy, all gone",
        before=item("a") + item("b"),
        after=item("a") + item("b"),
        way=DESTROY,
        hits={GONE: ("a", "b")},
    ),
    Operation(
        name="apply",
        before=item("a") + item("b") + item("x"),
        after=item("a", content="2") + item("b") + item("c"),
        hits={GONE: ("a", "x"), CREATE: ("c",), UPDATE: ("a",), DELETE: ("x",)},
    ),
    Operation(
        name="apply, block removed",
        before=item("a") + item("x"),
        after=item("a"),
        hits={GONE: ("x",), DELETE: ("x",)},
    ),
    Operation(
        name="-refresh-only",
        before=item("a") + item("b"),
        after=item("a") + item("b"),
        way=REFRESH_ONLY,
        hits={GONE: ("a",)},
    ),
    Operation(
        name="-target",
        before=item("a") + item("b"),
        after=item("a", content="2") + item("b", content="2"),
        words=("-target=shelf_item.a",),
        hits={GONE: ("a", "b"), UPDATE: ("a",)},
    ),
    Operation(
        name="-replace",
        before=item("a") + item("b"),
        after=item("a") + item("b"),
        words=("-replace=shelf_item.a",),
        hits={GONE: ("b",), CREATE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="saved plan",
        before=item("a") + item("x"),
        after=item("a", content="2") + item("c"),
        way=SAVED,
        hits={GONE: ("a", "x"), CREATE: ("c",), UPDATE: ("a",), DELETE: ("x",)},
    ),
    Operation(
        name="moved",
        before=item("a") + item("b"),
        after=moved("shelf_item.a", "shelf_item.z") + item("z", name="a", content="2") + item("b"),
        hits={GONE: ("a",), UPDATE: ("a",)},
    ),
    Operation(
        name="moved, nothing else",
        before=item("a") + item("b"),
        after=moved("shelf_item.a", "shelf_item.z") + item("z", name="a") + item("b"),
        hits={GONE: ("a",)},
    ),
    Operation(
        name="moved and destroy",
        before=item("a") + item("b"),
        after=moved("shelf_item.a", "shelf_item.z") + item("z", name="a") + item("b"),
        way=DESTROY,
        hits={GONE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="removed",
        before=item("a") + item("b"),
        after=removed("shelf_item.a", destroy=True) + item("b"),
        hits={GONE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="forget",
        before=item("a") + item("b"),
        after=removed("shelf_item.a", destroy=False) + item("b", content="2"),
        hits={GONE: ("a",), UPDATE: ("b",)},
        forgotten=("a",),
    ),
    Operation(
        name="import",
        before=item("b"),
        after='import {\n  to = shelf_item.i\n  id = "i-0"\n}\n' + item("i", content="2") + item("b"),
        lying=("i-0",),
        hits={GONE: ("b",), UPDATE: ("i",)},
    ),
    Operation(
        name="count to for_each",
        before=_COUNT,
        after=moved("shelf_item.c[0]", 'shelf_item.c["c0"]') + _EACH,
        hits={GONE: ("c0", "c1"), CREATE: ("c2",), DELETE: ("c1",)},
    ),
    Operation(
        name="for_each to count",
        before=_EACH,
        after=moved('shelf_item.c["c0"]', "shelf_item.c[0]") + _COUNT,
        hits={GONE: ("c0", "c2"), CREATE: ("c1",), DELETE: ("c2",)},
    ),
    Operation(
        name="into a module",
        before=item("a") + item("b"),
        after=moved("shelf_item.a", "module.m.shelf_item.a") + _CALL + item("b"),
        modules={"inner": _USE_MODULE + _IN_MODULE["inner"]},
        hits={GONE: ("a",), UPDATE: ("a",)},
    ),
    Operation(
        name="module renamed, destroy",
        before=_CALL + item("b"),
        after=moved("module.m", "module.n") + _CALL.replace('"m"', '"n"') + item("b"),
        modules={"inner": _USE_MODULE + _IN_MODULE["inner"]},
        way=DESTROY,
        hits={GONE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="create_before_destroy",
        before=item("a", kind="1", more=_FIRST) + item("b"),
        after=item("a", kind="2", more=_FIRST) + item("b"),
        hits={GONE: ("a",), CREATE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="deposed",
        before=item("a", kind="1", more=_FIRST) + item("b"),
        after=item("a", kind="2", content="2", more=_FIRST) + item("b"),
        deposed="a",
        hits={GONE: ("deposed",), UPDATE: ("a",), DELETE: ("a",)},
    ),
    Operation(
        name="deposed and destroy",
        before=item("a", kind="1", more=_FIRST) + item("b"),
        after=item("a", kind="2", more=_FIRST) + item("b"),
        deposed="a",
        way=DESTROY,
        hits={GONE: ("deposed",), DELETE: ("a",)},
    ),
    Operation(
        name="data source",
        before=item("a") + _LOOK,
        after=item("a") + 'data "shelf_look" "other" {}\n' + item("c"),
        hits={GONE: ("a",), CREATE: ("c",)},
    ),
    Operation(
        name="outputs only",
        before=item("a") + 'output "o" {\n  value = "1"\n}\n',
        after=item("a") + 'output "o" {\n  value = "2"\n}\n',
        hits={GONE: ("a",)},
    ),
    Operation(
        name="provider upgraded",
        before=item("a") + item("b"),
        after=item("a", content="2") + item("b"),
        older=True,
        hits={GONE: ("b",), UPDATE: ("a",)},
    ),
    Operation(
        name="check blocks",
        before=item("a") + _CHECK % "1",
        after=item("a", content="2") + _CHECK % "3",
        hits={GONE: ("a",), UPDATE: ("a",)},
    ),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation under one fault."""

    operation: Operation
    fault: str

    def __str__(self) -> str:
        return f"{self.operation.name} × {self.fault}"

    @property
    def hit(self) -> tuple[str, ...]:
        """Names of the objects that the fault hits."""
        return self.operation.hits.get(self.fault, ())


def cells() -> Iterator[Cell]:
    """Yield every cell that can happen."""
    for operation in OPERATIONS:
        for fault in FAULTS:
            if fault == NONE or fault in operation.hits:
                yield Cell(operation, fault)


def cell(name: str) -> Cell:
    """Return the cell that is spelled so."""
    return next(one for one in cells() if str(one) == name)
