"""Log text or JSON lines -> messages, as a stream.

A log of any length is read in one pass with bounded memory: chunks in which no word of interest occurs are only
counted, and an error keeps at most `MAX_BLOCK_LINES` lines.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Final

from interlock.diagnosis.message import MAX_MESSAGE_CHARS, Kind, Line, Message, flatten
from interlock.diagnosis.noise import Clean, undress
from interlock.terraform.events import (
    Action,
    Apply,
    ChangeSummary,
    Diagnostic,
    Event,
    Log,
    Other,
    Severity,
    Stage,
    Unparsed,
    Version,
    parse_event,
)

MAX_BLOCK_LINES: Final = 400  # of one error: the longest real one seen (a flow's publishing messages) had 120
MAX_LINE_BYTES: Final = 1024 * 1024  # a longer line is cut; Terraform's events are far shorter
MAX_REPORT_BYTES: Final = 16 * 1024 * 1024  # of a `terraform validate -json` document, which must be read whole
MAX_HEREDOC_LINES: Final = 10_000  # of an output printed as a heredoc, in which nothing is an error


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases))


_TRIGGERS: Final = (
    b"rror",
    b"RROR",
    b"Warning: ",
    b"Failed",
    b"ailed",
    b"must be ",
    b"urrently locked",
    b"annot run",
    b"configured the backend",
    b"remote backend",
    b"HCP Terraform",
    b"iscarded",
    b"ejected",
    b"Success! ",
    b"complete!",
    b"panic: ",
    b"CRASH",
    b"tack trace from the ",
    b"ocal state cannot",
    b"workspaces not",
    b"nterrupt",
    b"ancel",
    b"topping operation",
    b"racefully",
    b"imed out",
    b"imeout",
    b"xceeded",
    b"ran longer",
    b"took longer",
    b"hutdown",
    b"lost communication",
    b"o space left",
    b"running out of disk",
    b"illed",
    b"erminated",
    b"borted",
    b"signal",
    b"xit code",
    b"xited with",
    b"omplete! ",
    b"No changes.",
    b"Plan: ",
    b"can apply this plan",
    b"uccessfully initialized",
    b"ob succeeded",
    b"Finished: ",
    b"achine name",
    b"Running on ",
    b"terraform ",
    b"Terraform v",
    b"OpenTofu v",
    b"tofu ",
    b"<<",
    b"make: ",
    b"exit status ",
    b"ailed to lock ",
    b"ailed to unlock ",
    "│".encode(),
    "â”‚".encode(),
    "Γöé".encode(),
    b"Creating...",
    b"Destroying...",
    b"Modifying...",
    b" complete after ",
    b'"type":"apply_start"',
    b'"type":"apply_complete"',
    b'"type":"apply_errored"',
    b'"type":"diagnostic"',
    b'"type":"change_summary"',
    b'"type":"version"',
    b'"type":"log"',
)
"""What a line must have to begin a message. A piece of the log that has none of them is only counted."""


@lru_cache(maxsize=256)
def _finder(triggers: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, triggers)))


_HEAD: Final = re.compile(r"\s{0,1}(?:\* |> )?(?:\*\*)?(Error|Warning):(?:\*\*)? (.{0,4000})")
_ATLANTIS: Final = re.compile(
    r"(?:\*\*)?(?:Plan|Apply|Import|Destroy|Unlock|State(?: Rm)?|Policy Check|Version) (?:Failed|Error)"
    r"(?:\*\*)?(?:: (?P<why>.{1,4000}))?$"
)
"""Atlantis answers in a comment: a headline, and the reason behind it or in what follows."""
_PLAIN_HEAD: Final = re.compile(
    r"(?:Failed to (?:write|load|refresh|persist|save|unlock|get existing workspaces|query available)\b"
    r"|Error (?:locking|loading|refreshing|saving|inspecting|configuring|releasing|initializing|copying|acquiring"
    r"|reading|asking|parsing|selecting|downloading|installing)\b"
    r"|[Ff]ailed to (?:un)?lock \S{1,20} state"
    r"|Local state cannot be unlocked|workspaces not supported).{0,4000}"
)
_NOISE_ERROR: Final = re.compile(
    r"(?:Process completed with exit code|Terraform exited with code|The process '.{0,300}' failed with exit code"
    r"|Terraform command '.{0,60}' failed with exit code|(?:Bash|Cmd\.exe) exited with code"
    r"|script returned exit code|Job failed|Command exited with)"
)
_FAILED: Final = re.compile(
    r"(?:ERROR: Job failed(?:: exit (?:code|status) \d{1,4}|: command terminated with exit code \d{1,4})?$"
    r"|Finished: FAILURE|make: \*\*\* .{0,200}Error \d"
    r"|.{0,400}finished with an error: exit status [13-9]|(?:\[terragrunt\].{0,80})?exit status [13-9]\d{0,2}$)"
)
_EMBEDDED: Final = re.compile(r"\\nError: ")
"""Terraform's output as a text inside JSON, as controllers keep it: line ends are two characters."""
_CUT: Final = "Two interrupts received"
_NOTICE: Final = _any_of(
    r"!{3,40} (?:TERRAFORM|OPENTOFU) CRASH !{3,40}",
    r"(?:fatal error|panic): ",
    r"Stack trace from the \S{1,200} plugin:",
    r"Interrupt received\.",
    r"Two interrupts received\.",
    r"Stopping operation\.\.\.",
    r"Gracefully shutting down",
    r"The (?:operation|job|run|workflow|pipeline) (?:was|has been) cancell?ed",
    r"Operation cancell?ed",
    r"The runner has received a shutdown signal",
    r"The (?:self-hosted|hosted) runner:? .{0,200}lost communication with the server",
    r"ERROR: Job failed: (?:cancell?ed|aborted)",
    r"Aborted by ",
    r"Finished: ABORTED",
    r"Sending interrupt signal to process",
    r"Cancelling since a higher priority waiting request",
    r"(?:The job running on .{1,200} )?(?:has exceeded the maximum execution time|ran longer than the maximum time)",
    r"The action '.{0,300}' has timed out",
    r"ERROR: Job failed: execution took longer than",
    r"Cancelling nested steps due to timeout",
    r"Timeout has been exceeded",
    r"You are running out of disk space",
    r"Apply discarded",
    r"(?:Pull|Merge) request must be (?:approved|mergeable)",
    r"This run was (?:discarded|cancell?ed)",
    r"(?:.{0,100}policy check )?(?:hard|soft) failed",
    r"Deployment (?:was )?rejected",
    r"(?:Branch|Tag) .{1,200} is not allowed to deploy to",
    r"Terminated$",
    r"Killed$",
)
_TRACE: Final = _any_of(
    r".{0,200}[Nn]o space left on device",
    r".{0,100}signal: (?:killed|terminated|interrupt)",
    r".{0,100}exit code (?:124|130|137|143)\b",
    r".{0,100}\d Killed +\S",  # the shell says which process the kernel ended, short of memory
)
_SUCCESS: Final = (
    (re.compile(r"Apply complete! Resources: "), "apply"),
    (re.compile(r"Destroy complete! Resources: "), "destroy"),
    (
        re.compile(r"No changes\. |No changes\.$|Plan: \d{1,9} to |You can apply this plan to save these new output"),
        "plan",
    ),
    (re.compile(r"(?:Terraform|OpenTofu) has been successfully initialized!"), "init"),
    (re.compile(r"Success! The configuration is valid"), "validate"),
    (re.compile(r"Job succeeded$|Finished: SUCCESS"), "job"),
)
_WORKING: Final = re.compile(r"Successfully configured the backend|Running (?:plan|apply) in ")
_UNFINISHED: Final = re.compile(
    rb"(?:Refreshing state|Reading|[Ss]till (?:reading|creating|destroying|modifying)|Acquiring state lock"
    rb"|Initializing |Downloading |Installing |Finding |Waiting for |Preparing the )[^\n]{0,2000}\s{0,1000}\Z"
)
"""What a log ends with when its end is missing: Terraform was at work."""
_INIT_ENDS_IN: Final = 40  # lines: what `init` prints after its success, and what a CI job prints to clean up
_TAIL_BYTES: Final = 4000
_BEGUN: Final = re.compile(
    r'(?P<address>[\w.\-\["\]/: ]{1,400}?)(?: \(deposed object \w{1,20}\))?: '
    r"(?P<word>Creating|Destroying|Modifying)\.\.\."
)
_ENDED: Final = re.compile(
    r'(?P<address>[\w.\-\["\]/: ]{1,400}?)(?: \(deposed object \w{1,20}\))?: '
    r"(?P<word>Creation|Destruction|Modifications) complete after "
)
_ACTIONS: Final = {
    "Creating": "create",
    "Creation": "create",
    "Destroying": "delete",
    "Destruction": "delete",
    "Modifying": "update",
    "Modifications": "update",
}
_HOST: Final = re.compile(
    r"(?:Machine name|Agent machine name): '?(?P<name>[\w.-]{1,200})|Running on (?P<runner>[\w.-]{1,200}) via "
    r"|Running on (?P<node>[\w.-]{1,200}) in /"
)
_COMMAND: Final = re.compile(
    r"(?:Run |\+ |\$ |> |❯ |\[command\])?(?:\S{0,200}/)?(?:terraform|tofu)(?:-bin)? (?:-chdir=\S{1,300} )?"
    r"(?P<verb>init|plan|apply|destroy|refresh|import|validate|force-unlock|output|show|console"
    r"|(?:state|workspace) \w{1,20})\b"
)
_VERSION: Final = re.compile(r"(Terraform|OpenTofu) v(\d{1,4}\.\d{1,4}\.\d{1,4}(?:-[\w.]{1,40})?)$")
_PRODUCTS: Final = {"Terraform": "terraform", "OpenTofu": "tofu"}
_SHOWING: Final = frozenset({"output", "show", "console", "state show"})
_ENDS_PLAIN: Final = _any_of(
    r"(?:Apply|Destroy) complete!",
    r"Releasing state lock",
    r"Acquiring state lock",
    r"Initializing ",
    r"Plan: \d",
    r"No changes\.",
    r"(?:Terraform|OpenTofu) (?:used|will|has|planned)",
    r"(?:ERROR: Job|Job succeeded|Finished: |Cleaning up|Uploading|Running after)",
    r"section_",
    r"Post job",
    r"make: ",
    r"\+ \S",
    r"\$ \S",
    r"Run \S",
    r"Error: ",
    r"Warning: ",
    r"For more help on using this command",
)
_HEREDOC: Final = re.compile(r"^[^\"']{0,300}<<[-~]?(?P<end>[A-Z]{2,20})$")
_WITH: Final = re.compile(r"\s{1,6}with (?P<address>\S.{0,1000}?),?$")
_REPORT: Final = re.compile(rb'\s*\{\s*"(?:format_version|valid|diagnostics|error_count)"')
_SNIPPET: Final = re.compile(r"\s{1,8}(?:\d{1,7}: |├─)")  # the user's own source in an error proves nothing
_WITHIN: Final = re.compile(r"\s{1,6}(?:on .{1,300} line \d{1,9}|with \S.{0,1000}|\(source code not available\))")


