"""Wakes tasks of one event loop that wait for a key to change. A hand: it touches asyncio.

A wake-up carries no news. Whoever is woken reads the store, so a ring too many is harmless and only a ring too few
would be a fault. Therefore: hang up the bell first, read the store, and only then wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.clock import Clock


class Doorbell:
    """Bells by key, and one for those who want to hear of every change.

    Belongs to the event loop in which it is used; `ring` and `ring_all` are called in that loop.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._bells: dict[str | None, dict[asyncio.Event, None]] = {}  # in order, so that a seed repeats a simulation

    @contextmanager
    def hung(self, key: str | None) -> Iterator[asyncio.Event]:
        """Give a bell that rings for `key`, or for every change when `key` is None."""
        bell = asyncio.Event()
        bells = self._bells.setdefault(key, {})
        bells[bell] = None
        try:
            yield bell
        finally:
            bells.pop(bell, None)
            if not bells and self._bells.get(key) is bells:
                del self._bells[key]

    def awaited(self) -> list[str]:
        """Return the keys that somebody waits for."""
        return [key for key in self._bells if key is not None]

    def ring(self, key: str) -> None:
        """Wake those who wait for `key`, and those who wait for any change."""
        self._ring(key)
        self._ring(None)

    def ring_any(self) -> None:
        """Wake those who wait for any change."""
        self._ring(None)

    def ring_all(self) -> None:
        """Wake everybody: something changed, and we do not know what."""
        for bells in self._bells.values():
            for bell in bells:
                bell.set()

    def _ring(self, key: str | None) -> None:
        for bell in self._bells.get(key, ()):
            bell.set()

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
