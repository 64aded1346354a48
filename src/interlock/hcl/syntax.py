"""HCL text -> blocks, attributes and expressions, each with its place.

Knows: the tree-sitter grammar of HCL, and where it differs from HCL itself. Knows nothing of Terraform.
A broken file gives a `File` with problems, never an exception; what could be read around the break is kept.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator

import tree_sitter_hcl
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from interlock.hcl.body import Attribute, Block, Body, Comment, File, Problem
from interlock.hcl.expression import (
    Access,
    Call,
    Comprehension,
    Conditional,
    Expression,
    Index,
    ListValue,
    Literal,
    Name,
    ObjectValue,
    Operation,
    Splat,
    Step,
    Template,
    Traversal,
    Unknown,
)
from interlock.late_pattern import late, late_bytes
from interlock.source.tree import Span

MAX_NESTING = 60  # levels of blocks or expressions; real files stay below 15, and each level costs Python's stack
MAX_PROBLEMS = 20  # per file; one missing brace can break everything behind it

_LANGUAGE = Language(tree_sitter_hcl.language())
_COMMENTS = Query(_LANGUAGE, "(comment) @comment")
_BROKEN = Query(_LANGUAGE, "[(ERROR) (MISSING)] @broken")

_EXPONENT = late_bytes(rb"(?<![\w.])(\d+)[eE]([+-]?)(?=\d)")
_ESCAPE = late(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([$%])\4\{", re.DOTALL)
_PLAIN_ESCAPE = late(r"([$%])\1\{")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_MAX_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def parse(path: str, content: bytes) -> File:
    """Read one HCL file.

    Args:
        path: The file's name, for spans.
        content: Its bytes, UTF-8; a byte order mark is allowed.
    """
    root = _parsed(content)
    reader = _Reader(path, content)
    body = reader.file_body(root)
    problems = [*_broken(root, reader), *reader.problems] if root.has_error or reader.problems else []
    return File(
        path=path,
        content=content,
        body=body,
        comments=tuple(_comments(root, reader)),
        problems=tuple(sorted(problems, key=lambda problem: problem.span.start)[:MAX_PROBLEMS]),
    )


def parse_template(text: str, span: Span) -> Expression:
    """Read the text of a JSON string as Terraform does: as a template. Every part gets the span of the whole string."""
    if "${" not in text and "%{" not in text:
        return Literal(span=span, value=text)
    quoted = '"' + _requote(text) + '"'
    content = f"x={quoted}\n".encode()
    root = _parsed(content)
    if root.has_error:
        return Unknown(span=span)
    attribute = _FixedReader(span, content).file_body(root).attributes.get("x")
    return attribute.value if attribute else Unknown(span=span)


def _parsed(content: bytes) -> Node:
    """Return the syntax tree of a text, with the offsets of that text.

    The grammar knows an exponent only behind a fraction, HCL knows it behind any digits; and one error can make the
    grammar lose the braces around it. So it is given digits in its place, as many; the reader takes what is written.
    """
    legible = _EXPONENT.sub(lambda found: found[1] + b"0" * (1 + len(found[2])), content)
    return Parser(_LANGUAGE).parse(legible).root_node


class Places:
    """Byte offsets of one text as lines and columns."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path = path
        self._content = content
        self._is_ascii = content.isascii()
        self._starts = [0, *(match.end() for match in re.finditer(rb"\n", content))]

    def span(self, start: int, end: int) -> Span:
        """Return the span of the bytes `start` to `end`."""
        starts = self._starts
        line = bisect.bisect_right(starts, start)
        same = line == len(starts) or end < starts[line]  # nearly always, and a second search costs time
        end_line = line if same else bisect.bisect_right(starts, end)
        return Span(
            path=self._path,
            start=start,
            end=end,
            line=line,
            column=self._column(line, start),
            end_line=end_line,
            end_column=self._column(end_line, end),
        )

    def _column(self, line: int, offset: int) -> int:
        begin = self._starts[line - 1]
        if self._is_ascii:
            return offset - begin + 1
        return len(self._content[begin:offset].decode("utf-8", "replace")) + 1