def read_messages(chunks: Iterable[bytes]) -> Iterator[Message]:
    """Read a log.

    Args:
        chunks: Its bytes in any pieces. UTF-8 or UTF-16 (PowerShell's `>`); what is neither is read as far as possible.

    Yields:
        Messages in the order of the log.
    """
    batches = _line_batches(_as_utf8(chunks))
    first = next(batches, b"")
    if _REPORT.match(first):
        yield from _read_report(first, batches)
        return
    reader = _Reader()
    for lines in chain([first], batches):
        yield from reader.batch(lines)
    yield from reader.end()


def _read_report(first: bytes, batches: Iterator[bytes]) -> Iterator[Message]:
    """Read the one JSON document of `terraform validate -json`: `{"valid": ..., "diagnostics": [...]}`."""
    data = bytearray(first)
    for lines in batches:
        if len(data) < MAX_REPORT_BYTES:
            data += lines
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return iter(())
    diagnostics = document.get("diagnostics")
    found = diagnostics if isinstance(diagnostics, list) else []
    return read_events(
        parse_event(json.dumps({"type": "diagnostic", "@message": "", "diagnostic": entry})) for entry in found
    )


def read_text(text: str) -> Iterator[Message]:
    """Read a log that is in memory."""
    return read_messages([text.encode("utf-8", "surrogatepass")])


