"""A run's way to a workspace of a state elsewhere that only we write; see `door_access.py`.

Terraform's HTTP backend knows no workspaces, and `terraform.workspace` must be right. So Terraform works with its local
backend in the run's tree, as in a workspace of a state of ours (`own_space.py`): what it leaves there is fenced, judged
and written when it has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from interlock.errors import InterlockError
from interlock.run.surroundings import Tell
from interlock.site.door_access import DoorAccess
from interlock.site.own_space import SpaceFile
from interlock.terraform.command import HttpBackend


@dataclass(slots=True, kw_only=True)
class DoorSpaceAccess(DoorAccess):
    """See `StateAccess`."""

    _file: SpaceFile | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `ExistingAccess.opened`. Nobody asks us while Terraform works."""
        self._file = SpaceFile(self.run_folder, self.own_workspace)
        try:
            yield
        finally:
            await self._file.clear()

    @property
    def backend(self) -> HttpBackend | None:
        """See `StateAccess.backend`: the tree's override names the local one."""
        return None

    @property
    def workspace(self) -> str:
        """See `StateAccess.workspace`."""
        return self.own_workspace

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`. Terraform refuses a workspace that is not there before `enter`."""
        return False

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """See `StateAccess.enter`. Put the stored state where Terraform looks for it."""
        await DoorAccess.enter(self, tell, timeout_s=timeout_s)
        assert self._file is not None
        await self._file.put(await self.stored())

    async def rest(self) -> None:
        """See `StateAccess.rest`: write what Terraform left. A refusal, or a server that is away, is remembered."""
        assert self._file is not None
        body = await self._file.left()
        if body is None:
            return
        with suppress(InterlockError):
            await self.write(body, None)
            await self._file.stored(body)
