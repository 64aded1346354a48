"""How large what a plan file holds may be: a zip of 3 MB can hold gigabytes. Looked at before anything is unpacked.

Knows: a zip's directory. The reader of an entry never gives more bytes than the directory says.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from interlock.errors import UsageError, reason_of
from interlock.unpacking import UNPACKING_FAULTS

MAX_FILE_BYTES = 512 << 20  # of the plan file; states compress, so this is some gigabytes of state
MAX_ENTRIES = 20_000  # as many files as a configuration may have
MAX_ENTRY_BYTES = 256 << 20  # of one entry, which is the state; a larger one no backend of ours accepts
MAX_CONFIGURATION_BYTES = 64 << 20  # of all configuration files, which are read together
_CONFIGURATION = "tfconfig/"


def check_size(archive: zipfile.ZipFile) -> None:
    """Refuse a plan that holds more than any plan does.

    Raises:
        UsageError: It has too many entries, or they are too large.
    """
    entries = archive.infolist()
    files = sum(entry.file_size for entry in entries if entry.filename.startswith(_CONFIGURATION))
    why = ""
    if len(entries) > MAX_ENTRIES:
        why = f"it has more than {MAX_ENTRIES} entries"
    elif any(entry.file_size > MAX_ENTRY_BYTES for entry in entries):
        why = f"an entry has more than {MAX_ENTRY_BYTES >> 20} MiB"
    elif files > MAX_CONFIGURATION_BYTES:
        why = f"its configuration has more than {MAX_CONFIGURATION_BYTES >> 20} MiB"
    if why:
        raise UsageError("the plan is too large to be looked at", why=why, fix="interlock plan --out FILE")


def check_plan_file(path: Path) -> None:
    """Look at the size of a plan file before a run is begun with it; what is not a zip is left for later.

    Raises:
        UsageError: It cannot be read, or see `check_size`.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            why = f"it has more than {MAX_FILE_BYTES >> 20} MiB"
            raise UsageError("the plan is too large to be looked at", why=why, fix="interlock plan --out FILE")
        with zipfile.ZipFile(path) as archive:
            check_size(archive)
    except OSError as error:
        why = reason_of(error)
        raise UsageError(f"the plan {path} cannot be read", why=why, fix="interlock plan --out FILE") from error
    except UNPACKING_FAULTS:
        return  # OpenTofu's encrypted plans are none; whoever reads the plan says what is wrong with it
