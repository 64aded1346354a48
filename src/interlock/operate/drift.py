"""Scans for drift and decisions about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import UsageError, command
from interlock.settings.values import Settings
from interlock.site.which import resolve

if TYPE_CHECKING:
    from interlock.drift import Finding, Ledger, Ruling, Scan
    from interlock.drift.ledger import LedgerBook
    from interlock.home.interface import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDrift:
    """The drift of one state, for a person's command."""

    state: str
    directory: Path
    book: LedgerBook

    async def scan(self) -> Scan:
        """Return the last scan.

        Raises:
            UsageError: There is none.
        """
        from interlock.drift.decisions import with_ledger

        scan = await self.book.last_scan(self.state)
        if scan is None:
            raise UsageError(
                f"state {self.state} was never scanned for drift", fix=command("drift", "--state", self.state)
            )
        return with_ledger(scan, await self.book.read(self.state))

    async def decide(self, words: tuple[str, ...], ruling: Ruling) -> list[Finding]:
        """Record a decision about findings of the last scan; return them.

        Args:
            words: Addresses or ids of objects; none for everything that is open and to which the choice applies.
            ruling: The decision.

        Raises:
            UsageError: Nothing was found, or it does not fit.
        """
        from interlock.drift.decisions import decide, find_meant

        scan = await self.scan()
        chosen = find_meant(scan, words, ruling.choice)

        def change(ledger: Ledger) -> Ledger:
            for finding in chosen:
                ledger = decide(ledger, finding, ruling, salt=scan.salt)
            return ledger

        await self.book.change(self.state, change)
        return chosen


async def find_drift(directory: Path, named: str | None, home: Home, environ: Mapping[str, str]) -> StateDrift:
    """Return the drift of a state: as named, or that of a root module.

    Raises:
        UsageError: No state can be meant.
    """
    ref = await resolve(named if named is not None else str(directory.absolute()), home, environ)
    module = ref.directory or _module_of(home.settings, ref.queue, directory)
    return StateDrift(state=ref.queue, directory=module, book=home.drift)


def _module_of(settings: Settings, state: str, directory: Path) -> Path:
    """Return the root module of a state that was named: as interlock.yaml says, else the folder given."""
    own = settings.states.get(state)
    return own.directory if own is not None and own.directory is not None else directory
