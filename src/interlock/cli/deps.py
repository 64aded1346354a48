"""`interlock deps`: the real dependency graph, with what Terraform cannot see."""

from __future__ import annotations

import enum
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.errors import UsageError, reason_of
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from interlock.dependencies import Edge, Graph, Impact, Inventory, Order, Root
    from interlock.hcl import Module
    from interlock.source.disk import DiskTree
    from interlock.source.tree import Span
    from interlock.terraform.plan import PlanDocument

app = typer.Typer()

MAX_FIX_ROUNDS: Final = 20  # two fixes in one block are made one after the other
_LOCAL_STATE: Final = "terraform.tfstate"
_SHOWN: Final = 12  # members of a wave that are listed by name


class Format(enum.StrEnum):
    """How the graph is printed."""

    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    HTML = "html"


@app.command()
def deps(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR…]", help="Root modules; the current folder by default.")
    ] = None,
    *,
    state_file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="State file of each root, in the same order; DIR/terraform.tfstate is found automatically.",
        ),
    ] = None,
    plan: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Plan of each root, in the same order, as terraform show -json prints it."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the missing references into the files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: only say what would be written.")] = False,
    impact: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Show what needs this resource.")] = None,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=50, help="Tokens that the provider holds.")
    ] = None,
    rate: Annotated[int | None, typer.Option(metavar="N", min=1, help="API calls per token and minute.")] = None,
) -> None:
    """Show what needs what, also where Terraform cannot see it: literal ids, names, lookups, flow files, number pools.

    Each hidden dependency comes with its evidence and the reference or depends_on that fixes it.
    """
    from interlock.dependencies import Budget, plan_order

    job = _Job(folders or [Path()], state_file or [], plan or [])
    if fix:
        job.fix(dry_run=dry_run)
    graph = job.graph()
    if impact is not None:
        _show_impact(graph, impact, json=json or output is Format.JSON)
        return
    default = Budget()
    budget = Budget(tokens=tokens or job.tokens() or default.tokens, per_min=rate or default.per_min)
    _print(graph, plan_order(graph, budget), Format.JSON if json else output, out)


class _Job:
    """The roots on disk; read anew after each round of fixes."""

    def __init__(self, folders: Sequence[Path], states: Sequence[Path], plans: Sequence[Path]) -> None:
        from interlock.source.disk import DiskTree

        if len(states) > len(folders) or len(plans) > len(folders):
            raise UsageError("there are more states or plans than root modules", fix="give one for each DIR, in order")
        self._tree: DiskTree = DiskTree()
        self._folders = folders
        self._inventories = [
            _inventory(folder, _at(states, place), _at(plans, place)) for place, folder in enumerate(folders)
        ]
        self._plans = [_read_plan(path) if (path := _at(plans, place)) else None for place in range(len(folders))]

    def roots(self) -> list[Root]:
        from interlock.dependencies import Root
        from interlock.hcl import read_module

        roots = []
        for place, folder in enumerate(self._folders):
            module = read_module(self._tree, folder.as_posix())
            _check(module, folder)
            roots.append(Root(module=module, inventory=self._inventories[place], plan=self._plans[place]))
        return roots

    def graph(self) -> Graph:
        from interlock.dependencies import trace

        return trace(self.roots(), self._tree)

    def tokens(self) -> int | None:
        """Return the `token_pool_size` that the first root's provider sets for certain."""
        from interlock.hcl import constant_number
        from interlock.run.gateway_access.provider_settings import local_names

        module = self.roots()[0].module
        names = local_names(module)
        for provider in module.providers:
            size = constant_number(provider.block.body.get("token_pool_size"), module.scope)
            if provider.name in names and size is not None and size >= 1:
                return int(size)
        return None

    def fix(self, *, dry_run: bool) -> None:
        """Write the fixes, round by round, until none is left that can be written."""
        from interlock.dependencies import apply_fixes, trace
        from interlock.source.disk import replace_file

        tried: set[tuple[str, str]] = set()
        for _ in range(MAX_FIX_ROUNDS):
            roots = self.roots()
            modules = [module for root in roots for module in root.module.walk()]
            texts = {file.path: file.content for module in modules for file in module.files}
            left = [edge for edge in trace(roots, self._tree).hidden if (edge.source, edge.target) not in tried]
            changed, done = apply_fixes(texts, left)
            for edge in done:
                tried.add((edge.source, edge.target))
                advice = edge.fix.advice if edge.fix is not None else ""
                view.note(f"{'would fix' if dry_run else 'fixed'} {_where(edge.span)}: {advice}")
            if dry_run or not changed:
                return
            for path, content in changed.items():
                replace_file(path, content)


