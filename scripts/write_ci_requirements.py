"""Write src/interlock/ci/data/requirements.txt: what Interlock needs at run time, out of requirements/dev.txt.

Usage: python scripts/write_ci_requirements.py [--check]
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TARGET = ROOT / "requirements/dev.txt", ROOT / "src/interlock/ci/data/requirements.txt"
EXTRAS = ("aws", "postgres")  # what generated jobs may need besides


def needed() -> set[str]:
    """Return the names of everything that Interlock needs, markers of this machine left aside."""
    found: set[str] = set()
    pending = [("interlock", frozenset(EXTRAS))]
    while pending:
        name, extras = pending.pop()
        for text in metadata.requires(name) or ():
            wanted = Requirement(text)
            marker = str(wanted.marker or "")
            if "extra" in marker and not any(f'extra == "{extra}"' in marker for extra in extras):
                continue
            known = str(canonicalize_name(wanted.name))
            if known not in found and is_installed(known):
                found.add(known)
                pending.append((known, frozenset(wanted.extras)))
    return found


def is_installed(name: str) -> bool:
    """Say whether a package is here; one for other systems alone is not, and is listed by name all the same."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def wanted_text() -> str:
    """Return the file as it should be."""
    names = needed()
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", SOURCE.read_text())
    kept = [block for block in blocks if canonicalize_name(re.split(r"[=\\[ ;]", block, maxsplit=1)[0]) in names]
    return "".join(re.sub(r"(?m)^ +# via.*\n(?: +#.*\n)*", "", block) for block in kept)


def main() -> int:
    """Write the file, or say whether it is right."""
    text = wanted_text()
    if sys.argv[1:] == ["--check"]:
        return 0 if TARGET.read_text() == text else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
