"""Draws docs/pictures/demo.svg: what `interlock demo` prints, line by line at its own time, from a real run of it.

Run `python scripts/draw_demo.py` after the demo's texts changed. The picture needs no program to play it: each line
appears by a CSS animation, the last frame stays, and a reader who asked for less motion sees that frame at once.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "demo.svg"
COLUMNS, LINE_PX, CHARACTER_PX, MARGIN_PX, TITLE_PX = 96, 19, 8.1, 16, 34
DEMO_LIMIT_S = 300
# A second of the demo takes this long in the picture: half a minute of waiting is too long to look at.
PACE = 0.4
_STAMPED = re.compile(r"^\s*(?P<at>\d+\.\d)s  (?P<who>pipeline \d)")
# Evidence is a long sentence; a picture of the queue needs its beginning only.
_STYLES = (
    ("killed", re.compile(r"KILLED")),
    ("good", re.compile(r"holds the state now|^  ✓")),
    ("quiet", re.compile(r"queued, position")),
    ("head", re.compile(r"^\S")),
)


@dataclass(frozen=True)
class Line:
    """One printed line, and when it appears in the picture, in seconds."""

    text: str
    at_s: float

    @property
    def style(self) -> str:
        """Return the class that colours the line."""
        return next((name for name, sign in _STYLES if sign.search(self.text)), "plain")


def demo() -> str:
    """Run the demo and return what it printed.

    Raises:
        subprocess.CalledProcessError: A check of the demo failed; such a run is not drawn.
    """
    words = [sys.executable, "-m", "interlock", "demo"]
    return subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEMO_LIMIT_S
    ).stdout


def fitted(text: str) -> str:
    """Return a line cut to the width of the picture, with a sign that it was cut."""
    return text if len(text) <= COLUMNS else text[: COLUMNS - 1].rstrip() + "…"


def timed(printed: str) -> list[Line]:
    """Return the lines in order; one without a time of its own appears a blink after the one before."""
    lines, at_s = [], 0.0
    for text in printed.strip().splitlines():
        stamp = _STAMPED.match(text)
        at_s = max(at_s, float(stamp["at"]) * PACE) if stamp else at_s + 0.05
        lines.append(Line(fitted(text.rstrip()), round(at_s, 2)))
    return lines


def shown(printed: str) -> str:
    """Return the part of the demo that the picture shows: without its temporary folder and its last advice."""
    kept = printed.split("Try it on your own configuration", maxsplit=1)[0]
    return "\n".join(line for line in kept.splitlines() if "http://127.0.0.1" not in line)


def row(line: Line, number: int) -> str:
    """Return the SVG text of one line."""
    y = TITLE_PX + (number + 1) * LINE_PX
    return (
        f'<text class="{line.style}" x="{MARGIN_PX}" y="{y}" style="animation-delay:{line.at_s}s" '
        f'xml:space="preserve">{escape(line.text)}</text>'
    )


STYLE = """
text{font:13.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre;fill:#c9d1d9;
  animation:appear .01s linear both}
.title{fill:#8b949e;animation:none}.head{fill:#ffffff;font-weight:bold}.good{fill:#56d364}.killed{fill:#ff7b72}
.quiet{fill:#8b949e}
@keyframes appear{from{opacity:0}to{opacity:1}}
@media (prefers-reduced-motion:reduce){text{animation:none}}
"""


def drawn(lines: list[Line]) -> str:
    """Return the picture."""
    width, height = round(COLUMNS * CHARACTER_PX) + 2 * MARGIN_PX, TITLE_PX + (len(lines) + 1) * LINE_PX + MARGIN_PX
    dots = "".join(
        f'<circle cx="{20 + 18 * n}" cy="17" r="6" fill="{c}"/>'
        for n, c in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    )
    rows = "\n".join(row(line, number) for number, line in enumerate(lines) if line.text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Four pipelines wait for one state in turn; one is killed, and the next recovers what it left">\n'
        f'<style>{STYLE}</style>\n<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n{dots}\n'
        f'<text class="title" x="80" y="22">interlock demo</text>\n{rows}\n</svg>\n'
    )


if __name__ == "__main__":
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn(timed(shown(demo()))))
