"""Questions that wait together are asked together. A hand: it touches asyncio.

While one question is under way, those that come gather; then all of them go as one. So a single wait for a disk or a
network serves many, nobody waits for company, and a store needs one connection for all that read and one for all that
write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


GROUP_MAX = 256
"""Most questions that go together: bounds what one failure has to repeat."""
GROUP_BYTES_MAX = 4 * 1024 * 1024
"""Most bytes that go together, but for one that is larger alone."""


class _Asked(Struct, Generic[_Item, _Answer]):
    item: _Item
    answer: asyncio.Future[_Answer]


class Gathering(Generic[_Item, _Answer]):
    """Gathers questions.

    Args:
        ask: Asks many at once; returns, for each in order, the answer or the error that is its answer. What it raises
            is the answer of all.
        about: What an item is about, when two about the same must be asked one after the other, in their order.
        weigh: Its bytes.
        most: So many wait at most.
        full: Makes the error for one more.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[_Item]], Awaitable[Sequence[_Answer | Exception]]],
        *,
        about: Callable[[_Item], str | None] = lambda _: None,
        weigh: Callable[[_Item], int] = lambda _: 0,
        most: int,
        full: Callable[[], Exception],
    ) -> None:
        self._ask = ask
        self._about = about
        self._weigh = weigh
        self._most = most
        self._full = full
        self._waiting: deque[_Asked[_Item, _Answer]] = deque()
        self._working: asyncio.Task[None] | None = None

    def submit(self, item: _Item) -> asyncio.Future[_Answer]:
        """Hand in a question; one that is cancelled before it was asked is not asked.

        Raises:
            Exception: Too many wait.
        """
        if len(self._waiting) >= self._most:
            raise self._full()
        asked: _Asked[_Item, _Answer] = _Asked(item, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._working is None or self._working.done():
            self._working = asyncio.ensure_future(self._work())
        return asked.answer

    async def close(self) -> None:
        """Wait until all that was handed in is answered."""
        while self._working is not None and not self._working.done():
            await asyncio.wait({self._working})

    async def _work(self) -> None:
        while self._waiting:
            together = self._take()
            try:
                answers = await self._ask([asked.item for asked in together])
            except BaseException as error:  # noqa: BLE001 - the futures carry it to the callers
                answers = [_carried(error)] * len(together)
            for asked, answer in zip(together, answers, strict=True):
                _settle(asked.answer, answer)

    def _take(self) -> list[_Asked[_Item, _Answer]]:
        """Take what may go together from the front; the order of those that stay does not change."""
        taken: list[_Asked[_Item, _Answer]] = []
        subjects: set[str] = set()
        stay: list[_Asked[_Item, _Answer]] = []
        room = GROUP_BYTES_MAX
        while self._waiting and len(taken) < GROUP_MAX and room > 0:
            asked = self._waiting.popleft()
            subject = self._about(asked.item)
            if asked.answer.done():  # cancelled
                continue
            if subject in subjects:
                stay.append(asked)
                continue
            if subject is not None:
                subjects.add(subject)
            taken.append(asked)
            room -= self._weigh(asked.item)
        self._waiting.extendleft(reversed(stay))
        return taken


def _carried(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(f"ended by {type(error).__name__}")


def _settle(future: asyncio.Future[_Answer], answer: _Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # whoever asked may be gone
    else:
        future.set_result(answer)
