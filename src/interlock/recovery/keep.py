"""States that we are about to replace, or whose lock we are about to break, kept as files. A hand.

Nothing that Interlock replaces in another backend is lost, whether or not that backend keeps versions. The files are
plain Terraform states under the home, readable by their owner only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from interlock.errors import BackendUnavailable
from interlock.source.disk import write_file
from interlock.trust.ownership import make_folder

MAX_KEPT = 1000  # files listed of one state
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-([0-9a-f]{12})\.tfstate\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One kept state.

    Attributes:
        path: Its file.
        at: When it was kept.
        digest: The first twelve digits of its SHA-256.
    """

    path: Path
    at: datetime
    digest: str


class Keep:
    """The kept states of one home.

    Args:
        folder: Where they are; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, address: str, body: bytes, *, now: datetime) -> Path:
        """Keep the bytes of a state; the same bytes are kept once. Return the file, which is on disk then.

        Raises:
            BackendUnavailable: It cannot be written.
        """
        digest = hashlib.sha256(body).hexdigest()[:12]
        for kept in self.kept(address):
            if kept.digest == digest and kept.path.read_bytes() == body:
                return kept.path
        path = self._of(address) / f"{now.astimezone(UTC).strftime(_STAMP)}-{digest}.tfstate"
        try:
            make_folder(path.parent)
            write_file(path, body)
        except OSError as error:
            raise BackendUnavailable(
                f"a copy of {address} could not be kept, so nothing was changed",
                why=f"{path.parent}: {error.strerror}",
                fix="free some space there, or set INTERLOCK_HOME",
            ) from error
        return path

    def kept(self, address: str) -> list[Kept]:
        """Return what is kept of a state, newest first, at most `MAX_KEPT`."""
        folder = self._of(address)
        names = sorted((entry.name for entry in folder.iterdir()), reverse=True) if folder.is_dir() else []
        matches = [match for name in names if (match := _NAME.match(name))]
        return [
            Kept(
                path=folder / match[0],
                at=datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC),
                digest=match[2],
            )
            for match in matches[:MAX_KEPT]
        ]

    def _of(self, address: str) -> Path:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", address).strip("-.")[-60:] or "state"
        return self._folder / f"{slug}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
