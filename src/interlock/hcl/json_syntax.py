"""JSON configuration (`.tf.json`) -> the same bodies as HCL text, with places.

Knows: JSON's grammar, and that Terraform reads its strings as templates. Knows nothing of block types.
The standard library's reader keeps no positions and nests as deep as its input, so this one is written out.
"""

from __future__ import annotations

import itertools

from interlock.bounded import read_json
from interlock.hcl.body import Body, File, Problem, body_of
from interlock.hcl.expression import Expression, ListValue, Literal, ObjectValue
from interlock.hcl.syntax import MAX_NESTING, Places, parse_template
from interlock.late_pattern import late

_TOKEN = late(
    r"""[ \t\r\n]*(?:(?P<mark>[{}\[\]:,])|(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")"""
    r"""|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>true|false|null))"""
)
_STRIDE = 1024  # characters between two known byte offsets; finding one costs at most this much
_WORDS = {"true": True, "false": False, "null": None}


def parse_json(path: str, content: bytes) -> File:
    """Read one JSON configuration file; a broken one gives a `File` with an empty body and one problem."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    reader = _JsonReader(text, Places(path, text.encode()))
    try:
        value = reader.document()
    except _Broken as broken:
        span = reader.places.span(reader.byte(broken.at), reader.byte(min(broken.at + 1, len(text))))
        empty = Body(attributes={}, nested=(), span=span, is_json=True)
        return File(path=path, content=content, body=empty, problems=(Problem(span=span, message=broken.why),))
    return File(path=path, content=content, body=body_of(value))


class _Broken(Exception):
    """The text is not JSON from character `at` on."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


class _JsonReader:
    """A reader that goes through the text once."""

    def __init__(self, text: str, places: Places) -> None:
        self._text = text
        self._at = 0
        pieces = (text[at : at + _STRIDE] for at in range(0, len(text), _STRIDE))
        self._bytes_before = [0, *itertools.accumulate(len(piece.encode()) for piece in pieces)]
        self.places = places

    def byte(self, at: int) -> int:
        """Return the byte offset of a character."""
        near = at // _STRIDE
        return self._bytes_before[near] + len(self._text[near * _STRIDE : at].encode())

    def document(self) -> ObjectValue:
        value = self._value(0)
        if not isinstance(value, ObjectValue):
            raise _Broken(0, "a JSON configuration must be one object")
        if self._text[self._at :].strip(" \t\r\n"):
            raise _Broken(self._at, "there is more after the end of the object")
        return value

    def _value(self, depth: int) -> Expression:
        if depth > MAX_NESTING:
            raise _Broken(self._at, f"values are nested more than {MAX_NESTING} deep")
        kind, word, start = self._next()
        if word == "{":
            return self._object(start, depth)
        if word == "[":
            return self._list(start, depth)
        span = self.places.span(self.byte(start), self.byte(self._at))
        match kind:
            case "text":
                return parse_template(self._string(word, start), span)
            case "number":
                return Literal(span=span, value=_number(word))
            case "word":
                return Literal(span=span, value=_WORDS[word])
            case _:
                raise _Broken(start, f'"{word}" cannot stand here')

    def _object(self, start: int, depth: int) -> ObjectValue:
        items: list[tuple[Expression, Expression]] = []
        while not self._closes("}", first=not items):
            kind, word, at = self._next()
            if kind != "text":
                raise _Broken(at, "a name in quotes must stand here")
            key = Literal(
                span=self.places.span(self.byte(at), self.byte(self._at)),
                value=self._string(word, at),
            )
            self._expect(":")
            items.append((key, self._value(depth + 1)))
        return ObjectValue(span=self.places.span(self.byte(start), self.byte(self._at)), items=tuple(items))

    def _list(self, start: int, depth: int) -> ListValue:
        items: list[Expression] = []
        while not self._closes("]", first=not items):
            items.append(self._value(depth + 1))
        return ListValue(span=self.places.span(self.byte(start), self.byte(self._at)), items=tuple(items))

    def _closes(self, mark: str, *, first: bool) -> bool:
        """Return whether the collection ends here; else take the comma that must stand before a further item."""
        before = self._at
        _, word, start = self._next()
        if word == mark:
            return True
        if first:
            self._at = before
        elif word != ",":
            raise _Broken(start, f'"," or "{mark}" must stand here')
        return False

    def _expect(self, mark: str) -> None:
        _, word, start = self._next()
        if word != mark:
            raise _Broken(start, f'"{mark}" must stand here')

    def _next(self) -> tuple[str, str, int]:
        """Take the next token: its kind, its text and where it starts."""
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            rest = self._text[self._at :]
            raise _Broken(self._at + len(rest) - len(rest.lstrip(" \t\r\n")), "this cannot be read as JSON")
        self._at = match.end()
        return match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)

    def _string(self, word: str, start: int) -> str:
        try:
            text = str(read_json(word))
        except ValueError as error:
            raise _Broken(start, "this string has an escape that JSON does not know") from error
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a pair is not a character


def _number(word: str) -> int | float:
    return float(word) if any(mark in word for mark in ".eE") else int(word[:300])