def read_events(events: Iterable[Event]) -> Iterator[Message]:
    """Read what a supervised Terraform said: typed events, plain text between them included."""
    reader = _Reader()
    for event in events:
        yield from reader.event(event)
    yield from reader.end()


def _as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn UTF-16 with a byte order mark into UTF-8; leave everything else alone."""
    decoder: codecs.IncrementalDecoder | None = None
    first = True
    for chunk in chunks:
        if first and chunk:
            first = False
            if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield chunk if decoder is None else decoder.decode(chunk).encode("utf-8", "replace")


def _line_batches(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces that end with a whole line; a line beyond `MAX_LINE_BYTES` loses its middle."""
    rest = b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        elif len(rest) < MAX_LINE_BYTES:
            rest += chunk
    if rest:
        yield rest + b"\n"


def _finder_for(data: bytes) -> re.Pattern[bytes] | None:
    """Return what finds the triggers that occur in `data` at all: few, so it is quick; None when none occurs."""
    present = tuple(trigger for trigger in _TRIGGERS if trigger in data)
    return _finder(present) if present else None


class _Reader:
    """The state between lines: the number of the next one, and the error that is being gathered."""

    def __init__(self) -> None:
        self._number = 0
        self._block: _Block | None = None
        self._heredoc = ""
        self._heredoc_left = 0
        self._blank_so_far = True
        self._is_cut = False
        self._shows = False
        self._initialised_at = 0
        self._ends_well = False
        self._tail = b""

    def batch(self, data: bytes) -> Iterator[Message]:
        """Read whole lines; between messages jump from one word of interest to the next."""
        finder, position = _finder_for(data), 0
        self._tail = data[-_TAIL_BYTES:]
        while position < len(data):
            if self._block is None and not self._heredoc and not self._blank_so_far:
                position = self._skip(data, position, finder)
                if position >= len(data):
                    break
            end = data.find(b"\n", position)
            raw = data[position : min(end, position + MAX_LINE_BYTES)].decode("utf-8", "replace")
            position = end + 1
            self._number += 1
            yield from self._line(raw)

    def _skip(self, data: bytes, position: int, finder: re.Pattern[bytes] | None) -> int:
        match = finder.search(data, position) if finder is not None else None
        if match is None:
            self._number += data.count(b"\n", position)
            return len(data)
        start = data.rfind(b"\n", position, match.start()) + 1
        if start <= position:
            return position
        self._number += data.count(b"\n", position, start)
        return start

    def event(self, event: Event) -> Iterator[Message]:
        """Read one typed event."""
        self._number += 1
        if isinstance(event, Unparsed):
            yield from self._line(event.message)
        else:
            yield from self._close()
            yield from self._typed(event, event.at)

    def end(self) -> Iterator[Message]:
        """Finish what is open, and say when the log ends while Terraform is at work."""
        yield from self._close()
        goes_on = self._initialised_at and self._number - self._initialised_at > _INIT_ENDS_IN
        if goes_on or (self._ends_well and _UNFINISHED.search(self._tail)):
            yield Message(kind=Kind.WORKING, text="")

    def _line(self, raw: str) -> Iterator[Message]:
        clean = undress(raw)
        if self._in_heredoc(clean.text):
            return
        if _EMBEDDED.search(clean.text) and not clean.text.lstrip().startswith("{"):
            for piece in clean.text.replace('\\"', '"').split("\\n"):
                yield from self._line(piece)
            yield from self._close()
            return
        if clean.text.lstrip().startswith('{"@level"'):
            yield from self._close()
            event = parse_event(clean.text.lstrip())
            yield from self._typed(event, event.at or clean.at)
            return
        if clean.debug:
            yield from self._debug(clean)
            return
        if self._block is not None and self._block.takes(clean):
            self._block.add(self._line_of(clean))
            return
        yield from self._close()
        yield from self._outside(clean)

    def _in_heredoc(self, text: str) -> bool:
        if self._heredoc:
            self._heredoc_left -= 1
            if text.strip() == self._heredoc or self._heredoc_left <= 0:
                self._heredoc = ""
            return True
        if self._block is None and (match := _HEREDOC.match(text)):
            self._heredoc, self._heredoc_left = match["end"], MAX_HEREDOC_LINES
            return True
        return False

    def _line_of(self, clean: Clean) -> Line:
        return Line(number=self._number, text=clean.text)

    def _outside(self, clean: Clean) -> Iterator[Message]:
        """Judge a line that belongs to no error."""
        first, self._blank_so_far = self._blank_so_far, self._blank_so_far and not clean.text and not clean.box
        head = _HEAD.match(clean.text)
        if self._shows and not clean.box and not clean.mark and (head or _PLAIN_HEAD.match(clean.text)):
            return  # `terraform output -raw` prints whatever a value says
        if head is None and clean.mark == "error" and not _NOTICE.match(clean.text):
            head = _HEAD.match(f"Error: {clean.text}")
        if head is not None and not _NOISE_ERROR.match(head[2]) and not _NOTICE.match(head[2]):
            self._open(clean, Kind.ERROR if head[1] == "Error" else Kind.WARNING, headline=head[2])
        elif said := _ATLANTIS.match(clean.text):
            self._open(clean, Kind.ERROR, headline=said["why"] or clean.text)
        elif _PLAIN_HEAD.match(clean.text):
            self._open(clean, Kind.ERROR, headline=clean.text)
        elif first and clean.box == "│":
            self._open(clean, Kind.ERROR, headline="")  # the log begins in the middle of an error
        else:
            yield from self._statement(clean, head)

    def _open(self, clean: Clean, kind: Kind, *, headline: str) -> None:
        self._block = _Block(
            kind=kind, boxed=bool(clean.box), first=self._line_of(clean), headline=headline, at=clean.at
        )

    def _close(self) -> Iterator[Message]:
        if self._block is not None:
            block, self._block = self._block, None
            yield block.message()

    def _statement(self, clean: Clean, head: re.Match[str] | None) -> Iterator[Message]:
        text = clean.text if head is None else head[2]
        if _NOTICE.match(text) or _TRACE.match(text):
            yield self._said(Kind.NOTICE, clean, text)
        elif head is not None or _FAILED.match(text) or _NOISE_ERROR.match(text):
            yield self._said(Kind.FAILURE, clean, text)
        elif word := next((word for pattern, word in _SUCCESS if pattern.match(text)), ""):
            self._note_success(word)
            yield self._said(Kind.SUCCESS, clean, word)
        elif host := _HOST.match(text.strip()):
            yield self._said(Kind.HOST, clean, host["name"] or host["runner"] or host["node"])
        elif version := _VERSION.match(text):
            yield self._said(Kind.VERSION, clean, f"{_PRODUCTS[version[1]]} {version[2]}")
        elif command := _COMMAND.match(text):
            self._shows = command["verb"] in _SHOWING
            yield self._said(Kind.COMMAND, clean, command["verb"])
        elif _WORKING.match(text):
            yield self._said(Kind.WORKING, clean, text)
        elif begun := _BEGUN.match(text):
            yield self._said(Kind.BEGUN, clean, _operation(begun["address"], _ACTIONS[begun["word"]]))
        elif ended := _ENDED.match(text):
            yield self._said(Kind.ENDED, clean, _operation(ended["address"], _ACTIONS[ended["word"]]))

    def _note_success(self, word: str) -> None:
        self._ends_well, self._initialised_at = True, self._number if word == "init" else 0

    def _said(self, kind: Kind, clean: Clean, text: str) -> Message:
        return Message(kind=kind, text=flatten(text), lines=(self._line_of(clean),), at=clean.at)

    def _debug(self, clean: Clean) -> Iterator[Message]:
        """Terraform's own log is noise, but a plugin's panic is printed nowhere else."""
        panic = re.match(r"provider\.\S{1,200}: (panic: .{0,500})", clean.text) if clean.debug == "ERROR" else None
        if panic is not None:
            yield self._said(Kind.NOTICE, clean, panic[1])

    def _typed(self, event: Event, at: datetime | None) -> Iterator[Message]:
        match event:
            case Diagnostic():
                yield _of_diagnostic(event, self._number, at)
            case ChangeSummary(operation="apply" | "destroy" | "plan" as word):
                self._note_success(word)
                yield Message(kind=Kind.SUCCESS, text=word, at=at)
            case Version():
                self._is_cut = False
                yield Message(kind=Kind.COMMAND, text="", at=at)
                yield Message(kind=Kind.VERSION, text=f"{event.product} {event.version}", at=at)
            case Apply(stage=Stage.START):
                yield Message(kind=Kind.BEGUN, text=_operation_of(event), at=at)
            case Apply(stage=Stage.COMPLETE):
                yield Message(kind=Kind.ENDED, text=_operation_of(event), at=at)
            case Apply(stage=Stage.ERRORED) if not self._is_cut:
                # After the cut Terraform calls operations failed on which the provider still works.
                yield Message(kind=Kind.ENDED, text=_operation_of(event), at=at)
            case Log() | Other() if _NOTICE.match(event.message.strip()):
                line = Line(number=self._number, text=flatten(event.message))
                self._is_cut = self._is_cut or line.text.startswith(_CUT)
                yield Message(kind=Kind.NOTICE, text=line.text, lines=(line,), at=at)
            case Log(message=text) if "successfully initialized" in text:
                self._note_success("init")
                yield Message(kind=Kind.SUCCESS, text="init", at=at)
            case _:
                return


