"""Shell text -> the commands in it, each with its place: enough of the grammar to find programs and their arguments.

Knows: nothing but text. It expands nothing and runs nothing; `$VAR`, `$(...)` and `${{ ... }}` stay as they are
written, and commands inside `$(...)` are found too. Text that is not shell gives fewer commands, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

MAX_TEXT = 256 * 1024  # characters of one script; what is behind is not looked at
MAX_COMMANDS = 5_000  # of one script
MAX_NESTING = 8  # of command substitutions

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_REDIRECTION = re.compile(r"\d*(?:<<<|<<-|<<|<&|<>|<|>>|>&|>\||&>>|&>|>)")
_OPERATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|[|&;()\n]")
_LOOPS = frozenset({"for", "while", "until", "select"})
_QUIET_KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "do", "{", "}", "!", "time", "esac", "coproc"})
_ALWAYS_TRUE = frozenset({"true", ":"})


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text without quotes, and where it stands in the script."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(slots=True)
class Loop:
    """A loop and whether its body waits between two rounds."""

    keyword: str
    start: int
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One simple command.

    Attributes:
        words: The program and its arguments; never empty.
        assignments: `NAME`, `value` pairs in front of it.
        after: The operator in front of it: `""`, `;`, `&&`, `||`, `|`, `&`.
        before: The operator behind it.
        loop: The innermost loop around it.
        nested: Inside `$(...)`, `(...)` or a function: not the script's own flow.
        ignored: Its failure is thrown away by `|| true`.
        last: Nothing comes behind it in the script.
    """

    words: tuple[Word, ...]
    assignments: tuple[tuple[str, str], ...] = ()
    after: str = ""
    before: str = ""
    loop: Loop | None = None
    nested: bool = False
    ignored: bool = False
    last: bool = False

    @property
    def program(self) -> str:
        """The first word."""
        return self.words[0].text

    @property
    def start(self) -> int:
        """Offset of the first word."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """Offset behind the last word."""
        return self.words[-1].end


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script's commands in order, and the signals that its traps pass on."""

    commands: tuple[Command, ...]
    forwards: frozenset[str] = field(default=frozenset())


def parse(text: str) -> Script:
    """Read a script. Total: any text gives a result."""
    commands = tuple(_commands(text[:MAX_TEXT], 0, 0))[:MAX_COMMANDS]
    return Script(commands=_with_last(commands), forwards=frozenset(_forwarded(commands)))


