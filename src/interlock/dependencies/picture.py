"""The graph as Mermaid, DOT, SVG and one self-contained HTML page.

The picture has one column for each wave; inside a column related nodes stand near each other, so that 500 nodes can be
read. Hidden dependencies are red and dashed. Nothing in it is fetched from anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from interlock.amounts import amount
from interlock.dependencies.graph import Edge, Graph, Node
from interlock.foreign_text import one_line

MAX_MERMAID_EDGES: Final = 500  # renderers refuse more by default
_COLUMN_PX: Final = 360
_ROW_PX: Final = 26
_BOX_PX: Final = (250, 20)
_MARGIN_PX: Final = 24
_TOP_PX: Final = 44  # the legend stands above
_SWEEPS: Final = 6  # passes that move related nodes together
_MAX_LABEL: Final = 38
_LEGEND: Final = (
    "What is needed stands left of what needs it. Red and dashed: Terraform does not see it. Dashed box: a data source."
)
_SVG_HEAD: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
 width="{width}" height="{height}" font-family="sans-serif" font-size="11">
<style>.e{{fill:none;stroke:#9aa4ad;stroke-width:1}}.h{{fill:none;stroke:#c0392b;stroke-width:1.6;stroke-dasharray:5 3}}
.n rect{{fill:#fff;stroke-width:1.4}}.dim{{opacity:.08}}</style>"""
_COLOURS: Final = ("#2f6f9f", "#4f8a3c", "#8a5a9e", "#b0702a", "#3a8f8a", "#9a4f5f", "#5f6f8f", "#7f7f3f")


def mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart; hidden edges are dotted and carry their kind. Beyond its limit edges are left out."""
    names = {name: f"n{place}" for place, name in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[name]}["{_mermaid_text(name)}"]' for name in graph.nodes]
    edges = sorted(_pairs(graph), key=lambda edge: not edge.hidden)
    for edge in edges[:MAX_MERMAID_EDGES]:
        arrow = f"-. {edge.kind.value} .->" if edge.hidden else "-->"
        lines.append(f"  {names[edge.source]} {arrow} {names[edge.target]}")
    if len(edges) > MAX_MERMAID_EDGES:
        lines.append(f"  %% {len(edges) - MAX_MERMAID_EDGES} further edges are not drawn")
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return a Graphviz document."""
    lines = ["digraph dependencies {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif", fontsize=10];']
    lines += [f"  {_quoted(name)} [color={_quoted(colour_of(node.type))}];" for name, node in graph.nodes.items()]
    for edge in _pairs(graph):
        style = f' [style=dashed, color="#c0392b", label={_quoted(edge.kind.value)}]' if edge.hidden else ""
        lines.append(f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def svg(graph: Graph) -> str:
    """Return a picture that stands alone; hovering shows names and evidence."""
    places = _layout(graph)
    width = _MARGIN_PX * 2 + _COLUMN_PX * (1 + max((column for column, _ in places.values()), default=0))
    height = _TOP_PX + _MARGIN_PX + _ROW_PX * (1 + max((row for _, row in places.values()), default=0))
    parts = [
        _SVG_HEAD.format(width=width, height=height),
        f'<rect width="{width}" height="{height}" fill="#fbfbfa"/>',
        f'<text x="{_MARGIN_PX}" y="26" fill="#555">{_LEGEND}</text>',
        *_drawn_edges(graph, places),
        *(_drawn_node(node, places[name]) for name, node in graph.nodes.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def html(graph: Graph, *, title: str = "Dependencies") -> str:
    """Return one page: the picture with search, zoom by scrolling, and a list of the hidden dependencies."""
    hidden = "".join(_row(edge) for edge in graph.hidden)
    listed = (
        f"<table><tr><th>needs</th><th>kind</th><th>evidence</th><th>fix</th></tr>{hidden}</table>"
        if hidden
        else "<p>No hidden dependencies.</p>"
    )
    links = json.dumps([[edge.source, edge.target] for edge in _pairs(graph)]).replace("<", "\\u003c")
    return _PAGE.format(
        title=escape(title),
        counted=amount(len(graph.nodes), "resource"),
        hidden_counted=amount(len(graph.hidden), "hidden dependency", "hidden dependencies"),
        svg=svg(graph),
        listed=listed,
        links=links,
    )


def colour_of(kind: str) -> str:
    """Return the colour of a resource type; the same type always has the same one."""
    return _COLOURS[sum(map(ord, kind)) % len(_COLOURS)]


def _pairs(graph: Graph) -> tuple[Edge, ...]:
    """Return one edge for each pair, a seen one where there is one."""
    pairs: dict[tuple[str, str], Edge] = {}
    for edge in sorted(graph.edges, key=lambda edge: edge.hidden):
        pairs.setdefault((edge.source, edge.target), edge)
    return tuple(pairs.values())


def _layout(graph: Graph) -> Mapping[str, tuple[int, int]]:
    """Return column and row of each node. Rows follow the mean row of the neighbours, swept to and fro."""
    columns = [sorted(wave, key=lambda name: (graph.nodes[name].type, name)) for wave in graph.waves()]
    rows = {name: float(row) for column in columns for row, name in enumerate(column)}
    for sweep in range(_SWEEPS):
        order = columns if sweep % 2 == 0 else columns[::-1]
        for column in order:
            wanted = {name: _mean_row(graph, name, rows) for name in column}
            column.sort(key=lambda name: (wanted[name], name))
            rows.update((name, float(row)) for row, name in enumerate(column))
    return _settled(graph, columns)


def _settled(graph: Graph, columns: Sequence[Sequence[str]]) -> Mapping[str, tuple[int, int]]:
    """Spread shorter columns over the height of the tallest, each node as near to what it needs as its order allows."""
    height = max((len(column) for column in columns), default=0)
    places: dict[str, tuple[int, int]] = {}
    for place, column in enumerate(columns):
        rows = {name: row for name, (_, row) in places.items()}
        wanted = [_wanted_row(graph, name, rows, fallback=row) for row, name in enumerate(column)]
        chosen: list[int] = []
        for row in wanted:
            chosen.append(max(row, chosen[-1] + 1 if chosen else 0))
        for index in range(len(chosen) - 1, -1, -1):
            chosen[index] = min(chosen[index], height - len(chosen) + index)
        places.update((name, (place, row)) for name, row in zip(column, chosen, strict=True))
    return places


def _wanted_row(graph: Graph, name: str, rows: Mapping[str, int], *, fallback: int) -> int:
    needed = [rows[need] for need in graph.needs(name) if need in rows]
    return round(sum(needed) / len(needed)) if needed else fallback


def _mean_row(graph: Graph, name: str, rows: Mapping[str, float]) -> float:
    around = [rows[other] for other in (*graph.needs(name), *graph.needed_by(name))]
    return sum(around) / len(around) if around else rows[name]


def _drawn_edges(graph: Graph, places: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for edge in _pairs(graph):
        (column, row), (other_column, other_row) = places[edge.target], places[edge.source]
        start = (_MARGIN_PX + column * _COLUMN_PX + _BOX_PX[0], _TOP_PX + row * _ROW_PX + _BOX_PX[1] / 2)
        end = (_MARGIN_PX + other_column * _COLUMN_PX, _TOP_PX + other_row * _ROW_PX + _BOX_PX[1] / 2)
        bend = max(40.0, abs(end[0] - start[0]) / 2)
        path = f"M{start[0]} {start[1]}C{start[0] + bend:g} {start[1]} {end[0] - bend:g} {end[1]} {end[0]} {end[1]}"
        style = "h" if edge.hidden else "e"
        said = escape(f"{edge.source} needs {edge.target}: {edge.evidence}")
        yield (
            f'<path class="{style}" data-s="{escape(edge.source)}" data-t="{escape(edge.target)}" d="{path}">'
            f"<title>{said}</title></path>"
        )


def _drawn_node(node: Node, place: tuple[int, int]) -> str:
    left, top = _MARGIN_PX + place[0] * _COLUMN_PX, _TOP_PX + place[1] * _ROW_PX
    colour = colour_of(node.type)
    label = _short(node)
    dashes = ' stroke-dasharray="3 2"' if node.mode != "managed" else ""
    return (
        f'<g class="n" data-n="{escape(node.id)}"><title>{escape(node.id)}</title>'
        f'<rect x="{left}" y="{top}" width="{_BOX_PX[0]}" height="{_BOX_PX[1]}" rx="4" stroke="{colour}"{dashes}/>'
        f'<text x="{left + 8}" y="{top + 14}" fill="#222">{escape(label)}</text></g>'
    )


def _short(node: Node) -> str:
    """Return a label that fits: without the provider's prefix, the middle left out."""
    text = re.sub(r"(^|\.)genesyscloud_", r"\1", node.address)
    half = (_MAX_LABEL - 1) // 2
    return text if len(text) <= _MAX_LABEL else f"{text[:half]}…{text[-half:]}"


def _row(edge: Edge) -> str:
    advice = edge.fix.advice if edge.fix is not None else ""
    cells: Sequence[str] = (f"{edge.source} → {edge.target}", edge.kind.value, edge.evidence, advice)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _mermaid_text(text: str) -> str:
    """Return a text as Mermaid shows it: not as HTML, which its labels may hold, nor as its own Markdown."""
    return one_line(text).translate(_MERMAID_SPELLED)


def _quoted(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_MERMAID_SPELLED: Final = str.maketrans(
    {'"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "#": "#35;", "`": "#96;"}
)

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body{{margin:0;font:13px sans-serif;color:#222}}
header{{padding:8px 16px;border-bottom:1px solid #ddd}}
#view{{height:70vh;overflow:hidden;cursor:grab;background:#fbfbfa}}#view svg{{width:100%;height:100%}}
section{{padding:8px 16px}}table{{border-collapse:collapse}}
td,th{{border:1px solid #ddd;padding:3px 6px;text-align:left}}
input{{margin-left:12px;padding:3px 6px;width:260px}}.dim{{opacity:.08}}
</style></head><body>
<header><b>{title}</b>: {counted}, {hidden_counted}
<input id="find" placeholder="find a resource" aria-label="find a resource"></header>
<div id="view">{svg}</div>
<section><h2>Hidden dependencies</h2>{listed}</section>
<script>
const links={links};
const svg=document.querySelector("#view svg"),box=svg.viewBox.baseVal;
const nodes=[...svg.querySelectorAll("[data-n]")],paths=[...svg.querySelectorAll("[data-s]")];
function show(keep){{nodes.forEach(n=>n.classList.toggle("dim",!!keep&&!keep.has(n.dataset.n)));
paths.forEach(p=>p.classList.toggle("dim",!!keep&&!(keep.has(p.dataset.s)&&keep.has(p.dataset.t))));}}
function around(name){{const keep=new Set([name]);
for(const [down,up] of [[0,1],[1,0]]){{const todo=[name];while(todo.length){{const at=todo.pop();
for(const l of links)if(l[down]===at&&!keep.has(l[up])){{keep.add(l[up]);todo.push(l[up]);}}}}}}
return keep;}}
nodes.forEach(n=>{{n.style.cursor="pointer";n.addEventListener("click",e=>{{show(around(n.dataset.n));e.stopPropagation();}});}});
svg.addEventListener("click",()=>show(null));
document.getElementById("find").addEventListener("input",e=>{{const text=e.target.value;
show(text?new Set(nodes.map(n=>n.dataset.n).filter(n=>n.includes(text))):null);}});
svg.addEventListener("wheel",e=>{{e.preventDefault();const k=e.deltaY>0?1.15:1/1.15,r=svg.getBoundingClientRect();
const fx=(e.clientX-r.left)/r.width,fy=(e.clientY-r.top)/r.height;
box.x+=box.width*fx*(1-k);box.y+=box.height*fy*(1-k);box.width*=k;box.height*=k;}},{{passive:false}});
let held=null;svg.addEventListener("pointerdown",e=>{{held=[e.clientX,e.clientY];}});
window.addEventListener("pointerup",()=>{{held=null;}});
window.addEventListener("pointermove",e=>{{if(!held)return;const r=svg.getBoundingClientRect();
const scale=Math.max(box.width/r.width,box.height/r.height);
box.x-=(e.clientX-held[0])*scale;box.y-=(e.clientY-held[1])*scale;held=[e.clientX,e.clientY];}});
</script></body></html>
"""
