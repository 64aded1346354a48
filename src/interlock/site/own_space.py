"""A run's way to its state in a workspace of Interlock's own backend.

Terraform's HTTP backend knows no workspaces, and `terraform.workspace` must be right. So Terraform works with its local
backend in the run's tree: the stored state is put there when the run has its grant, and what Terraform leaves there is
written through the run's gate, fenced and judged like every write, when Terraform has ended. Until then the file is
what `errored.tfstate` is to other runs: whoever recovers a dead run finds it by the mark beside the run's record.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.backend.gate import RunGate
from interlock.errors import InterlockError
from interlock.run.leaving import note_space
from interlock.run.private_file import keep_private
from interlock.run.summary import find_summary
from interlock.run.workspace import SPACES, space_of
from interlock.site.own_access import OwnAccess

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator
    from interlock.coordinator.archive_interface import Archive
    from interlock.run.order import Order
    from interlock.run.surroundings import Tell
    from interlock.terraform.command import HttpBackend


class SpaceFile:
    """The file in a run's tree in which Terraform's local backend has the state of a workspace while the run works.

    Args:
        run_folder: The run's folder, whose record says where Terraform works.
        workspace: Terraform's workspace.
    """

    def __init__(self, run_folder: Path, workspace: str) -> None:
        self._run_folder = run_folder
        self._workspace = workspace
        self._put: bytes | None = None

    async def put(self, body: bytes | None) -> None:
        """Let Terraform find the stored state there; None for none."""
        self._put = body
        await asyncio.to_thread(self._put_there, body)

    def _put_there(self, body: bytes | None) -> None:
        path = self._path()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        note_space(self._run_folder, path, body or b"")
        if body is not None:
            keep_private(path, body)

    async def left(self) -> bytes | None:
        """Return what Terraform left there; None when it is what was put there, or stored since."""
        body = await asyncio.to_thread(self._read)
        return None if body is None or body == self._put else body

    async def stored(self, body: bytes) -> None:
        """Write down that this is stored by now."""
        await asyncio.to_thread(note_space, self._run_folder, self._path(), body)
        self._put = body

    async def clear(self) -> None:
        """Take it away; a run whose state could not be stored has kept a copy by now."""
        summary = find_summary(self._run_folder)
        if summary is not None and summary.folder:
            await asyncio.to_thread(shutil.rmtree, Path(summary.folder) / SPACES, ignore_errors=True)

    def _read(self) -> bytes | None:
        try:
            return self._path().read_bytes()
        except FileNotFoundError:
            return None

    def _path(self) -> Path:
        summary = find_summary(self._run_folder)
        assert summary is not None, "a run that holds its state has a record"
        return space_of(Path(summary.folder), self._workspace)


class SpaceAccess(OwnAccess):
    """See `interlock.run.surroundings.StateAccess`.

    Args:
        gate: What the run may do.
        archive: Where its state is.
        workspace: Terraform's workspace.
        run_folder: The run's folder, whose record says where Terraform works.
    """

    def __init__(self, gate: RunGate, archive: Archive, *, workspace: str, run_folder: Path) -> None:
        super().__init__(gate, archive, None)
        self._workspace = workspace
        self._file = SpaceFile(run_folder, workspace)

    @property
    def backend(self) -> HttpBackend | None:
        """See `StateAccess.backend`: the tree's override names the local one."""
        return None

    @property
    def workspace(self) -> str:
        """See `StateAccess.workspace`."""
        return self._workspace

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`. Terraform refuses a workspace that is not there before `enter`."""
        return False

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """See `StateAccess.enter`. Put the stored state where Terraform looks for it."""
        await super().enter(tell, timeout_s=timeout_s)
        await self._file.put(await self.stored())

    async def rest(self) -> None:
        """See `StateAccess.rest`: write what Terraform left. A refusal, or a store that is full, the gate remembers."""
        await super().rest()
        body = await self._file.left()
        if body is None:
            return
        with suppress(InterlockError):
            await self._gate.write(body, None)
            await self._file.stored(body)

    async def close(self) -> None:
        """Take away what was put there."""
        await self._file.clear()


@asynccontextmanager
async def open_space(
    coordinator: Coordinator, archive: Archive, *, order: Order, run_folder: Path
) -> AsyncIterator[SpaceAccess]:
    """Open the way of one run to its state in a workspace."""
    gate = RunGate(coordinator, archive, state=order.state, run=order.run, who=order.who, plans_first=True)
    access = SpaceAccess(gate, archive, workspace=order.workspace, run_folder=run_folder)
    try:
        yield access
    finally:
        await access.close()
