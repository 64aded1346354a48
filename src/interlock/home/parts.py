"""What every home tells in the same way from its parts: who acts, and which state is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.settings.reading import load
from interlock.settings.values import Settings
from interlock.store.checksums import RecordDamaged

if TYPE_CHECKING:
    from interlock.home.interface import Home, Say
    from interlock.home.known import KnownState


def to_nobody(_text: str) -> None:
    """Say nothing, as where no person waits."""


class FromParts:
    """The part of `interlock.home.interface.Home` that follows from its coordinator, its states and its settings.

    Attributes:
        settings: What holds for this command.
        say: See `Home.say`; set by whoever opens a home for a person.
    """

    settings: Settings
    say: Say = staticmethod(to_nobody)

    @property
    def me(self) -> str:
        """See `Home.me`. A server writes the token's own name behind it."""
        from interlock import host

        return host.who()

    @property
    def person(self) -> str:
        """See `Home.person`. A server writes the token's own name behind it."""
        from interlock import host

        return host.person()

    @property
    def runs(self) -> Path:
        """See `Home.runs`: those that were started here."""
        return self.settings.runs

    def settings_in(self, directory: Path, environ: Mapping[str, str]) -> Settings:
        """See `Home.settings_in`."""
        return load(directory, environ)

    async def keeps(self: Home, state: str) -> bool:
        """See `Home.keeps`. A record that cannot be read is there: it is told, and repaired, under this name."""
        try:
            return (await self.coordinator.view(state)).version is not None
        except RecordDamaged:
            return True

    async def has_version(self: Home, state: str) -> bool:
        """See `Home.has_version`. What a damaged record hides is not a reason to begin anew."""
        try:
            return (await self.coordinator.view(state)).head is not None
        except RecordDamaged:
            return True

    async def known(self: Home, word: str) -> KnownState | None:
        """See `Home.known`."""
        return await self.states.find(word)

    async def known_in(self: Home, directory: Path) -> Sequence[KnownState]:
        """See `Home.known_in`."""
        return await self.states.of_folder(str(directory))

    def state_of_run(self, run: str) -> str | None:
        """See `Home.state_of_run`."""
        from interlock.run.summary import find_summary

        summary = find_summary(self.runs / run)
        return None if summary is None else summary.state

    async def state_of_lock(self: Home, lock_id: str) -> str | None:
        """See `Home.state_of_lock`."""
        for view in await self.coordinator.states():
            if any(holder.lock_id == lock_id for holder in view.lock.holders):
                return view.state
        return None