def _at(paths: Sequence[Path], place: int) -> Path | None:
    return paths[place] if place < len(paths) else None


def _check(module: Module, folder: Path) -> None:
    if not module.files and not module.problems:
        raise UsageError(f"{folder} holds no Terraform configuration", fix="name the folder of a root module")
    for problem in dict.fromkeys(module.problems):
        view.note(f"warning: {_where(problem.span)}: {problem.message}; what could be read is shown")


def _inventory(folder: Path, state: Path | None, plan: Path | None) -> Inventory:
    from interlock.dependencies import EMPTY, from_plan_json, from_state
    from interlock.state import parse_content

    local = folder / _LOCAL_STATE
    if state is None and plan is None and local.is_file() and local.stat().st_size:
        state = local
    if state is not None:
        return from_state(parse_content(_read(state), str(state)))
    return from_plan_json(_read(plan)) if plan is not None else EMPTY


def _read_plan(path: Path) -> PlanDocument | None:
    from interlock.terraform.plan import parse_plan

    return parse_plan(_read(path))


def _read(path: Path) -> bytes:
    from interlock.terraform.plan import MAX_PLAN_BYTES

    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(MAX_PLAN_BYTES + 1)
        with path.open("rb") as stream:
            return stream.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or "", fix="name a readable file") from error


def _print(graph: Graph, order: Order, output: Format, out: Path | None) -> None:
    from interlock.dependencies import picture

    match output:
        case Format.MERMAID:
            text = picture.mermaid(graph)
        case Format.DOT:
            text = picture.dot(graph)
        case Format.SVG:
            text = picture.svg(graph)
        case Format.HTML:
            text = picture.html(graph)
        case Format.JSON:
            text = view.as_json(_document(graph, order)) + "\n"
        case Format.TEXT:
            text = view.fit(_text(graph, order)) if out is None else _text(graph, order)
    _deliver(text, out)


def _deliver(text: str, out: Path | None) -> None:
    if out is None:
        view.document(text)
        return
    from interlock.source.disk import SHARED, write_file

    try:
        write_file(out, text.encode(), SHARED)
    except OSError as error:
        why = reason_of(error)
        raise UsageError(f"{out} could not be written", why=why, fix=f"ls -ld {shlex.quote(str(out))}") from error
    view.note(f"wrote {out}")


def _document(graph: Graph, order: Order) -> dict[str, object]:
    from interlock.dependencies import find_races

    return {
        "nodes": [
            {
                "id": node.id,
                "address": node.address,
                "root": node.root,
                "mode": node.mode,
                "type": node.type,
                "instances": node.instances,
                "actions": list(node.actions),
                **_place(node.span),
            }
            for node in graph.nodes.values()
        ],
        "edges": [_edge(edge) for edge in graph.edges],
        "cycles": [list(cycle) for cycle in graph.cycles()],
        "races": [{"first": race.first, "second": race.second, "why": race.why} for race in find_races(graph)],
        "order": {
            "waves": [list(wave) for wave in order.waves],
            "critical_path": list(order.critical_path),
            "critical_s": round(order.critical_s, 2),
            "calls": order.calls,
            "parallelism": order.parallelism,
            "expected_s": round(order.expected_s, 2),
            "from_plan": order.has_plan,
        },
    }