def _with_last(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    if not commands:
        return commands
    return (*commands[:-1], replace(commands[-1], last=not commands[-1].nested))


def _forwarded(commands: tuple[Command, ...]) -> Iterator[str]:
    """Yield the signals whose trap sends something on (`trap 'kill -INT $child' INT`)."""
    for command in commands:
        if command.program == "trap" and len(command.words) > 2 and "kill" in command.words[1].text:  # noqa: PLR2004
            yield from (word.text.upper().removeprefix("SIG") for word in command.words[2:])


@dataclass(slots=True)
class _Token:
    kind: str  # word, operator
    text: str
    start: int
    end: int
    quoted: bool = False
    inner: tuple[tuple[int, int], ...] = ()  # substitutions inside the word


class _Lexer:
    """Splits shell text into words and operators; here-documents and redirections are skipped."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._heredocs: list[tuple[str, bool]] = []

    def tokens(self) -> Iterator[_Token]:
        text = self._text
        while True:
            self._blank()
            if self._at >= len(text):
                return
            if redirection := _REDIRECTION.match(text, self._at):
                self._redirect(redirection)
            elif operator := _OPERATOR.match(text, self._at):
                yield self._operator(operator.group())
            else:
                yield self._word()

    def _blank(self) -> None:
        text, at = self._text, self._at
        while at < len(text):
            if text[at] in " \t\r":
                at += 1
            elif text.startswith("\\\n", at):
                at += 2
            elif text.startswith("\\\r\n", at):
                at += 3
            elif text[at] == "#":
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
            else:
                break
        self._at = at

    def _operator(self, operator: str) -> _Token:
        token = _Token("operator", ";" if operator == "\n" else operator, self._at, self._at + len(operator))
        self._at = token.end
        if operator == "\n":
            token.text = "\n"
            self._skip_heredocs()
        return token

    def _redirect(self, match: re.Match[str]) -> None:
        self._at = match.end()
        self._blank()
        if self._at >= len(self._text) or _OPERATOR.match(self._text, self._at):
            return
        target = self._word()
        operator = match.group().lstrip("0123456789")
        if operator in ("<<", "<<-"):
            self._heredocs.append((target.text, operator == "<<-"))

    def _skip_heredocs(self) -> None:
        for end_word, indented in self._heredocs:
            while self._at < len(self._text):
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                line = self._text[self._at : end].rstrip("\r")
                self._at = min(end + 1, len(self._text))
                if (line.lstrip("\t") if indented else line) == end_word:
                    break
        self._heredocs.clear()

    def _word(self) -> _Token:
        text, start = self._text, self._at
        parts: list[str] = []
        inner: list[tuple[int, int]] = []
        quoted = False
        while self._at < len(text):
            character = text[self._at]
            if character in " \t\r\n|&;()<>":
                break
            if character == "'":
                quoted = True
                parts.append(self._until("'", 1))
            elif character == '"':
                quoted = True
                parts.append(self._double(inner))
            elif character == "\\":
                parts.append("" if text.startswith("\\\n", self._at) else text[self._at + 1 : self._at + 2])
                self._at += 2
            elif character in "$`":
                parts.append(self._dollar(inner))
            else:
                parts.append(character)
                self._at += 1
        if self._at == start:  # a character that starts nothing, such as a lone bracket
            parts.append(text[start])
            self._at += 1
        self._at = min(self._at, len(text))
        return _Token("word", "".join(parts), start, self._at, quoted, tuple(inner))

    def _until(self, mark: str, skip: int) -> str:
        """Take everything up to `mark`; returns what is between."""
        begin = self._at + skip
        end = self._text.find(mark, begin)
        end = len(self._text) if end < 0 else end
        self._at = end + len(mark)
        return self._text[begin:end]

    def _double(self, inner: list[tuple[int, int]]) -> str:
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._text) and self._text[self._at] != '"':
            character = self._text[self._at]
            if character == "\\":
                following = self._text[self._at + 1 : self._at + 2]
                parts.append(following if following in '"\\$`' else "" if following == "\n" else "\\" + following)
                self._at += 2
            elif character in "$`":
                parts.append(self._dollar(inner))
            else:
                parts.append(character)
                self._at += 1
        self._at += 1
        return "".join(parts)

    def _dollar(self, inner: list[tuple[int, int]]) -> str:
        text, start = self._text, self._at
        if text.startswith("${{", start):
            return "${{" + self._until("}}", 3) + "}}"
        if text.startswith("$((", start):
            self._at = _closing(text, start + 1, "(", ")")
        elif text.startswith("$(", start):
            self._at = _closing(text, start + 1, "(", ")")
            inner.append((start + 2, max(start + 2, self._at - 1)))
        elif text.startswith("${", start):
            self._at = _closing(text, start + 1, "{", "}")
        elif text[start] == "`":
            self._until("`", 1)
            inner.append((start + 1, max(start + 1, min(self._at, len(text)) - 1)))
        else:
            self._at += 1
        return text[start : self._at]


def _closing(text: str, at: int, opening: str, closing: str) -> int:
    """Return the index behind the bracket that closes the one at `at`; quotes inside are respected."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
        elif character == "'" and opening == "(":
            end = text.find("'", at + 1)
            at = len(text) if end < 0 else end
        elif character == opening:
            depth += 1
        elif character == closing:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


class _Parser:
    """Groups tokens into commands and remembers what is around them."""

    def __init__(self, text: str, offset: int, nesting: int) -> None:
        self._text = text
        self._offset = offset
        self._nesting = nesting
        self._words: list[_Token] = []
        self._after = ""
        self._loops: list[Loop] = []
        self._depth = 0
        self._skip_to = ""
        self.found: list[Command] = []

    def run(self) -> list[Command]:
        for token in _Lexer(self._text).tokens():
            if len(self.found) >= MAX_COMMANDS:
                break
            self._operator(token) if token.kind == "operator" else self._word(token)
        self._finish("")
        return self.found

    def _operator(self, token: _Token) -> None:
        if token.text == "(":
            if self._words:  # `name()` declares a function
                self._words.clear()
            self._depth += 1
            return
        if token.text == ")":
            self._finish(";")
            self._depth = max(0, self._depth - 1)
            return
        self._finish(token.text)

    def _word(self, token: _Token) -> None:
        self._substitutions(token)
        if self._skip_to:
            if token.text == self._skip_to:
                self._skip_to = ""
            return
        if self._words or token.quoted or not self._keyword(token):
            self._words.append(token)

    def _keyword(self, token: _Token) -> bool:
        text = token.text
        if text in _LOOPS:
            self._loops.append(Loop(text, token.start + self._offset))
            self._skip_to = "do" if text in ("for", "select") else ""
        elif text == "done":
            if self._loops:
                self._loops.pop()
        elif text == "case":
            self._skip_to = "in"
        elif text == "function":
            self._skip_to = "{"
        elif text not in _QUIET_KEYWORDS:
            return False
        return True

    def _substitutions(self, token: _Token) -> None:
        if self._nesting >= MAX_NESTING:
            return
        for start, end in token.inner:
            for command in _commands(self._text[start:end], self._offset + start, self._nesting + 1):
                self.found.append(command)

    def _finish(self, operator: str) -> None:
        tokens, self._words = self._words, []
        assignments: list[tuple[str, str]] = []
        while tokens and (match := _ASSIGNMENT.match(tokens[0].text)):
            name = match.group().rstrip("=").rstrip("+")
            assignments.append((name, tokens.pop(0).text[match.end() :]))
        kept = "" if operator == "\n" else operator
        if not tokens:  # `a ||` at the end of a line goes on in the next one; a bare assignment is not inherited
            self._after = kept if assignments else kept or self._after
            return
        self._add(tokens, tuple(assignments), kept or ";")
        self._after = kept

    def _add(self, tokens: list[_Token], assignments: tuple[tuple[str, str], ...], operator: str) -> None:
        loop = self._loops[-1] if self._loops else None
        words = tuple(
            Word(token.text, token.start + self._offset, token.end + self._offset, token.quoted) for token in tokens
        )
        if loop is not None and words[0].text in ("sleep", "wait"):
            for around in self._loops:
                around.waits = True
        if self._after == "||" and words[0].text in _ALWAYS_TRUE and self.found:
            self._ignore_previous()
        self.found.append(
            Command(
                words=words,
                assignments=assignments,
                after=self._after,
                before=operator,
                loop=loop,
                nested=bool(self._depth or self._nesting),
            )
        )

    def _ignore_previous(self) -> None:
        self.found[-1] = replace(self.found[-1], ignored=True)


def _commands(text: str, offset: int, nesting: int) -> list[Command]:
    return _Parser(text, offset, nesting).run()
