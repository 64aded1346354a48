"""The supervisor's half of the socket that it shares with the front end."""

from __future__ import annotations

import asyncio
import select
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from interlock.run.held_back import hear
from interlock.run.interrupts import Cause
from interlock.run.order import Order, decode
from interlock.run.transcript import END

if TYPE_CHECKING:
    from interlock.run.supervisor import Supervisor

_WORD_BYTES = 4096
_ORDER_BYTES = 1 << 16  # read at once; a longer order comes in several
_FILES = 3  # stdin, stdout and stderr
_CAUSES = {"sigint": Cause.SIGINT, "sigterm": Cause.SIGTERM, "sighup": Cause.SIGHUP, "cancel": Cause.CANCELLED}


class Control:
    """Rings after each journal entry, and hears the front end's words, its end, and our own signals.

    Args:
        number: File descriptor of our end, inherited.
    """

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        # Terraform and what it starts must not have it: the front end would not notice that only we have died.
        self._socket.set_inheritable(False)
        self._socket.setblocking(False)
        self._open = True
        self.files: list[int] = []
        """Open files of the person that came with the order: where a command that only reads reads and prints."""
        self._supervisor: Supervisor | None = None
        self._early: Callable[[Cause, str], None] = _nobody

    def await_order(self) -> Order | None:
        """Wait for the run to drive; None when the front end went away without ordering one."""
        self._socket.setblocking(True)
        line, files, _, _ = socket.recv_fds(self._socket, 1, _FILES)  # files come with the first byte
        self.files += files
        while not line.endswith(b"\n"):
            waiting = self._socket.recv(_ORDER_BYTES, socket.MSG_PEEK)
            if not waiting:
                return None
            line += self._socket.recv(waiting.find(b"\n") + 1 or len(waiting))  # no more: what follows are words
        self._socket.setblocking(False)
        return decode(line)

    def has_order(self) -> bool:
        """Say whether `await_order` would not have to wait."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def ring(self) -> None:
        """Wake the front end. A full or closed socket is fine: it reads the journal by itself."""
        with suppress(OSError):
            self._socket.send(b".")

    def tell_end(self, facts: Mapping[str, object]) -> None:
        """Tell the front end how the run ended: on a full disk the journal could not take it."""
        with suppress(OSError):
            self._socket.send(END + msgspec.json.encode(facts, enc_hook=str) + b"\n")

    def listen(self, early: Callable[[Cause, str], None]) -> None:
        """From now on hear words and signals; until a supervisor is attached, `early` is told of wishes, and whose."""
        self._early = early
        loop = asyncio.get_running_loop()
        for number, cause in (
            (signal.SIGINT, Cause.SIGINT),
            (signal.SIGTERM, Cause.SIGTERM),
            (signal.SIGHUP, Cause.SIGHUP),
            (signal.SIGUSR1, Cause.CANCELLED),  # `interlock runs cancel`
        ):
            loop.add_signal_handler(number, self._wish, cause)
        hear()
        loop.add_reader(self._socket.fileno(), self._heard)

    def attach(self, supervisor: Supervisor) -> None:
        """From now on all wishes go to this supervisor."""
        self._supervisor = supervisor

    def cancel(self, by: str) -> None:
        """Somebody at another machine wants the run to stop, who is named so."""
        self._wish(Cause.CANCELLED, by)

    def _wish(self, cause: Cause, by: str = "") -> None:
        if self._supervisor is not None:
            self._supervisor.wish(cause, by=by)
        else:
            self._early(cause, by)

    def _heard(self) -> None:
        try:
            text = self._socket.recv(_WORD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self.detach()
            self._wish(Cause.FRONT_END_GONE)
        for word in text.decode(errors="replace").split():
            self._obey(word)

    def _obey(self, word: str) -> None:
        if word in _CAUSES:
            self._wish(_CAUSES[word])
        elif word in {"approve", "reject"} and self._supervisor is not None:
            self._supervisor.answer(approved=word == "approve")

    def detach(self) -> None:
        """Stop listening to the front end."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Close our end, which tells the front end that the run is over."""
        self._socket.close()


def _nobody(_cause: Cause, _by: str) -> None:
    """Before anybody listens nothing is heard."""
