"""Values as words of other languages: one function for YAML, one for a shell, one for an expression of a CI system.

Knows: plain values. What a name could mean to whoever reads the file is decided here, once: YAML takes `no`, `1.0`,
`1e3`, `0o17` and dates for something else than text, and CI systems evaluate `${{ }}`, `$(...)`, `$[...]` and `$NAME`
also inside quotes, so a value with a dollar sign goes into no pipeline file at all.
"""

from __future__ import annotations

import re
import shlex

from interlock.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[._/-][A-Za-z0-9]+)*\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})  # of YAML 1.1, in any case
_PRINTABLE = range(0x20, 0x7F)
_BYTE, _SHORT = 0x100, 0x10000
_BARE = re.compile(r"[A-Za-z0-9 ._/,:=+@*-]*\Z")
_JOB_WORD = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


class Spelled(str):
    """Text that is a word of the file's language already; nothing else may be put into a template."""

    __slots__ = ()


def yaml_scalar(value: str | int) -> Spelled:
    """Spell a value so that every reader of YAML, 1.1 or 1.2, reads exactly that text (or whole number).

    Raises:
        UsageError: A CI system would evaluate it, whatever its quotes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Spelled(value)
    text = str(value)
    if isinstance(value, bool) or "$" in text:
        raise UsageError(
            f"{text!r} cannot go into a pipeline file",
            why="CI systems evaluate what follows a dollar sign, also inside quotes",
            fix="use letters, digits and - . _ /",
        )
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return Spelled(text)
    return Spelled(f'"{"".join(map(_escaped, text))}"')


def _escaped(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if code in _PRINTABLE:
        return character
    if code < _BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _SHORT else f"\\U{code:08x}"


def shell_word(value: str) -> Spelled:
    """Spell a value as one word of a POSIX shell.

    Raises:
        UsageError: It holds a NUL, which no argument can.
    """
    if "\0" in value:
        raise UsageError("a word for the shell holds a NUL", fix="take it out")
    return Spelled(shlex.quote(value))


def expression_text(value: str) -> Spelled:
    """Spell a value as text in single quotes of a GitHub or Azure expression.

    Raises:
        UsageError: As `yaml_scalar`; or it has characters that end a line.
    """
    if "$" in value or not value.isprintable():
        yaml_scalar("$")
    return Spelled("'" + value.replace("'", "''") + "'")


def groovy_text(value: str) -> Spelled:
    """Spell a value as text in single quotes of Groovy, in which nothing is filled in.

    Raises:
        UsageError: As `yaml_scalar`: Jenkins fills in what follows a dollar sign in its `environment` all the same.
    """
    if "$" in value or not value.isprintable():
        yaml_scalar("$")
    return groovy_script(value)


def groovy_script(value: str) -> Spelled:
    """Spell a script of ours, which holds no value of anybody else's, as text in single quotes of Groovy."""
    return Spelled("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'")


def bare_text(value: str) -> Spelled:
    """Return text that may stand in a comment, or inside double quotes of a GitLab rule, as it is.

    Raises:
        UsageError: It may not.
    """
    if not _BARE.match(value):
        raise UsageError(f"{value!r} cannot go into a pipeline file", fix="use letters, digits and - . _ /")
    return Spelled(value)


def job_word(value: str) -> Spelled:
    """Return a word that may be part of the name of a job or of a file as it is.

    Raises:
        UsageError: It may not.
    """
    if not _JOB_WORD.match(value):
        raise UsageError(f"{value!r} cannot be part of a job's name", fix="use small letters, digits and hyphens")
    return Spelled(value)


def checked_spelling(value: object) -> object:
    """Let only spelled words and numbers into a template: whoever forgets to spell a value hears of it.

    Raises:
        TypeError: A bare text was put in.
    """
    if isinstance(value, Spelled) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise TypeError(f"{value!r} is put into a pipeline file without being spelled")
