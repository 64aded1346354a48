"""What was seen of each trigger, platform and state home: tests run generated files and write it down here.

`tests/e2e/pipeline_cells.json` is what the tests saw when they were run with INTERLOCK_RECORD_CELLS=1, and what they
must see since then. `scripts/write_pipelines.py` makes docs/reference/pipelines.md of it. What was not run is not in
it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).parent / "e2e" / "pipeline_cells.json"
RECORD = "INTERLOCK_RECORD_CELLS"

Cells = dict[str, dict[str, dict[str, str]]]
"""Platform, trigger, home: what was seen."""


def read_cells() -> Cells:
    """Return what was seen so far."""
    found: Cells = json.loads(FILE.read_text() or "{}") if FILE.exists() else {}
    return found


def _record(platform: str, home: str, seen: Mapping[str, str]) -> None:
    with FILE.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cells = read_cells()
        for trigger, what in seen.items():
            cells.setdefault(platform, {}).setdefault(trigger, {})[home] = what
        FILE.write_text(json.dumps(cells, indent=1, sort_keys=True) + "\n")


def check_cells(platform: str, home: str, seen: Mapping[str, str]) -> None:
    """Compare what a test has seen, by trigger, with what is written down; or write it down where that is asked for."""
    if os.environ.get(RECORD):
        _record(platform, home, seen)
        return
    cells = read_cells()
    known = {trigger: cells.get(platform, {}).get(trigger, {}).get(home) for trigger in seen}
    assert dict(seen) == known
