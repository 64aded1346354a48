"""Wakes tasks of one event loop that wait for a key to change. A hand: it touches asyncio.

A wake-up carries no news. Whoever is woken reads the store, so a ring too many is harmless and only a ring too few
would be a fault. Therefore: hang up the bell first, read the store, and only then wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from interlock.clock import Clock

_Hung: TypeAlias = "dict[str, dict[asyncio.Event, None]]"  # in order, so that a seed repeats a simulation


class Doorbell:
    """Bells by key, and by what keys begin with.

    Belongs to the event loop in which it is used; `ring` and `ring_all` are called in that loop.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._keys: _Hung = {}
        self._versions: dict[str, int | None] = {}
        self._prefixes: _Hung = {}

    @contextmanager
    def hung(self, key: str) -> Iterator[asyncio.Event]:
        """Give a bell that rings for `key`."""
        try:
            with _hung_in(self._keys, key) as bell:
                yield bell
        finally:
            if key not in self._keys:
                self._versions.pop(key, None)

    def saw(self, key: str, version: int | None) -> bool:
        """Wake those who wait for `key` when its version is not the one that was last seen; say whether it was not.

        Whoever waits tells what it reads too, before it waits on: a record that was made and removed between two looks
        is absent at both, and who read it in between would wait for its removal for ever.
        """
        if key not in self._keys or self._versions.setdefault(key, version) == version:
            return False
        self._versions[key] = version
        _ring(self._keys[key])
        return True

    @contextmanager
    def hung_for_all_of(self, prefix: str) -> Iterator[asyncio.Event]:
        """Give a bell that rings for each key that begins with `prefix`, and for no other."""
        with _hung_in(self._prefixes, prefix) as bell:
            yield bell

    def awaited(self) -> list[str]:
        """Return the keys that somebody waits for."""
        return list(self._keys)

    def ring(self, key: str) -> None:
        """Wake those who wait for `key`, and those who wait for what it begins with."""
        _ring(self._keys.get(key, ()))
        for prefix, bells in self._prefixes.items():
            if key.startswith(prefix):
                _ring(bells)

    def ring_prefixes(self) -> None:
        """Wake those who wait for a prefix: something changed, and it may be under theirs."""
        for bells in self._prefixes.values():
            _ring(bells)

    def ring_all(self) -> None:
        """Wake everybody: something changed, and we do not know what."""
        for bells in self._keys.values():
            _ring(bells)
        self.ring_prefixes()

    async def rung(self, bell: asyncio.Event, *, timeout_s: float) -> bool:
        """Wait for `bell`, at most `timeout_s` seconds of the clock; say whether it rang, and silence it."""
        if not bell.is_set() and timeout_s > 0:
            await self._first_of(bell, timeout_s)
        rang = bell.is_set()
        bell.clear()
        return rang

    async def _first_of(self, bell: asyncio.Event, timeout_s: float) -> None:
        waits = {asyncio.ensure_future(bell.wait()), asyncio.ensure_future(self._clock.sleep(timeout_s))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


@contextmanager
def _hung_in(hung: _Hung, name: str) -> Iterator[asyncio.Event]:
    bell = asyncio.Event()
    bells = hung.setdefault(name, {})
    bells[bell] = None
    try:
        yield bell
    finally:
        bells.pop(bell, None)
        if not bells and hung.get(name) is bells:
            del hung[name]


def _ring(bells: Iterable[asyncio.Event]) -> None:
    for bell in bells:
        bell.set()
