r"""Text that others wrote, made fit to show: to a person, to a terminal, to a CI runner, to Markdown, to a chat.

Who holds a lock, what an API answers, how a file or a resource is called: all of that is somebody else's words, and a
state is shared by people who need not trust each other. Shown raw, such words clear a screen, write to a clipboard
(OSC 52), turn text around (bidi marks), put a line of their own below ours, or give a command to the CI runner that
reads our log. So each writer passes what it shows through here, and what cannot be seen is written as an escape:
`\u202e`.

- A space of any kind is a space. Emoji, accents and all scripts stay, also the joiners that they need.
- What a CI runner takes for a command keeps its look and loses its meaning: `#\x23vso[`, `:\x3aerror`. Where they look:
  GitHub for `::name` at the beginning of a line, after any white space, and for `##[name]` anywhere (actions/runner,
  ActionCommand.cs); Azure for `##vso[` anywhere (azure-pipelines-agent, Command.cs); TeamCity for `##teamcity[`;
  GitLab for `section_start:` and `section_end:`.
- The same function twice is the same as once.

Pure.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from typing import Final

from interlock.late_pattern import late

LINE_CHARS: Final = 8000  # of one line; longer than a command that we print, and than most paths
CELL_CHARS: Final = 300  # of a table's cell: one long one would push all others out of the window
TEXT_CHARS: Final = 64_000  # of a message of several lines

# Shown as nothing, though Unicode counts them as letters, marks or symbols: fillers, a blank pattern, selectors of
# variants (which carry hidden data) but the two that choose between text and emoji.
_BLANK: Final = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef"
_BLANKS: Final = late(f"[{_BLANK}]")
_CANDIDATE: Final = late(r"[^\x20-\x7e]")
_JSON_CANDIDATE: Final = late(r"[^\x20-\x7e\n]")
_ZWNJ, _ZWJ = "\u200c", "\u200d"
_PLAIN: Final = "\x1b[0m"
_COLOUR: Final = late(r"\x1b\[[0-9;]{0,40}m")
_COMMAND: Final = late(r"##(?=\[|[a-z]{1,40}\[)|section_(?=(?:start|end):)", re.IGNORECASE)
_AT_START: Final = late(r"\A(\s*)::")


def one_line(text: object, *, limit: int = LINE_CHARS) -> str:
    r"""Return a text as one line without anything that steers a terminal, hides itself, or commands a CI runner.

    Args:
        text: Anything; its `str` is taken.
        limit: Characters that are shown at most; of a longer text it is said how long it is.
    """
    written = str(text)
    shown = _without_commands(_visible(written[: limit + 1]))
    if len(shown) <= limit:
        return shown
    cut = f"… (cut, {len(written)} characters)"
    return shown[: limit - len(cut)] + cut


def many_lines(text: str, *, limit: int | None = TEXT_CHARS, colours: bool = False) -> str:
    """Return a text of several lines, each made as `one_line` makes it: for what Terraform prints.

    Args:
        text: Its line ends are kept; those of Windows become ours.
        limit: Characters in all; None for a text that must be shown whole, such as a plan to be approved.
        colours: Keep colours. Only for a terminal, and only for text that we painted: Terraform runs with -no-color,
            so a colour in what it prints is a provider's or a resource's.
    """
    cut = f"\n… ({len(text) - limit} more characters)" if limit is not None and len(text) > limit else ""
    if not cut and "::" not in text and _is_visible(text.replace("\n", "")) and not _may_command(text):
        return text  # a state of 20 MB has a million lines, and nearly none has anything to hide
    line = _coloured if colours else _shown
    return "\n".join(map(line, text[:limit].replace("\r\n", "\n").split("\n"))) + cut


def indented(text: str, by: str) -> str:
    """Return a text whose lines after the first begin with `by`: none of them stands where a line of ours would."""
    return many_lines(text.strip()).replace("\n", f"\n{by}")


def safe_json(document: str) -> str:
    """Return a JSON text of the same value, in which nothing is hidden and nothing is a CI runner's command."""
    if not _is_visible(document.replace("\n", "")):
        document = _JSON_CANDIDATE.sub(_json_escape, document)
    if not _may_command(document):
        return document
    return _COMMAND.sub(lambda found: f"{found[0][:-1]}\\u{ord(found[0][-1]):04x}", document)


