"""Texts that people wrote, and places in them.

Knows: a tree of files, a span in one of them. Knows nothing of HCL or YAML, and reads no disk (`source/disk.py` does).
Paths are POSIX strings as the reader named them: relative to where they stand, or absolute; always normalised.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from msgspec import Struct

from interlock.errors import InterlockError

MAX_FILE_BYTES = 8 * 1024 * 1024  # the largest generated .tf file seen in public is 3 MB; a bound on work per file
MAX_FILES = 20_000  # files of one tree that are looked at; a bound on work per command


class Tool(Enum):
    """The programs that read configuration; they differ in which files they read."""

    TERRAFORM = "terraform"
    TOFU = "tofu"


_SHARED = (".tf", ".tf.json")
_TOFU_ONLY = {".tofu": ".tf", ".tofu.json": ".tf.json"}  # each in the place of a file of the same name
SUFFIXES = (*_SHARED, *_TOFU_ONLY)


def is_configuration(name: str, tool: Tool = Tool.TOFU) -> bool:
    """Say whether a program reads a file of this name; hidden files and editors' left-overs are not configuration.

    A name that only begins with `#` is read; an editor's `#x.tf#` and `x.tf~` have no suffix of a configuration.
    OpenTofu reads all that Terraform reads and more, so without a tool everything counts that one of them reads.
    """
    suffixes = SUFFIXES if tool is Tool.TOFU else _SHARED
    return name.endswith(suffixes) and not name.startswith(".")


def configuration_files(names: Iterable[str], tool: Tool = Tool.TOFU) -> list[str]:
    """Return the files of one folder that a program reads, sorted by name. To OpenTofu `x.tofu` stands for `x.tf`."""
    chosen = [name for name in names if is_configuration(name, tool)]
    shadowed = {
        name.removesuffix(suffix) + plain
        for name in chosen
        for suffix, plain in _TOFU_ONLY.items()
        if name.endswith(suffix)
    }
    return sorted(name for name in chosen if name not in shadowed)


class SourceUnreadable(InterlockError):
    """A file or folder exists and could not be read, or is larger than its limit. Unreadable is not absent."""

    code = "source-unreadable"
    exit_status = 3
    http_status = 400
    meaning = "usage or configuration"


class Span(Struct, frozen=True, kw_only=True):
    """A stretch of one file.

    Attributes:
        path: The file.
        start: Offset of the first byte.
        end: Offset behind the last byte.
        line: Line of the first character, from 1.
        column: Column of the first character, from 1, counted in Unicode characters.
        end_line: Line of the position behind the last character.
        end_column: Column of the position behind the last character.
    """

    path: str
    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int

    def order(self) -> tuple[str, int, int]:
        """Return the sort key: by file, then by place."""
        return (self.path, self.start, self.end)


class Tree(Protocol):
    """Files by path. An implementer answers from disk, from memory or from a commit; it never executes anything."""

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names (not paths) of the regular files directly in `folder`, sorted; empty when it is absent."""
        ...

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly in `folder`, sorted; links to folders are left out."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file's whole content, or None when there is no such file.

        Raises:
            SourceUnreadable: It exists and may not be read, or has more than `MAX_FILE_BYTES` bytes.
        """
        ...

    def within(self, folder: str) -> str | None:
        """Return where a folder is within its checkout, whatever way it was spelled; None outside any checkout."""
        ...


class MemoryTree:
    """A tree of given texts, for tests and for files that are only about to be written."""

    def __init__(self, texts: Mapping[str, str | bytes]) -> None:
        self._texts = {
            join(path): text.encode() if isinstance(text, str) else text for path, text in sorted(texts.items())
        }

    def files(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files directly in `folder`."""
        home = join(folder)
        return tuple(posixpath.basename(path) for path in self._texts if (posixpath.dirname(path) or ".") == home)

    def folders(self, folder: str) -> tuple[str, ...]:
        """Return the names of the folders directly in `folder`."""
        prefix = "" if join(folder) == "." else join(folder).rstrip("/") + "/"
        below = (path.removeprefix(prefix) for path in self._texts if path.startswith(prefix))
        return tuple(sorted({rest.split("/")[0] for rest in below if "/" in rest.lstrip("/")}))

    def read(self, path: str) -> bytes | None:
        """Return a text's bytes, or None."""
        return self._texts.get(join(path))

    def within(self, folder: str) -> str | None:
        """Return the folder itself: the texts are the checkout."""
        return join(folder)


def join(*parts: str) -> str:
    """Join path parts and normalise the result: no `.`, no doubled or trailing slash, `..` resolved as text."""
    return posixpath.normpath(posixpath.join(*parts)) if any(parts) else "."


def span_of(path: str, content: bytes, start: int, end: int) -> Span:
    """Return the span of the bytes `start` to `end` of `content`. Takes time linear in the content before `end`."""
    line, column = _position(content, start)
    end_line, end_column = _position(content, end)
    return Span(path=path, start=start, end=end, line=line, column=column, end_line=end_line, end_column=end_column)


def _position(content: bytes, offset: int) -> tuple[int, int]:
    before = content.rfind(b"\n", 0, offset) + 1
    text = content[before:offset].decode("utf-8", "replace")
    return content.count(b"\n", 0, offset) + 1, len(text) + 1
