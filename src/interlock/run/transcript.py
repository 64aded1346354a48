"""The record of a run: one JSON object a line, readable while it grows.

The supervisor appends, everybody else reads: the front end, `interlock runs logs`, `interlock wait`, recovery.
A line is written with one `write`, so a reader sees whole lines or a last partial one, which it leaves for later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable
from interlock.run.entries import AnyEntry, UnknownEntry, parse_entry
from interlock.run.summary import Summary, store_summary, write_summary
from interlock.secrecy import NO_KNOWN_SECRETS, KnownSecrets

JOURNAL = "journal.jsonl"
LOG = "supervisor.log"
END = b"end "
"""Before the facts of the run's last entry, in what the supervisor sends to the front end; before it are only rings."""
_SENTENCES = frozenset({"message", "in_flight"})  # of a summary: what others said
_MAX_LINE_BYTES = 1 << 20  # one entry; longer values are cut by the writer


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, as it is on disk.

    Attributes:
        at: When, UTC.
        kind: See `entries.py`.
        facts: The values of this kind; documented in docs/reference/run-journal.md. Never a secret.
    """

    at: datetime
    kind: str
    facts: dict[str, Any] = {}

    @property
    def told(self) -> AnyEntry | UnknownEntry:
        """What was told, as far as this version can read it."""
        return parse_entry(self.kind, self.facts)


class Journal:
    """Writes one run's journal and its summary; opened once, by the supervisor.

    Args:
        folder: The run's folder.
        summary: What is known at the beginning; kept current by the caller through `change`.
        clock: For the instant of each entry.
        ring: Called after each entry, to wake a front end that follows.
        known: Secrets that are hidden in whatever is written. More may be learned; see `learn`.
    """

    def __init__(
        self,
        folder: Path,
        summary: Summary,
        clock: Clock,
        ring: Callable[[], None],
        known: KnownSecrets = NO_KNOWN_SECRETS,
    ) -> None:
        self._file = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.folder = folder
        self._clock = clock
        self._ring = ring
        self.summary = summary
        self.known = known

    def tell(self, told: AnyEntry) -> None:
        """Append one entry.

        A full disk must not end a run that holds a lock, so a journal that cannot be written is not an error here: the
        state, which can, is what counts. The gap shows in the journal as a missing step.
        """
        at = self._clock.now()
        line = msgspec.json.encode(Entry(at=at, kind=told.KIND, facts=self.hidden(told)), enc_hook=str)
        if len(line) > _MAX_LINE_BYTES:
            line = msgspec.json.encode(Entry(at=at, kind=told.KIND, facts={"cut": len(line)}))
        with suppress(OSError):
            os.write(self._file, line + b"\n")
        self._ring()

    def change(self, **values: object) -> None:
        """Change fields of the summary and store it."""
        for name, value in values.items():
            setattr(self.summary, name, self.known.hide_within(value) if name in _SENTENCES else value)
        write_summary(self.folder, self.summary)

    def hidden(self, told: AnyEntry) -> dict[str, object]:
        """Return the facts of an entry as they may be written down and shown: without known secrets."""
        facts = told.facts()
        return {name: self.known.hide_within(value) for name, value in facts.items()} if self.known else facts

    def learn(self, texts: Iterable[str]) -> None:
        """Hide these texts too from now on, such as what a plan marks as sensitive."""
        self.known = self.known.and_of(texts)

    def announce(self, command: str) -> None:
        """Write down that a command of Terraform is about to be started, before it is.

        So a record that lacks a process always says that it may: who dies in between, or cannot write after, is never
        taken for one whose Terraform has ended.

        Raises:
            BackendUnavailable: It cannot be written, so the command must not be started.
        """
        self.summary.starting = command
        try:
            store_summary(self.folder, self.summary)
        except OSError as error:
            raise BackendUnavailable(
                f"terraform {command} was not started: the run's record cannot be written",
                why=f"{self.folder}: {error.strerror or error}",
                fix=f"df -h {self.folder}",
            ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def append(folder: Path, entry: Entry) -> None:
    """Add one entry to the journal of a run whose supervisor is gone."""
    handle = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


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
                yield decode_json(line, type=Entry)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # torn by a crash of the machine; the lines around it are still good


def read(folder: Path) -> list[Entry]:
    """Return every entry of the run in `folder`."""
    return list(Reader(folder).new())