def _operation(address: str, action: str) -> str:
    return f"{address.strip()} ({action})"


def _operation_of(event: Apply) -> str:
    """Return an operation as text; nothing for a data source, which changes nothing."""
    return "" if event.action is Action.READ else _operation(event.resource.address, event.action.value)


def _of_diagnostic(event: Diagnostic, number: int, at: datetime | None) -> Message:
    head = f"Error: {event.summary}" if event.severity is Severity.ERROR else f"Warning: {event.summary}"
    place = f"on {event.file} line {event.line}:" if event.file else ""
    parts = [*head[:MAX_MESSAGE_CHARS].splitlines(), place, *event.detail[:MAX_MESSAGE_CHARS].splitlines()]
    lines = tuple(Line(number=number, text=text.rstrip()) for text in parts if text.strip())[:MAX_BLOCK_LINES]
    return Message(
        kind=Kind.ERROR if event.severity is Severity.ERROR else Kind.WARNING,
        text=flatten(" ".join(line.text for line in lines))[:MAX_MESSAGE_CHARS],
        summary=flatten(event.summary),
        lines=lines,
        address=event.address,
        at=at,
    )


class _Block:
    """An error that is being gathered, line by line."""

    def __init__(self, *, kind: Kind, boxed: bool, first: Line, headline: str, at: datetime | None) -> None:
        self.kind = kind
        self._boxed = boxed
        self._lines = [first]
        self._headline = [headline]
        self._in_headline = bool(headline)
        self._chars = len(first.text)
        self._address = ""
        self._at = at

    def takes(self, clean: Clean) -> bool:
        """Say whether the line belongs to this error."""
        if len(self._lines) >= MAX_BLOCK_LINES or self._chars >= MAX_MESSAGE_CHARS:
            return False
        if self._boxed:
            return clean.box == "│" and _HEAD.match(clean.text) is None
        if clean.box or clean.mark in {"command", "section", "group"}:
            return False
        return not _ENDS_PLAIN.match(clean.text) and not _NOTICE.match(clean.text) and not _BEGUN.match(clean.text)

    def add(self, line: Line) -> None:
        """Take one more line."""
        if _SNIPPET.match(line.text):
            self._in_headline = False
            return
        self._lines.append(line)
        self._chars += len(line.text) + 1
        if not line.text.strip() or _WITHIN.match(line.text):
            self._in_headline = False
        if self._in_headline:
            self._headline.append(line.text)
        if not self._address and (match := _WITH.fullmatch(line.text)):
            self._address = match["address"]

    def message(self) -> Message:
        """Return it as a message."""
        while self._lines and not self._lines[-1].text.strip():
            self._lines.pop()
        return Message(
            kind=self.kind,
            text=flatten(" ".join(line.text for line in self._lines))[:MAX_MESSAGE_CHARS],
            summary=flatten(" ".join(self._headline)),
            lines=tuple(self._lines),
            address=self._address,
            at=self._at,
        )
