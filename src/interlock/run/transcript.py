"""The record of a run: one JSON object a line, readable while it grows.

The supervisor appends, everybody else reads: the front end, `interlock runs logs`, `interlock wait`, recovery.
A line is written with one `write`, so a reader sees whole lines or a last partial one, which it leaves for later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

JOURNAL = "journal.jsonl"
ORDER = "order.json"
_MAX_LINE_BYTES = 1 << 20  # one entry; longer values are cut by the writer


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        at: When, UTC.
        kind: `phase`, `standing`, `terraform`, `plan`, `progress`, `resource`, `output`, `note`, `process`, `state`,
            `recovery`, `refused`, `end`.
        facts: The values of this kind; documented in docs/reference/run-journal.md. Never a secret.
    """

    at: datetime
    kind: str
    facts: dict[str, Any] = {}


class Writer:
    """Appends entries to one journal; opened once, by the supervisor."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, entry: Entry) -> None:
        """Write one entry.

        A full disk must not end a run that holds a lock, so a journal that cannot be written is not an error here: the
        state, which can, is what counts. The gap shows in the journal as a missing step.
        """
        line = msgspec.json.encode(entry)
        if len(line) > _MAX_LINE_BYTES:
            line = msgspec.json.encode(Entry(at=entry.at, kind=entry.kind, facts={"cut": len(line)}))
        try:
            os.write(self._file, line + b"\n")
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Reader:
    """Reads the entries of one journal from the beginning and then, at each call, those that are new."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._offset = 0

    def new(self) -> Iterator[Entry]:
        """Yield the whole entries that were not yielded before; none when the journal does not exist (yet)."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                yield msgspec.json.decode(line, type=Entry)
            except msgspec.MsgspecError:
                continue  # torn by a crash of the machine; the lines around it are still good


def read(folder: Path) -> list[Entry]:
    """Return every entry of the run in `folder`."""
    return list(Reader(folder).new())
