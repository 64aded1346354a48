"""What `interlock doctor --fix` does: nothing that changes a state, takes a lock or needs a decision. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import UsageError
from interlock.operate.doctor import IGNORED, Checked, OpenHome, is_ignored

if TYPE_CHECKING:
    from interlock.settings.values import Settings

_HEAD = "# Terraform: plug-ins, and states, which hold secrets"


async def mend(rows: Sequence[Checked], directory: Path, settings: Settings, open_home: OpenHome) -> list[str]:
    """Do what can be done about what was found; return what was done, for people.

    Args:
        rows: What `examine_surroundings` found.
        directory: The root module.
        settings: Those that hold there.
        open_home: Opens the home, and makes it.

    Raises:
        UsageError: A file cannot be written.
    """
    wanted = dict.fromkeys(row.mend for row in rows if row.mend)
    done = []
    if "home" in wanted:
        async with open_home(make=True):
            done.append(f"made {settings.home}, which only you may read")
    if "ignores" in wanted:
        done.append(await asyncio.to_thread(_ignore, directory))
    return done


def _ignore(directory: Path) -> str:
    """Append what git must not take to the folder's `.gitignore`; what stands there stays."""
    path = directory / ".gitignore"
    missing = [name for name in IGNORED if not is_ignored(directory, name)]
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join([gap + _HEAD, *missing]) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{path} cannot be written", why=why, fix="interlock doctor") from error
    return f"wrote {', '.join(missing)} into {path}"
