"""Edits of HCL text that keep everything around them: indentation, comments, blank lines.

Knows: bodies and their spans, bytes of the file. Knows nothing of rules.
"""

from __future__ import annotations

from interlock.hcl import Attribute, Block, Body
from interlock.lint.finding import Edit
from interlock.source.tree import Span


def replace(span: Span, text: str) -> Edit:
    """Return the edit that puts `text` in a span's place."""
    return Edit(path=span.path, start=span.start, end=span.end, text=text)


def remove_lines(span: Span, content: bytes) -> Edit:
    """Return the edit that takes a span's whole lines away, when nothing else stands on them; else only the span.

    A comment behind the span on its last line goes with it: it speaks of what is removed. So does the blank line
    before, where it would be left over at the end of a block or beside another one.
    """
    start = content.rfind(b"\n", 0, span.start) + 1
    stop = content.find(b"\n", span.end)
    stop = len(content) if stop < 0 else stop + 1
    rest = content[span.end : stop].strip()
    if content[start : span.start].strip() or (rest and not rest.startswith((b"#", b"//"))):
        return Edit(path=span.path, start=span.start, end=span.end, text="")
    return Edit(path=span.path, start=_without_blank_line(content, start, stop), end=stop, text="")


def add_attribute(body: Body, line: str, content: bytes) -> Edit | None:
    """Return the edit that adds one line behind the last attribute of a body, indented like it.

    None when the body has no attribute on a line of its own to stand behind, as in `backend "s3" {}`.
    """
    last = max(body.attributes.values(), key=lambda attribute: attribute.span.end, default=None)
    if last is None:
        return None
    begin = content.rfind(b"\n", 0, last.span.start) + 1
    indent = content[begin : last.span.start]
    stop = content.find(b"\n", last.span.end)
    if indent.strip() or stop < 0 or b"}" in content[last.span.end : stop].split(b"#")[0]:
        return None
    newline = "\r\n" if content[stop - 1 : stop] == b"\r" else "\n"
    text = f"{indent.decode('utf-8', 'replace')}{_aligned(last, line, content)}{newline}"
    return Edit(path=last.span.path, start=stop + 1, end=stop + 1, text=text)


def add_to_block(block: Block, lines: str, content: bytes) -> Edit | None:
    """Return the edit that adds lines before the closing brace of a block that ends on a line of its own."""
    brace = block.span.end - 1
    begin = content.rfind(b"\n", 0, brace) + 1
    indent = content[begin:brace]
    if content[brace : brace + 1] != b"}" or indent.strip() or begin <= block.header.end:
        return None
    inner = indent.decode("utf-8", "replace") + "  "
    newline = "\r\n" if content[begin - 2 : begin] == b"\r\n" else "\n"
    text = "".join(f"{inner}{line}{newline}" if line else newline for line in lines.split("\n"))
    return Edit(path=block.span.path, start=begin, end=begin, text=text)


def _without_blank_line(content: bytes, start: int, stop: int) -> int:
    """Return where a removal should begin that has no use for the blank line before it."""
    before = content.rfind(b"\n", 0, max(start - 1, 0)) + 1
    end = content.find(b"\n", stop)
    following = content[stop : len(content) if end < 0 else end].strip()
    is_blank = start > 0 and not content[before:start].strip()
    return before if is_blank and following in {b"", b"}"} else start


def _aligned(neighbour: Attribute, line: str, content: bytes) -> str:
    """Return `name = value` with its `=` under the neighbour's, when the name is short enough."""
    name, _, value = line.partition(" = ")
    equals = content.find(b"=", neighbour.name_span.end, neighbour.value.span.start)
    width = equals - neighbour.name_span.start - 1
    return f"{name.ljust(width)} = {value}" if value and equals > 0 else line
