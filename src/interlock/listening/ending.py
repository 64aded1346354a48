"""When a server ends: at the first signal, once, whatever follows."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """From its making the first SIGINT, SIGTERM or SIGHUP is the wish to end. To be made in the running loop.

    `systemctl stop`, a closing terminal and a container's end send several within a moment. The further ones are
    ignored until the process is over: else they would end it in the middle of giving back what it holds, with a status
    (143 in a shell) that means something else here. Everything after the wish is bounded, and SIGKILL still ends it.

    A SIGHUP that was ignored when we were started (`nohup`) stays ignored.
    """

    def __init__(self) -> None:
        self._wish = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heard = [each for each in _ENDS if each is not signal.SIGHUP or not is_ignored(each)]
        for number in self._heard:
            self._loop.add_signal_handler(number, self._end)

    def _end(self) -> None:
        self._wish.set()
        for number in self._heard:
            self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    async def wait(self) -> None:
        """Wait for the wish."""
        await self._wish.wait()


def is_ignored(number: signal.Signals) -> bool:
    """Say whether whoever started us had a signal ignored."""
    return signal.getsignal(number) is signal.SIG_IGN
