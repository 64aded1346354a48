"""Lets processes of one machine hear each other's changes of a store that cannot ring. A hand: files, and the kernel.

Each key that somebody waits for has an empty file in the home. Who changed the key touches it, and the kernel tells
those who wait (inotify). It carries no news: who hears it looks, and looks at its pace without it, since those who
work on other machines, or with another home, ring for nobody here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from interlock.store.file_bell import FileBell, open_bell


class Neighbours:
    """The processes of this machine that use one home.

    Belongs to the event loop in which it is used.

    Args:
        folder: Where the files of the keys are; made when somebody waits.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bells: dict[str, FileBell] = {}

    def ring(self, key: str) -> None:
        """Tell those who wait for `key`. Where nobody ever waited there is no file, and nothing to do."""
        try:
            os.utime(self._path(key))
        except OSError:
            return  # also where the home cannot be written: then each looks at its pace

    def listen(self, key: str, tell: Callable[[], None]) -> None:
        """From now on call `tell` whenever somebody rings for `key`; never, where kernel or home do not allow it.

        It goes on until `close`, for all who wait for the key: closing takes Linux up to 100 ms, in which who waited
        and has just been granted could do nothing.
        """
        if key in self._bells:
            return
        path = self._path(key)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path.touch(mode=0o600)
        except OSError:
            return
        bell = open_bell(path)
        if bell is None:
            return

        def noticed() -> None:
            bell.silence()
            tell()

        self._bells[key] = bell
        asyncio.get_running_loop().add_reader(bell.descriptor, noticed)

    async def close(self) -> None:
        """Hear nothing more."""
        bells, self._bells = list(self._bells.values()), {}
        for bell in bells:
            asyncio.get_running_loop().remove_reader(bell.descriptor)
            await asyncio.to_thread(bell.close)

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:32]
