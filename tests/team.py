"""A team's server as a process of its own, that can be killed, stopped and started again, for end-to-end tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import forking
from tests.desk import Desk

TOKEN = "e2e-server-token-of-a-team"
STEP_S = 120.0


class TeamServer:
    """`interlock serve` at one address for its whole life, however often its process ends.

    Args:
        folder: Its home.
        store: The address of its store; None for the file in its home.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self._home = folder
        self.store = store
        self._words = ["--store", store] if store else []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    @property
    def home(self) -> Path:
        """The folder of its home."""
        return self._home

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        words = ["serve", "--listen", f"127.0.0.1:{self.port}", "--json", *self._words]
        self.process = forking.start(
            words,
            env={**os.environ, "INTERLOCK_HOME": str(self._home), "INTERLOCK_TOKEN": TOKEN, "HOME": str(self._home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        with self.process.stdout as said:
            line = said.readline()
        assert json.loads(line)["address"] == self.url

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End its process."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(STEP_S)
            self.process = None

    def pause(self) -> None:
        """Stop its process where it is."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let its process go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def a_team(folder: Path, *, laptops: int, store: str | None = None) -> Iterator[tuple[TeamServer, list[Desk]]]:
    """Start a server and lend homes of several people who work at it, each without anything of the others."""
    folder.joinpath("server").mkdir()
    server = TeamServer(folder / "server", store)
    server.start()
    environ = {"INTERLOCK_SERVER": server.url, "INTERLOCK_TOKEN": TOKEN}
    desks = []
    for number in range(laptops):
        place = folder / f"laptop{number}"
        place.mkdir()
        desks.append(Desk(place, environ))
    try:
        yield server, desks
    finally:
        for desk in desks:
            desk.close()
        server.end()
