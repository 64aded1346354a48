"""One Terraform command of a run: its process, and its events as they come."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from interlock.host import ProcessName
from interlock.run.private_file import open_private
from interlock.run.process import Child, Ended, Streams
from interlock.run.protection import Kept, Level
from interlock.secrecy import NO_KNOWN_SECRETS, KnownSecrets
from interlock.terraform.events import (
    MAX_LINE_BYTES,
    AnyEvent,
    Apply,
    Diagnostic,
    Provision,
    Severity,
    Stage,
    Unparsed,
    parse_event,
)
from interlock.terraform.interruption import Interruption

_TAIL_S = 0.05  # how often a growing output is read: quick enough for eyes, idle enough for one core
_CHUNK_BYTES = 1 << 20
_STDERR_BYTES = 256 << 10  # the end of what Terraform said outside its events
_MASK = b"(address)"
_EVENTS_KEPT = 20_000  # diagnostics and applies that are kept for the verdict on a failed command


class EventFile:
    """Reads the events of an output file that grows.

    Args:
        path: The file.
        secret: Bytes to be masked: Terraform names the address of its state in errors, and ours is a secret.
        known: Secrets that Terraform, a provider or a validation may quote.
    """

    def __init__(self, path: Path, secret: bytes = b"", known: KnownSecrets = NO_KNOWN_SECRETS) -> None:
        self._path = path
        self._secret = secret
        self._known = known
        self._offset = 0
        self._rest = b""

    def new(self, *, at_end: bool = False) -> list[AnyEvent]:
        """Return the events since the last call; with `at_end` also a last line without line end."""
        events: list[AnyEvent] = []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(_CHUNK_BYTES):
                self._offset += len(chunk)
                lines = (self._rest + chunk).split(b"\n")
                self._rest = lines.pop()[: MAX_LINE_BYTES + 1]
                events.extend(self._parse(line) for line in lines if line.strip())
        if at_end and self._rest.strip():
            events.append(self._parse(self._rest))
            self._rest = b""
        return events

    def _parse(self, line: bytes) -> AnyEvent:
        event = parse_event(line.replace(self._secret, _MASK) if self._secret else line)
        return hide_in_event(event, self._known) if self._known else event


class Outcome(Struct, kw_only=True):
    """How a command ended.

    Attributes:
        ended: Exit code or signal.
        events: What matters for a verdict: diagnostics, applies and plain text; bounded.
        text: The end of stderr.
        interruption: What the output says of being interrupted; of every event, also of those that are not kept.
    """

    ended: Ended
    events: list[AnyEvent] = msgspec.field(default_factory=list)
    text: str = ""
    interruption: Interruption = msgspec.field(default_factory=Interruption)

    @property
    def was_cut(self) -> bool:
        """Whether the process ended without waiting for its operations and saving: killed, or signalled twice."""
        return self.ended.killed_by is not None or self.interruption.is_cut

    @property
    def errors(self) -> list[Diagnostic]:
        """The error diagnostics."""
        return [e for e in self.events if isinstance(e, Diagnostic) and e.severity is Severity.ERROR]

    @property
    def changed_something(self) -> bool:
        """Whether any resource operation was started."""
        return any(isinstance(event, Apply) for event in self.events)

    @property
    def made(self) -> dict[str, str]:
        """Address to id of the objects whose operation completed: what exists even when the state was lost."""
        done = [e for e in self.events if isinstance(e, Apply) and e.stage is Stage.COMPLETE and e.id]
        return {event.resource.address: event.id for event in done}


class Process(Protocol):
    """The process of a command; `Child` is the real one."""

    name: ProcessName
    kept: Kept

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        ...

    async def wait(self) -> Ended:
        """Wait until it has ended; may be called again."""
        ...

    def kill(self) -> None:
        """Kill it and what it started. What it had not saved is lost."""
        ...


class Start(Protocol):
    """Starts one command of a run; `start` is the real one."""

    async def __call__(  # noqa: PLR0913 - see `start`
        self,
        name: str,
        argv: tuple[str, ...],
        environ: Mapping[str, str],
        *,
        cwd: Path,
        run_folder: Path,
        held: Sequence[int],
        level: Level = Level.NONE,
        streams: Streams | None = None,
    ) -> Running:
        """See `start`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One command in its process.

    Attributes:
        child: The process.
        output: What it prints.
        stderr: What it says beside.
        secret: The address of its state, which Terraform repeats in errors.
        known: Secrets that are hidden in what it says, and in the files that keep it, when it has ended.
        interruption: What the output says of being interrupted.
    """

    child: Process
    output: Path
    stderr: Path
    secret: bytes = field(default=b"", repr=False)
    known: KnownSecrets = NO_KNOWN_SECRETS
    interruption: Interruption = field(default_factory=Interruption)

    async def follow(self, on_event: Callable[[AnyEvent], None]) -> Outcome:
        """Hand every event to `on_event` as it comes, until the process has ended."""
        file = EventFile(self.output, self.secret, self.known)
        kept: list[AnyEvent] = []

        def take(event: AnyEvent) -> None:
            self.interruption.take(event)
            on_event(event)

        ending = asyncio.create_task(self.child.wait())
        try:
            while not ending.done():
                await asyncio.wait({ending}, timeout=_TAIL_S)
                _hand_over(file.new(), take, kept)
            _hand_over(file.new(at_end=True), take, kept)
        finally:
            ending.cancel()
        for path in (self.output, self.stderr):
            await asyncio.to_thread(_mask_file, path, self.secret)
            await asyncio.to_thread(hide_in_file, path, self.known)
        text = _end_of(self.stderr, self.secret)
        return Outcome(ended=ending.result(), events=kept, text=text, interruption=self.interruption)


def _hand_over(events: list[AnyEvent], on_event: Callable[[AnyEvent], None], kept: list[AnyEvent]) -> None:
    for event in events:
        on_event(event)
        if isinstance(event, Apply | Diagnostic | Unparsed) and len(kept) < _EVENTS_KEPT:
            kept.append(event)


def _mask_file(path: Path, secret: bytes) -> None:
    """Take the secret out of a file that is kept; Terraform repeats its address when it cannot reach it.

    Where the file cannot be written anew, as on a full disk, it goes: how the command ended must not be lost for it.
    """
    if secret and path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = content.find(secret) >= 0
        if found:
            try:
                path.write_bytes(path.read_bytes().replace(secret, _MASK))
            except OSError:
                path.unlink()
                path.touch(mode=0o600)


def hide_in_event(event: AnyEvent, known: KnownSecrets) -> AnyEvent:
    """Return an event without known secrets in its sentences.

    Addresses and ids stay: what is done with them must be done to the right object. The journal hides them there too.
    """
    match event:
        case Diagnostic():
            summary, detail = known.hide(event.summary), known.hide(event.detail)
            return msgspec.structs.replace(event, message=known.hide(event.message), summary=summary, detail=detail)
        case Provision():
            return msgspec.structs.replace(event, message=known.hide(event.message), output=known.hide(event.output))
        case _:
            return msgspec.structs.replace(event, message=known.hide(event.message))


def hide_in_file(path: Path, known: KnownSecrets) -> None:
    """Take known secrets out of a file that is kept, line by line, so that a long output takes little memory.

    Where the file cannot be written anew, as on a full disk, it goes.
    """
    if not known or not path.stat().st_size:
        return
    with path.open(errors="surrogateescape", newline="", encoding="utf-8") as file:
        if all(known.hide(line) == line for line in file if not _names_objects(line)):
            return
    fresh = path.with_suffix(f"{path.suffix}.hidden")
    try:
        with path.open(errors="surrogateescape", newline="", encoding="utf-8") as file, open_private(fresh) as clean:
            for line in file:
                shown = line if _names_objects(line) else known.hide(line)
                clean.write(shown.encode(errors="surrogateescape"))
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        path.unlink()
        path.touch(mode=0o600)


def _names_objects(line: str) -> bool:
    """Whether a line says which object was or will be changed: recovery reads it, and it must be exact.

    What a provisioner printed names its object too, but recovery does not need it, and a secret may stand there.
    """
    names = line.startswith("{") and ('"hook":' in line or '"change":' in line)
    return names and '"type":"provision_progress"' not in line


def _end_of(path: Path, secret: bytes) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - _STDERR_BYTES, 0))
        text = file.read()
    return (text.replace(secret, _MASK) if secret else text).decode(errors="replace")


async def start(  # noqa: PLR0913 - a process has that many sides
    name: str,
    argv: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    cwd: Path,
    run_folder: Path,
    held: Sequence[int],
    level: Level = Level.NONE,
    streams: Streams | None = None,
) -> Running:
    """Start one command whose output goes to `<name>.jsonl` and `<name>.err` in the run's folder.

    Args:
        name: Of the command, for its files.
        argv: What to start.
        environ: Its whole environment; TF_HTTP_ADDRESS in it is masked wherever Terraform repeats it.
        cwd: Its working folder.
        run_folder: The run's folder.
        held: Locks on files that the process keeps, and what it starts: on the tree, so that nobody takes the tree
            while it lives, and on the run's own file, by which everybody sees that it lives.
        level: Which signals it does not hear.
        streams: Where it reads and prints instead.
    """
    output, stderr = run_folder / f"{name}.jsonl", run_folder / f"{name}.err"
    _put_aside(output)
    child = await Child.start(
        argv, environ=environ, cwd=cwd, stdout=output, stderr=stderr, held=held, level=level, streams=streams
    )
    address = environ.get("TF_HTTP_ADDRESS", "").encode()
    return Running(child=child, output=output, stderr=stderr, secret=address)


def _put_aside(output: Path) -> None:
    """Keep the output of an earlier attempt of the same command under a number."""
    if output.exists():
        number = len(list(output.parent.glob(f"{output.stem}.*{output.suffix}"))) + 1
        output.rename(output.with_suffix(f".{number}{output.suffix}"))
