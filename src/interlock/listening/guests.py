"""Connections of one listener, and who has to go when there are too many."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import socket
from collections.abc import Callable

from interlock.errors import UsageError, reason_of
from interlock.listening.strangers import is_loopback

CONNECTIONS_MAX = 2048
"""Most connections of one listener, where the process may open so many files."""

PEER_SHARE = 4
"""One peer beyond this machine may have at most this part of the connections, so that it alone keeps nobody out."""

AWAY_SHARE = 8
"""Connections that were refused and read why are at most this part of the others."""

_BACKLOG = 2048

SILENT_PEER_S = 25
"""After so long without a sign from a peer's machine its connection is over. Who waits for a lock sends nothing for a
minute; a laptop that was closed, or a machine that lost its network, says no more, and would be granted the lock."""
_PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # together `SILENT_PEER_S`


FILES = 8192
"""So many files a process that listens may open, where the machine lets it: some allow 256 until somebody asks."""


def open_more_files() -> None:
    """Let this process open as many files as it may need; what the machine forbids stays as it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_max(most: int = CONNECTIONS_MAX, share: int = 2) -> int:
    """Return how many connections may be open: of `most` as many as a share of the files that the process may open.

    One listener has half of them; who calls elsewhere for its clients has a quarter (`share=4`).
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(min(most, soft // share), 1)


class Guests:
    """The connections of one listener.

    Args:
        most: So many at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(most // PEER_SHARE, 1)
        self._idle: dict[object, Callable[[], None]] = {}  # oldest first
        self._busy: set[object] = set()
        self._peers: dict[object, str] = {}
        self._away: dict[object, Callable[[], None]] = {}  # oldest first

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._idle) + len(self._busy)

    def enter(self, guest: object, close: Callable[[], None], *, peer: str = "") -> bool:
        """Take a connection in, for which another may have to make room: the one that was idle longest.

        Args:
            guest: The connection.
            close: Ends it.
            peer: Address of its other end; empty for one on this machine, where all have the same.

        Returns:
            False when nobody is idle: there is no room.
        """
        if peer and self._of(peer) >= self._most_of_one and not self._show_out(peer):
            return False
        if len(self) >= self._most and not self._show_out():
            return False
        self._idle[guest] = close
        if peer:
            self._peers[guest] = peer
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

    def send_away(self, guest: object, cut: Callable[[], None]) -> None:
        """It was refused, and reads why: of many who take their time the first is cut off."""
        self._away[guest] = cut
        if len(self._away) > max(self._most // AWAY_SHARE, 1):
            oldest = next(iter(self._away))
            self._away.pop(oldest)()

    def leave(self, guest: object) -> None:
        """It is gone."""
        self._away.pop(guest, None)
        self._idle.pop(guest, None)
        self._busy.discard(guest)
        self._peers.pop(guest, None)

    def _of(self, peer: str) -> int:
        return sum(each == peer for each in self._peers.values())

    def _show_out(self, peer: str = "") -> bool:
        """End the connection that was idle longest, of one peer or of all; False when there is none."""
        oldest = next((each for each in self._idle if not peer or self._peers.get(each) == peer), None)
        if oldest is None:
            return False
        close = self._idle.pop(oldest)
        self._peers.pop(oldest, None)
        close()
        return True


def peer_of(address: object) -> str:
    """Return what tells one peer from another, from a socket's address; empty on loopback, where all are one.

    A client may have as many IPv6 addresses as it likes, all of one network of 64 bits.
    """
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        found = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return ""
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))  # noqa: PLR2004 - IP


def listen(host: str, port: int, *, what: str) -> socket.socket:
    """Return a listening socket; `what` listens, for the message.

    Raises:
        UsageError: The address cannot be listened on.
    """
    try:
        name = host.encode() if host.isascii() else host  # the rules for other names take 4 ms to import
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(what, host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _probe_silent_peers(listener)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(what, host, port, error) from error
    listener.setblocking(False)
    return listener


def _probe_silent_peers(listener: socket.socket) -> None:
    """Have the kernel ask silent machines whether they are there; what is accepted does as the listener does."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):  # not every system lets one choose
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def check_loopback(host: str, port: int, *, what: str, why: str, fix: str) -> None:
    """Refuse an address beyond loopback, before it is listened on.

    Raises:
        UsageError: It is one, or none at all.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(what, host, port, error) from error
    if not all(is_loopback(str(address[0])) for *_, address in found):
        raise UsageError(f"{what} may not listen on {host}:{port}", why=why, fix=fix)


def _cannot_listen(what: str, host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"{what} cannot listen on {host}:{port}",
        why=reason_of(error),
        fix="choose another address, or port 0 for a free one",
    )
