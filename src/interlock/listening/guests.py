"""Connections of one listener, and who has to go when there are too many."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable

from interlock.errors import UsageError

CONNECTIONS_MAX = 2048
"""Most connections of one listener, where the process may open so many files."""

_BACKLOG = 2048


def connections_max() -> int:
    """Return how many connections one listener may have: half of the files that the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(min(CONNECTIONS_MAX, soft // 2), 1)


class Guests:
    """The connections of one listener.

    Args:
        most: So many at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[object, Callable[[], None]] = {}  # oldest first
        self._busy: set[object] = set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._idle) + len(self._busy)

    def enter(self, guest: object, close: Callable[[], None]) -> bool:
        """Take a connection in; `close` ends it. The one that was idle longest makes room. False: nobody is idle."""
        if len(self) >= self._most:
            if not self._idle:
                return False
            oldest = next(iter(self._idle))
            self._idle.pop(oldest)()
        self._idle[guest] = close
        return True

    def begin(self, guest: object) -> None:
        """Its request is whole, and is worked on: it stays."""
        if self._idle.pop(guest, None) is not None:
            self._busy.add(guest)

    def end(self, guest: object, close: Callable[[], None]) -> None:
        """Its request was answered."""
        if guest in self._busy:
            self._busy.remove(guest)
            self._idle[guest] = close

    def leave(self, guest: object) -> None:
        """It is gone."""
        self._idle.pop(guest, None)
        self._busy.discard(guest)


def listen(host: str, port: int, *, what: str) -> socket.socket:
    """Return a listening socket; `what` listens, for the message.

    Raises:
        UsageError: The address cannot be listened on.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(what, host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(what, host, port, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(what: str, host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"{what} cannot listen on {host}:{port}",
        why=str(error.strerror or error),
        fix="choose another address, or port 0 for a free one",
    )
