"""Terraform's own log (`TF_LOG_PATH`): written where only its owner may read, and handed over without secrets. A hand.

Terraform writes there whatever it calls, and providers too: the run's way to its state and to the API among it, which
open both to whoever reads the file while the run lives, and credentials. The file is the user's, and often an artifact
of a CI job. So Terraform writes to one in the run's folder, and after each command what is new goes to the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.secrecy import KnownSecrets

VARIABLE: Final = "TF_LOG_PATH"
NAME: Final = "trace.log"
_LEFT: Final = "trace.log.left"
_MASK: Final = "(address)"


@dataclass(slots=True, kw_only=True)
class TraceLog:
    """One run's.

    Attributes:
        folder: The run's folder.
        directory: Where Terraform would look for a file without a folder.
    """

    folder: Path
    directory: Path
    _wanted: Path | None = None
    _offset: int = 0

    def redirect(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which the log goes to the run's folder; as it is when none is asked for."""
        wanted = environ.get(VARIABLE)
        if not wanted:
            return dict(environ)
        self._wanted = self.directory / wanted
        return {**environ, VARIABLE: str(self.folder / NAME)}

    def hand_over(self, known: KnownSecrets, address: str) -> None:
        """Append what is new to the user's file, without known secrets and without the address of the state.

        A line that is not whole waits for the next time: a secret must not be cut in two.

        Raises:
            OSError: It cannot be written; what is new stays in the run's folder.
        """
        if self._wanted is not None and self._own.exists():
            self._append(self._wanted, known, address, is_all=False)

    def clear(self, known: KnownSecrets, address: str) -> None:
        """Hand over what is left, also half a line, and remove the run's own copy.

        A provider may write until it has ended, which is after the command has. What cannot be handed over is kept in
        the run's folder, without secrets.

        Raises:
            OSError: What is left can be written nowhere; the run's own copy is removed.
        """
        if self._wanted is None or not self._own.exists():
            return
        left = self.folder / _LEFT
        try:
            self._append(self._wanted, known, address, is_all=True)
        except OSError:
            left.unlink(missing_ok=True)
            self._append(left, known, address, is_all=True)
        finally:
            self._own.unlink()
        if left.exists():
            left.replace(self._own)

    @property
    def _own(self) -> Path:
        return self.folder / NAME

    def _append(self, to: Path, known: KnownSecrets, address: str, *, is_all: bool) -> None:
        with self._own.open("rb") as file, to.open("a", errors="surrogateescape", encoding="utf-8") as theirs:
            file.seek(self._offset)
            for line in file:
                if not is_all and not line.endswith(b"\n"):
                    break
                text = line.decode(errors="surrogateescape")
                theirs.write(known.hide(text.replace(address, _MASK) if address else text))
                self._offset += len(line)
