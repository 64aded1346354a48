"""Writes what ships in this repository for pipelines of others, with the code of `interlock ci generate`.

Run `python scripts/write_shipped.py` after changing src/interlock/ci/rendering or the version; `--check` fails when a
file is not current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from interlock import __version__
from interlock.ci.rendering import shipped, shipped_azure, shipped_gitlab

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Write the files, or check them."""
    rooms = (shipped, shipped_azure, shipped_gitlab)
    wanted = {path: text for room in rooms for path, text in room.render(__version__).items()}
    stale = [path for path, text in wanted.items() if _present(path) != text]
    if "--check" in sys.argv:
        if stale:
            print(f"not current: {', '.join(stale)}; run python scripts/write_shipped.py", file=sys.stderr)
        return int(bool(stale))
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(wanted[path])
    return 0


def _present(path: str) -> str:
    file = ROOT / path
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