def _edge(edge: Edge) -> dict[str, object]:
    return {
        "source": edge.source,
        "target": edge.target,
        "kind": edge.kind.value,
        "hidden": edge.hidden,
        "evidence": edge.evidence,
        "fix": edge.fix.advice if edge.fix is not None else None,
        "fixable": bool(edge.fix is not None and edge.fix.edits),
        **_place(edge.span),
    }


def _place(span: Span | None) -> dict[str, object]:
    return {} if span is None else {"path": span.path, "line": span.line, "column": span.column}


def _where(span: Span | None) -> str:
    return "" if span is None else f"{span.path}:{span.line}:{span.column}"


def _text(graph: Graph, order: Order) -> str:
    shown, edges = amount(len(graph.nodes), "resource"), amount(len(graph.edges), "dependency", "dependencies")
    lines = [f"{shown}, {edges}, {len(graph.hidden)} of them hidden", ""]
    for edge in graph.hidden:
        lines += [
            f"hidden ({edge.kind.value}): {edge.source} needs {edge.target}",
            f"  at      {_where(edge.span)}",
            f"  because {edge.evidence}",
            f"  fix     {edge.fix.advice if edge.fix is not None else ''}",
            "",
        ]
    for cycle in graph.cycles():
        lines += _cycle_text(graph, cycle)
    lines += _order_text(order)
    return "\n".join(map(one_line, lines)) + "\n"  # evidence quotes the configuration


def _cycle_text(graph: Graph, cycle: tuple[str, ...]) -> list[str]:
    lines = [f"circle of {len(cycle)}: {' -> '.join((*cycle, cycle[0]))}"]
    for source, target in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
        edge = next(iter(graph.between(source, target)), None)
        if edge is not None:
            lines.append(f"  {_where(edge.span)}: {edge.evidence}")
    return [*lines, ""]


def _order_text(order: Order) -> list[str]:
    what = "of this plan" if order.has_plan else "when everything is created"
    lines = [f"order of work {what}:"]
    for number, wave in enumerate(order.waves, start=1):
        more = f" and {len(wave) - _SHOWN} more" if len(wave) > _SHOWN else ""
        lines.append(f"  wave {number:<3} {len(wave):>5}  {', '.join(wave[:_SHOWN])}{more}")
    path = " -> ".join(order.critical_path)
    return [
        *lines,
        f"critical path  {view.duration(order.critical_s)}  {path}",
        f"API calls      about {order.calls}",
        f"-parallelism   {order.parallelism} fits the budget, then about {view.duration(order.expected_s)}",
    ]


def _show_impact(graph: Graph, name: str, *, json: bool) -> None:
    from interlock.dependencies import find_impact

    if name not in graph.nodes:
        import difflib

        near = difflib.get_close_matches(name, graph.nodes, n=1)
        raise UsageError(
            f"there is no resource {name}",
            why=f"the nearest is {near[0]}" if near else "",
            fix="name it as `interlock deps --json` spells it in nodes[].id",
        )
    found = find_impact(graph, name)
    view.emit(_impact_document(found), json=json, human=lambda: _impact_text(found))


def _impact_document(found: Impact) -> dict[str, object]:
    return {
        "resource": found.node,
        "warning": found.warning,
        "affected": [
            {"resource": each.node, "silent": each.is_silent, "via": [_edge(edge) for edge in each.via]}
            for each in found.affected
        ],
    }


def _impact_text(found: Impact) -> None:
    view.say(f"{amount(len(found.affected), 'resource needs', 'resources need')} {found.node}")
    if found.warning:
        view.say(f"  careful: {found.warning}")
    for each in found.affected:
        silent = "  (Terraform does not see this)" if each.is_silent else ""
        way = " <- ".join((found.node, *(edge.source for edge in reversed(each.via))))
        view.say(f"  {way}{silent}")