class _Reader:
    """Turns the nodes of one syntax tree into values."""

    def __init__(self, path: str, content: bytes) -> None:
        self._content = content
        self._places = Places(path, content)
        self.problems: list[Problem] = []

    def span(self, start: int, end: int) -> Span:
        return self._places.span(start, end)

    def file_body(self, root: Node) -> Body:
        """Return the body of the whole file. After an error the tree may have several, or none."""
        nodes = [child for child in root.children if child.type == "body"] or [root]
        return self.body([child for node in nodes for child in node.children], root.start_byte, root.end_byte, 0)

    # --- blocks and attributes

    def body(self, nodes: list[Node], start: int, end: int, depth: int) -> Body:
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        for node in nodes:
            if node.type == "attribute":
                self.add(attributes, node)
            elif node.type == "block" and depth < MAX_NESTING:
                blocks.append(self.block(node, depth + 1))
            elif node.type == "block":
                self.problems.append(self.problem(node, f"blocks are nested more than {MAX_NESTING} deep"))
        return Body(attributes=attributes, nested=tuple(blocks), span=self.span(start, end))

    def add(self, attributes: dict[str, Attribute], node: Node) -> None:
        name, value = _named(node, "identifier"), _named(node, "expression")
        if name is None or value is None:
            return
        text = self.text_of(name)
        if text in attributes:
            self.problems.append(self.problem(name, f'the argument "{text}" is set twice'))
            return
        attributes[text] = Attribute(
            name=text,
            value=self.expression(value, 0),
            span=self.span_of(node),
            name_span=self.span_of(name),
        )

    def block(self, node: Node, depth: int) -> Block:
        header: list[Node] = []
        body: list[Node] = []
        inner = [node.end_byte, node.end_byte]
        for child in node.children:
            if child.type in {"identifier", "string_lit"}:
                header.append(child)
            elif child.type == "body":
                body = child.children
            elif child.type == "block_start":
                inner[0] = child.end_byte
            elif child.type == "block_end":
                inner[1] = child.start_byte
        first, *labels = header
        return Block(
            type=self.text_of(first),
            labels=tuple(self.label(label) for label in labels),
            body=self.body(body, inner[0], inner[1], depth),
            span=self.span_of(node),
            header=self.span(first.start_byte, header[-1].end_byte),
        )

    def label(self, node: Node) -> str:
        if node.type == "identifier":
            return self.text_of(node)
        return _unescape(self.text_of(node).strip('"'))

    # --- expressions

    def expression(self, node: Node, depth: int) -> Expression:
        """Return the value of an `expression` node, or of the node inside one."""
        if depth > MAX_NESTING:
            return Unknown(span=self.span_of(node))
        if node.type == "expression":
            return self.steps(node, depth)
        reader = _READERS.get(node.type)
        return reader(self, node, depth + 1) if reader else Unknown(span=self.span_of(node))

    def steps(self, node: Node, depth: int) -> Expression:
        """Read `source step step ...`; parentheses vanish, their content stays."""
        parts = [child for child in node.children if child.type not in {"(", ")", "comment"}]
        return self.chain(parts, depth) if parts else Unknown(span=self.span_of(node))

    def chain(self, parts: list[Node], depth: int) -> Expression:
        """Read a source and the steps behind it."""
        source = self.expression(parts[0], depth + 1)
        steps: list[Step] = []
        for part in parts[1:]:
            steps.extend(self.step(part, depth + 1))
        if not steps:
            return source
        span = self.span(parts[0].start_byte, parts[-1].end_byte)
        if isinstance(source, Traversal):
            return Traversal(span=span, root=source.root, steps=(*source.steps, *steps))
        return Access(span=span, source=source, steps=tuple(steps))

    def step(self, node: Node, depth: int) -> Iterator[Step]:
        match node.type:
            case "get_attr":
                name = _named(node, "identifier")
                yield Name(name=self.text_of(name) if name else "")
            case "index":
                yield Index(key=self.index_key(node, depth))
            case "splat":
                yield Splat()
                for child in node.children:
                    for inner in child.children:
                        yield from self.step(inner, depth + 1) if depth < MAX_NESTING else ()
            case _:
                return

    def index_key(self, node: Node, depth: int) -> Expression:
        inner = node.children[0]
        if inner.type == "legacy_index":
            return Literal(span=self.span_of(inner), value=int(self.text_of(inner).strip(". ") or "0"))
        key = _named(inner, "expression")
        return self.expression(key, depth + 1) if key else Unknown(span=self.span_of(node))

    def variable(self, node: Node, _depth: int) -> Expression:
        return Traversal(span=self.span_of(node), root=self.text_of(node), steps=())

    def literal(self, node: Node, depth: int) -> Expression:
        inner = node.children[0] if node.children else node
        text = self.text_of(inner)
        match inner.type:
            case "numeric_lit":
                return self.number(inner)
            case "bool_lit":
                return Literal(span=self.span_of(node), value=text == "true")
            case "null_lit":
                return Literal(span=self.span_of(node), value=None)
            case "string_lit":
                return self.quoted(inner, depth)
            case _:
                return Unknown(span=self.span_of(node))

    def number(self, node: Node) -> Expression:
        return Literal(span=self.span_of(node), value=_number(self.text_of(node)))

    def template_expression(self, node: Node, depth: int) -> Expression:
        inner = node.children[0]
        return self.heredoc(inner, depth) if inner.type == "heredoc_template" else self.quoted(inner, depth)

    def quoted(self, node: Node, depth: int) -> Expression:
        """Read `"..."`. Text is taken by offset, since the tree leaves out blanks at its edges."""
        children = node.children
        ends = children[-1].type == "quoted_template_end" and not children[-1].is_missing
        stop = children[-1].start_byte if ends else node.end_byte
        parts = self.parts(node, children[0].end_byte, stop, depth)
        return self.joined(self.span_of(node), [(part, _unescape) for part in parts])

    def heredoc(self, node: Node, depth: int) -> Expression:
        """Read `<<EOT` or `<<-EOT`; the second loses the indentation that all its lines share."""
        marks = [child for child in node.children if child.type == "heredoc_identifier"]
        begin = self._content.find(b"\n", marks[0].end_byte) + 1 if marks else 0
        if len(marks) < 2 or begin == 0:  # noqa: PLR2004 - the opening and the closing mark
            return Unknown(span=self.span_of(node))
        stop = max(begin, self._content.rfind(b"\n", 0, marks[-1].start_byte) + 1)
        parts = self.parts(node, begin, stop, depth)
        if self._content[node.start_byte : node.start_byte + 3] == b"<<-":
            parts = _dedented(parts)
        return self.joined(self.span_of(node), [(part, _unescape_heredoc) for part in parts])

    def parts(self, node: Node, begin: int, stop: int, depth: int) -> list[tuple[int, int, str] | Expression]:
        """Return text (start, end, text) and expressions between two offsets, in order; strip marks are obeyed."""
        parts: list[tuple[int, int, str] | Expression] = []
        at, strip_next = begin, False
        for child in node.children:
            if child.type not in {"template_interpolation", "template_directive"}:
                continue
            left, right = _strips(child)
            text = self._content[at : child.start_byte].decode("utf-8", "replace")
            text = text.lstrip() if strip_next else text
            parts.append((at, child.start_byte, text.rstrip() if left else text))
            parts.append(self.embedded(child, depth + 1))
            at, strip_next = child.end_byte, right
        rest = self._content[at:stop].decode("utf-8", "replace")
        parts.append((at, stop, rest.lstrip() if strip_next else rest))
        return parts

    def embedded(self, node: Node, depth: int) -> Expression:
        inner = _named(node, "expression")
        if node.type == "template_interpolation" and inner is not None:
            return self.expression(inner, depth)
        return Unknown(span=self.span_of(node), inside=tuple(self.inside(node, depth)))

    def inside(self, node: Node, depth: int) -> Iterator[Expression]:
        """Yield the expressions of a directive, so that its references are seen."""
        if depth > MAX_NESTING:
            return
        for child in node.children:
            if child.type == "expression":
                yield self.expression(child, depth + 1)
            else:
                yield from self.inside(child, depth + 1)

    def joined(
        self, span: Span, parts: list[tuple[tuple[int, int, str] | Expression, Callable[[str], str]]]
    ) -> Expression:
        """Return one literal when there is only text, else a template without empty stretches of text."""
        if len(parts) == 1 and isinstance(parts[0][0], tuple):
            return Literal(span=span, value=parts[0][1](parts[0][0][2]))
        values: list[Expression] = []
        for part, clean in parts:
            if not isinstance(part, tuple):
                values.append(part)
            elif part[2]:
                values.append(Literal(span=self.span(part[0], part[1]), value=clean(part[2])))
        return Template(span=span, parts=tuple(values))

    def call(self, node: Node, depth: int) -> Expression:
        arguments = _named(node, "function_arguments")
        name = _named(node, "identifier")
        return Call(
            span=self.span_of(node),
            function=self.text_of(name) if name else "",
            arguments=tuple(self.expressions(arguments, depth)) if arguments else (),
        )

    def collection(self, node: Node, depth: int) -> Expression:
        inner = node.children[0]
        if inner.type == "tuple":
            return ListValue(span=self.span_of(node), items=tuple(self.expressions(inner, depth)))
        items = (self.item(child, depth) for child in inner.children if child.type == "object_elem")
        return ObjectValue(span=self.span_of(node), items=tuple(item for item in items if item))

    def item(self, node: Node, depth: int) -> tuple[Expression, Expression] | None:
        key, value = node.child_by_field_name("key"), node.child_by_field_name("val")
        if key is None or value is None:
            return None
        name = self.expression(key, depth + 1)
        if (
            isinstance(name, Traversal)
            and not name.steps
            and self._content[key.start_byte : key.start_byte + 1] != b"("
        ):
            name = Literal(span=name.span, value=name.root)
        return name, self.expression(value, depth + 1)

    def conditional(self, node: Node, depth: int) -> Expression:
        """Read `a ? b : c`. The grammar groups a chain to the left and HCL to the right, so chains are turned."""
        parts = list(self.expressions(node, depth))
        if len(parts) != 3:  # noqa: PLR2004 - condition and two results
            return Unknown(span=self.span_of(node), inside=tuple(parts))
        first = next(child for child in node.children if child.type == "expression")
        condition, yes, no = parts
        if isinstance(condition, Conditional) and self._content[first.start_byte : first.start_byte + 1] != b"(":
            head = condition
            tail_span = self.span(head.no.span.start, node.end_byte)
            no = Conditional(span=tail_span, condition=head.no, yes=yes, no=no)
            return Conditional(span=self.span_of(node), condition=head.condition, yes=head.yes, no=no)
        return Conditional(span=self.span_of(node), condition=condition, yes=yes, no=no)

    def operation(self, node: Node, depth: int) -> Expression:
        groups: list[list[Node]] = []
        operator = ""
        for child in node.children[0].children:
            if child.type in _STEPS and groups:
                groups[-1].append(child)
            elif child.is_named and child.type != "comment":
                groups.append([child])
            elif not child.is_named:
                operator = operator or child.type
        operands = tuple(self.chain(group, depth) for group in groups)
        return Operation(span=self.span_of(node), operator=operator, operands=operands)

    def comprehension(self, node: Node, depth: int) -> Expression:
        inner = node.children[0]
        intro = _named(inner, "for_intro")
        condition = _named(inner, "for_cond")
        source = _named(intro, "expression") if intro else None
        if intro is None or source is None:
            return Unknown(span=self.span_of(node))
        results = [*self.expressions(inner, depth), *(self.expressions(condition, depth) if condition else ())]
        names = tuple(self.text_of(child) for child in intro.children if child.type == "identifier")
        return Comprehension(
            span=self.span_of(node), names=names, source=self.expression(source, depth + 1), results=tuple(results)
        )

    def expressions(self, node: Node, depth: int) -> Iterator[Expression]:
        for child in node.children:
            if child.type == "expression":
                yield self.expression(child, depth + 1)

    # --- places

    def span_of(self, node: Node) -> Span:
        return self.span(node.start_byte, node.end_byte)

    def text_of(self, node: Node) -> str:
        return self._content[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def first_line(self, node: Node) -> Span:
        """Return the part of a node's span that lies on its first line."""
        stop = self._content.find(b"\n", node.start_byte, node.end_byte)
        return self.span(node.start_byte, node.end_byte if stop < 0 else stop)

    def problem(self, node: Node, message: str) -> Problem:
        return Problem(span=self.span_of(node), message=message)


class _FixedReader(_Reader):
    """A reader of a made-up text: everything is at the one place from which the text was taken."""

    def __init__(self, span: Span, content: bytes) -> None:
        super().__init__(span.path, content)
        self._fixed = span

    def span(self, start: int, end: int) -> Span:
        del start, end
        return self._fixed


_READERS: dict[str, Callable[[_Reader, Node, int], Expression]] = {
    "literal_value": _Reader.literal,
    "string_lit": _Reader.quoted,
    "template_expr": _Reader.template_expression,
    "variable_expr": _Reader.variable,
    "function_call": _Reader.call,
    "collection_value": _Reader.collection,
    "conditional": _Reader.conditional,
    "operation": _Reader.operation,
    "for_expr": _Reader.comprehension,
}


def _named(node: Node, kind: str) -> Node | None:
    return next((child for child in node.children if child.type == kind), None)


def _comments(root: Node, reader: _Reader) -> Iterator[Comment]:
    for node in QueryCursor(_COMMENTS).captures(root).get("comment", []):
        yield Comment(text=reader.text_of(node), span=reader.span_of(node))


def _broken(root: Node, reader: _Reader) -> Iterator[Problem]:
    """Yield what the parser could not read, each stretch once: the outermost error of a nest."""
    if not root.has_error:
        return
    if root.type == "ERROR":
        last_read = root.children[-1] if root.children else root
        yield reader.problem(last_read, "from here on the file cannot be read as HCL")
        return
    end = -1
    nodes = QueryCursor(_BROKEN).captures(root).get("broken", [])
    for node in sorted(nodes, key=lambda node: (node.start_byte, -node.end_byte))[: MAX_PROBLEMS * 4]:
        if node.start_byte < end:
            continue
        end = node.end_byte
        yield _complaint(node, reader)


def _complaint(node: Node, reader: _Reader) -> Problem:
    """Say what is wrong at a node. What was never closed is shown where it was opened, as Terraform does."""
    if not node.is_missing:
        return reader.problem(node, "this cannot be read as HCL")
    what = _MISSING.get(node.type)
    if what is None:
        return reader.problem(node, "a value is missing here")
    opening = node
    while opening.parent is not None and opening.start_byte == node.start_byte:
        opening = opening.parent
    return Problem(span=reader.first_line(opening), message=f"{what} is missing for what begins here")


_STEPS = frozenset({"get_attr", "index", "splat"})
"""Nodes that stand behind their source, beside it and not inside."""

_MISSING = {
    "}": "the closing brace",
    "]": "the closing bracket",
    ")": "the closing parenthesis",
    "quoted_template_end": "the closing quote",
    "template_interpolation_end": "the closing brace of an interpolation",
    "heredoc_identifier": "the closing mark of the heredoc",
}


def _strips(node: Node) -> tuple[bool, bool]:
    """Return whether an interpolation or directive strips the blanks before and behind it (`${~`, `~}`)."""
    text = node.text or b""
    return text[2:3] == b"~", text[-2:-1] == b"~"


def _dedented(parts: list[tuple[int, int, str] | Expression]) -> list[tuple[int, int, str] | Expression]:
    """Remove the indentation shared by all lines. Only text at the start of a line counts, as in HCL."""
    indents: list[int] = []
    for position, part in enumerate(parts):
        if isinstance(part, tuple):
            lines = part[2].split("\n")
            starts = lines if position == 0 else lines[1:]
            last = position == len(parts) - 1
            indents.extend(
                len(line) - len(line.lstrip(" \t"))
                for index, line in enumerate(starts)
                if line.strip() or (not last and index == len(starts) - 1)
            )
    cut = min(indents, default=0)
    return [
        _cut(part, cut, first=position == 0) if isinstance(part, tuple) else part for position, part in enumerate(parts)
    ]


def _cut(part: tuple[int, int, str], cut: int, *, first: bool) -> tuple[int, int, str]:
    head, *rest = part[2].split("\n")
    lines = [head[cut:] if first else head, *(line[cut:] for line in rest)]
    return (part[0], part[1], "\n".join(lines))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_escaped, text) if "\\" in text or "{" in text else text


def _unescape_heredoc(text: str) -> str:
    return _PLAIN_ESCAPE.sub(r"\1{", text)


def _escaped(match: re.Match[str]) -> str:
    short, long, plain, mark = match.groups()
    if mark:
        return f"{mark}{{"
    if plain:
        return _ESCAPED.get(plain, plain)
    code = int(short or long, 16)
    return chr(code) if code <= _MAX_CODE_POINT and code not in _SURROGATES else "�"


def _requote(text: str) -> str:
    """Escape text for HCL quotes, leaving what stands inside `${...}` and `%{...}` as it is."""
    pieces, depth, at = [], 0, 0
    while at < len(text):
        if depth == 0 and text[at] in "$%" and text[at + 1 : at + 2] == "{":
            escaped = text[at - 1 : at] == text[at] if at else False
            depth = 0 if escaped else 1
            pieces.append(text[at : at + 2])
            at += 2
            continue
        if depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            pieces.append(text[at])
        else:
            pieces.append({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(text[at], text[at]))
        at += 1
    return "".join(pieces)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return 0
