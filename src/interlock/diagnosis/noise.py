"""Strips a line of what the way to us added: colours, CI prefixes and timestamps, and Terraform's boxes.

Source: logs of GitHub Actions (raw, and `gh run view --log`), GitLab (with and without FF_TIMESTAMPS), Azure Pipelines,
Jenkins with timestamper, Terragrunt, HCP Terraform; Windows consoles that read UTF-8 as code page 1252 or 437.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_COLOUR: Final = re.compile(
    r"\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|\x1b[\[(][0-9;?]{0,20}[ -/]?[@-~]|\^?\[[0-9;]{1,12}m"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\ufeff]")
_DAY: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_PREFIX: Final = re.compile(
    r"(?P<job>[^\t]{1,200}\t[^\t]{1,200}\t(?=\d{4}-\d\d-\d\d))"  # gh run view --log
    rf"|\[?(?P<at>{_DAY})\]?(?:[ \t]\d\d[OE](?:[ +]|$)|[ \t]|$)"  # GitHub, GitLab, Azure, Jenkins
    r"|\[?\d\d:\d\d:\d\d(?:\.\d{1,6})?\]?[ \t]{1,4}"  # a clock without a day
    r"|(?:STDOUT|STDERR|INFO|ERROR|WARN)[ \t]{1,8}(?:\[[^\]]{0,300}\][ \t]{1,4})?(?:terraform|tofu):[ \t]?"
    r"|\[[\w./ -]{1,200}\][ \t](?=[│╷╵])"  # Terragrunt before 0.67, build tools: [module] in front of a box
)
_MARK: Final = re.compile(
    r"##\[(?P<azure>error|warning|command|debug|group|endgroup|section)\](?:\s?:?\s?(?=Error:))?"
    r"|::(?P<github>error|warning|debug|notice|group|endgroup)(?:[ ][^:]{0,500})?::"
)
_SECTION: Final = re.compile(r"section_(?:start|end):\d{1,20}:[\w.-]{1,200}(?:\[[^\]]{0,200}\])?")
_DEBUG: Final = re.compile(r"\[?(?P<level>TRACE|DEBUG|INFO|WARN|ERROR)\]")
_BOXES: Final = {
    "│": "│",
    "╷": "╷",
    "╵": "╵",
    "â”‚": "│",
    "â•·": "╷",
    "â•µ": "╵",
    "Γöé": "│",
    "Γò╖": "╷",
    "Γò╡": "╵",
}
_BOX: Final = re.compile("(" + "|".join(map(re.escape, _BOXES)) + r")\s?")
_MAX_PREFIXES: Final = 4  # gh's job and step, a timestamp, and one of a wrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """One line, undressed.

    Attributes:
        text: What Terraform or the script printed; trailing blanks removed.
        box: `╷`, `│`, `╵` when the line was part of a box, else empty.
        mark: What the CI system called the line: `error`, `warning`, `command`, `section`, or empty.
        debug: The level when it is a line of Terraform's own log (`TF_LOG`), else empty.
        at: The CI system's timestamp.
    """

    text: str
    box: str = ""
    mark: str = ""
    debug: str = ""
    at: datetime | None = None


def undress(raw: str) -> Clean:
    """Strip one line, without its line end, of everything that is not its content."""
    text = _last_overwrite(_COLOUR.sub("", raw)) if "\r" in raw or "\x1b" in raw or "[" in raw else raw
    text = _CONTROL.sub("", text)
    text, at = _without_prefixes(text)
    text, mark = _without_marks(text)
    if debug := _DEBUG.match(text):
        return Clean(text=text[debug.end() :].strip(), mark=mark, debug=debug["level"], at=at)
    box = ""
    if match := _BOX.match(text):
        box, text = _BOXES[match[1]], text[match.end() :]
    return Clean(text=text.rstrip(), box=box, mark=mark, at=at)


def _last_overwrite(text: str) -> str:
    """Return what a terminal would show of a line that was written over with carriage returns."""
    return text.rstrip("\r").rpartition("\r")[2]


def _without_prefixes(text: str) -> tuple[str, datetime | None]:
    at: datetime | None = None
    for _ in range(_MAX_PREFIXES):
        match = _PREFIX.match(text)
        if match is None:
            break
        at = at or _instant(match["at"])
        text = text[match.end() :]
    return text, at


def _without_marks(text: str) -> tuple[str, str]:
    if "section_" in text:
        text = _SECTION.sub("", text)
    match = _MARK.match(text)
    if match is None:
        return text, ""
    return text[match.end() :], match["azure"] or match["github"]


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.replace(",", ".")[:26].rstrip("Z") if "Z" in text else text)
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