def shell_word(word: str) -> str:
    r"""Return one word as a shell needs it, on one line, whatever is in it: `'two words'`, `$'line\nend'`.

    `$'…'` is understood by bash, zsh, ksh and POSIX shells since 2024; in others it is a wrong name, nothing worse.
    """
    if one_line(word, limit=len(word)) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_shell_escape, word)).replace("##", r"#\x23") + "'"


def code_span(text: object, *, limit: int = LINE_CHARS, in_table: bool = False) -> str:
    """Return foreign text as Markdown code: no mention, link, image, HTML or reference in it comes to life.

    A backslash would not do: GitHub looks for `@team` and `#1` after it has taken the backslashes away.

    Args:
        text: Shown as one line.
        limit: Characters that are shown.
        in_table: The text stands in a cell of a table.
    """
    shown = one_line(text, limit=limit)
    if in_table:  # a backslash before a bar would take the meaning of the one that we put there
        shown = shown.replace("|", r"\x7c" if "\\" in shown else r"\|")
    if not shown.strip():
        return ""
    fence = "`" * (_longest_run(shown, "`") + 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_block(text: str) -> str:
    """Return text of several lines as a block of Markdown code that nothing in the text can end.

    A line that begins with a slash gets a space: GitLab reads `/approve` as a command to the merge request.
    """
    shown = re.sub(r"^(\s{0,3})/", r"\1 /", many_lines(text, limit=None).strip("\n"), flags=re.MULTILINE)
    fence = "`" * max(4, _longest_run(shown, "`") + 1)
    return f"{fence}\n{shown}\n{fence}"


def in_chat(text: object, *, limit: int = 2000) -> str:
    """Return foreign text for a chat, without `<!channel>`, `<@person>` and links of Slack or Teams."""
    shown = one_line(text, limit=limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("](", "] (")


def _shown(line: str) -> str:
    return _without_commands(_visible(line))


def _coloured(line: str) -> str:
    """Return a line with its colours, which end where it ends."""
    codes = _COLOUR.findall(line)
    if not codes:
        return _shown(line)
    parts = [_visible(part) for part in _COLOUR.split(line)]
    plain = "".join(parts)
    if _without_commands(plain) != plain:  # a command that colours cut in two is none, but nobody should have to know
        return _without_commands(plain)
    ending = "" if codes[-1] == _PLAIN else _PLAIN
    return "".join(a + b for a, b in zip(parts, [*codes, ending], strict=True))


def _visible(line: str) -> str:
    if _is_visible(line):
        return line
    return _CANDIDATE.sub(_spelled, line)


def _is_visible(text: str) -> bool:
    if text.isascii():
        return text.isprintable()
    kinds = "".join(set(text))  # a pattern over 20 MB takes seconds, and there are few different characters
    return kinds.isprintable() and not _BLANKS.search(kinds)


def _may_command(text: str) -> bool:
    return "##" in text or "section_" in text


def _spelled(found: re.Match[str]) -> str:
    char = found[0]
    if char == "\t" or unicodedata.category(char) == "Zs":
        return " "
    if _is_seen(char) or (char in (_ZWNJ, _ZWJ) and _is_joining(found)):
        return char
    return _escape(char)


def _is_seen(char: str) -> bool:
    return char.isprintable() and not _BLANKS.match(char)


def _escape(char: str) -> str:
    if char in "\n\r":
        return "\\n" if char == "\n" else "\\r"
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004


def _is_joining(found: re.Match[str]) -> bool:
    """Whether a joiner stands where it is needed: between two letters of a script that has them, or two emoji."""
    text, at = found.string, found.start()
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before or not after:
        return False
    if found[0] == _ZWJ and unicodedata.category(after) == "So":
        return before in "\ufe0e\ufe0f" or unicodedata.category(before) in ("So", "Sk")
    return all("\u0600" <= each <= "\u0dff" and unicodedata.category(each)[0] in "LM" for each in (before, after))


def _without_commands(line: str) -> str:
    if _may_command(line):
        line = _COMMAND.sub(lambda found: f"{found[0][:-1]}\\x{ord(found[0][-1]):02x}", line)
    return _AT_START.sub(r"\1:\\x3a", line, count=1) if line.lstrip().startswith("::") else line


def _json_escape(found: re.Match[str]) -> str:
    char = found[0]
    if _is_seen(char):
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _shell_escape(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char == ":":
        return r"\x3a"
    if char.isascii():
        return char if char.isprintable() else _escape(char)
    return char if _is_seen(char) else "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))


def _longest_run(text: str, char: str) -> int:
    return max(map(len, re.findall(f"{re.escape(char)}+", text)), default=0)
