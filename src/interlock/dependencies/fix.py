"""The edits that make a hidden dependency visible to Terraform, the rest of the file kept byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from interlock.dependencies.graph import Edge, Edit
from interlock.hcl import Attribute, Block, ListValue, Module
from interlock.source.tree import Span

_BRACE: Final = b"}"


def replace_span(span: Span, text: str) -> Edit:
    """Return the edit that puts an expression in the place of another one."""
    return Edit(path=span.path, start=span.start, end=span.end, text=text)


def add_depends_on(module: Module, block: Block, target: str) -> tuple[Edit, ...]:
    """Return the edit that adds `target` to a block's `depends_on`; nothing when the block is not written that way."""
    content = content_of(module, block.span.path)
    present = block.body.attributes.get("depends_on")
    if block.body.is_json or not content:
        return ()
    edit = _extend(present, target) if present is not None else _append(block, f"depends_on = [{target}]", content)
    return (edit,) if edit is not None else ()


def content_of(module: Module, path: str) -> bytes:
    """Return the content of one of a module's files; empty when it has no such file."""
    return next((file.content for file in module.files if file.path == path), b"")


def _extend(present: Attribute, target: str) -> Edit | None:
    if not isinstance(present.value, ListValue) or not present.value.items:
        return None
    end = present.value.items[-1].span.end
    return Edit(path=present.span.path, start=end, end=end, text=f", {target}")


def _append(block: Block, line: str, content: bytes) -> Edit | None:
    """Add a line of its own before the closing brace, indented like the block's other lines."""
    brace = block.span.end - 1
    if content[brace : brace + 1] != _BRACE:
        return None
    begin = content.rfind(b"\n", 0, brace) + 1
    newline = "\r\n" if content[begin - 2 : begin] == b"\r\n" else "\n"
    indent = content[begin:brace].decode("utf-8", "replace")
    if begin > block.header.end and not indent.strip():
        blank = newline if block.body.attributes or block.body.nested else ""
        return Edit(path=block.span.path, start=begin, end=begin, text=f"{blank}{indent}  {line}{newline}")
    return _open_up(block, line, content)


def _open_up(block: Block, line: str, content: bytes) -> Edit | None:
    """Spread a block on one line (`resource "a" "b" { x = 1 }`) over several."""
    start = content.find(b"{", block.header.end) + 1
    brace = block.span.end - 1
    inner = content[start:brace].decode("utf-8", "replace").strip()
    if not start or "\n" in inner or "#" in inner or "//" in inner:
        return None
    body = f"  {inner}\n\n" if inner else ""
    return Edit(path=block.span.path, start=start, end=brace, text=f"\n{body}  {line}\n")


def apply_fixes(texts: Mapping[str, bytes], edges: Iterable[Edge]) -> tuple[dict[str, bytes], tuple[Edge, ...]]:
    """Make the edits of hidden edges.

    Args:
        texts: The files' contents by path.
        edges: Edges with a fix. Of two that touch the same bytes the first one wins; trace again for the other.

    Returns:
        The files that change, and the edges whose edits were made.
    """
    taken: dict[str, list[Edit]] = {}
    done: list[Edge] = []
    for edge in edges:
        edits = edge.fix.edits if edge.fix is not None else ()
        if edits and all(edit.path in texts and _is_new(edit, taken.get(edit.path, [])) for edit in edits):
            done.append(edge)
            for edit in edits:
                taken.setdefault(edit.path, []).append(edit)
    changed = {path: _applied(texts[path], edits) for path, edits in taken.items()}
    return {path: text for path, text in changed.items() if text != texts[path]}, tuple(done)


def _is_new(edit: Edit, others: Iterable[Edit]) -> bool:
    return all(edit.start != other.start and (edit.end <= other.start or other.end <= edit.start) for other in others)


def _applied(content: bytes, edits: Iterable[Edit]) -> bytes:
    result, place = bytearray(), 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        result += content[place : edit.start] + edit.text.encode()
        place = edit.end
    return bytes(result + content[place:])
