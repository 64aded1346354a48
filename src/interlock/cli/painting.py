"""Colours for a plan as Terraform prints it.

Terraform runs with -no-color, so that a colour in its output could only be somebody else's; these are ours.
"""

from __future__ import annotations

import re

_SIGN = re.compile(r"^( *)(-/\+|\+/-|<=|[+\-~])(?= )")
_TITLE = re.compile(r"^  # .+")
_FORCED = re.compile(r"# (forces replacement)$")
_CODES = {"+": "32", "-": "31", "~": "33", "<=": "36"}
_WORDS = re.compile(r"\b(destroyed|replaced)\b")


def paint_plan(text: str) -> str:
    """Return a plan with the colours of Terraform: signs, titles, what is destroyed and what forces a replacement.

    Args:
        text: Without colours and without anything that steers a terminal.
    """
    return "\n".join(map(_painted, text.split("\n")))


def _painted(line: str) -> str:
    if _TITLE.match(line):
        return _bold(_WORDS.sub(lambda found: f"\x1b[31m{found[0]}\x1b[0;1m", line))
    if line.startswith(("Plan: ", "No changes.")):
        return _bold(line)
    line = _FORCED.sub("\x1b[31m# \\1\x1b[0m", line)
    return _SIGN.sub(lambda found: f"{found[1]}{_sign(found[2])}", line, count=1)


def _sign(sign: str) -> str:
    if sign in _CODES:
        return f"\x1b[{_CODES[sign]}m{sign}\x1b[0m"
    return "/".join(f"\x1b[{_CODES[part]}m{part}\x1b[0m" for part in sign.split("/"))


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"
