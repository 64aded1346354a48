"""What a log says, in pieces that can be judged: errors, notices, and what succeeded."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import accumulate
from typing import Final

from interlock.secrecy import hide_quoted

MAX_MESSAGE_CHARS: Final = 16 * 1024  # of one error; what follows is not looked at (judging this much takes 0.1 s)
MAX_SHOWN_CHARS: Final = 500  # of one deciding line


class Kind(Enum):
    """What a message is."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"
    """A line outside any error that may explain one: a crash banner, an interrupt, the CI system ending the job."""
    BEGUN = "begun"
    """Terraform started to change a resource: the text is the operation, `x.y (create)`; empty when it only reads."""
    ENDED = "ended"
    """The operation that is the text ended, and Terraform knows how."""
    SUCCESS = "success"
    """A command succeeded; the text is `init`, `plan`, `apply`, `destroy` or `job`."""
    FAILURE = "failure"
    """The CI system or the shell says that a step failed, without saying why."""
    WORKING = "working"
    """Terraform is at work (reads, refreshes, waits, configures its backend): what it says is no end yet."""
    COMMAND = "command"
    """A Terraform command begins."""
    VERSION = "version"
    """The text is the product and version of the Terraform that speaks: `terraform 1.11.4`."""
    HOST = "host"
    """The text is the name of the machine that the log comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as people see it: number in the log (from 1), text without colours, boxes and CI prefixes."""

    number: int
    text: str


_PLACE: Final = re.compile(r"\s*(?:with \S+,?$|on .{1,300} line \d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that the log said.

    Attributes:
        kind: What it is.
        text: All of it on one line: wrapped lines joined, blanks collapsed. The patterns of causes are matched here.
        summary: The headline of an error, without `Error:`.
        lines: The lines that it was made of.
        address: The resource that an error names, or empty.
        at: When it was said, if the log tells.
    """

    kind: Kind
    text: str
    summary: str = ""
    lines: tuple[Line, ...] = ()
    address: str = ""
    at: datetime | None = None

    def lines_at(self, *spans: tuple[int, int]) -> tuple[Line, ...]:
        """Return the headline and the lines that hold the given pieces (start, end) of the text."""
        if not self.lines:
            return ()
        ends = list(accumulate(len(flat) + 1 if (flat := flatten(line.text)) else 0 for line in self.lines))
        chosen = {0}
        for start, end in spans:
            first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, end)
            chosen.update(range(first, min(last, len(self.lines) - 1) + 1))
        if chosen == {0}:
            chosen |= self._first_detail()
        return tuple(self.lines[place] for place in sorted(chosen) if self.lines[place].text.strip() or place == 0)

    def _first_detail(self) -> set[int]:
        """The place of the first line that says more than the headline: no blank, no `with`, no `on FILE line N`."""
        for place, line in enumerate(self.lines[1:], start=1):
            if line.text.strip() and not _PLACE.match(line.text):
                return {place}
        return set()


def flatten(text: str) -> str:
    """Return the text on one line, with single blanks."""
    return " ".join(text.split())


def masked(text: str) -> str:
    """Return the text without its secrets, cut to `MAX_SHOWN_CHARS`.

    It is cut last: half a token is not known for one, and shows its other half.
    """
    return hide_quoted(text[:MAX_MESSAGE_CHARS])[:MAX_SHOWN_CHARS]
