"""The signals that a supervisor hears, and how they are kept for it while it starts.

A blocked signal is not lost: the kernel keeps it until somebody listens. The front end starts the supervisor with them
blocked, since a Python that has just been executed would be ended by the first one.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

HEARD = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})
"""SIGUSR1 is `interlock runs cancel`."""


@contextmanager
def held_back() -> Iterator[None]:
    """While entered, these signals wait; a process that is started meanwhile begins with them waiting too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear() -> None:
    """Let those come that waited; call it when each of them has its handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
