"""Supervisors forked from a process that has loaded all of a run: starting a Python for each costs 0.4 s of CPU.

For runs whose front end is the test process (`Desk.call`). What is forked is a supervisor like any other: detached, in
a session of its own, with the environment, folder and socket that the front end gives it. Front ends that are processes
of their own start theirs as users' do.

Run as a program (`python -P tests/supervisors.py SOCKET interlock`), it is the process that forks.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

_ORDER_BYTES = 1 << 20
_DONE = b"."
_UNUSED = ("interlock.cli", "interlock.testing", "interlock.__main__", "interlock.simulator", "interlock.lint")


class Forked:
    """Stands for the process that the front end starts, in `interlock.run.front_end`: by then it has gone.

    Args:
        command: What would be executed; its last word is the number of the supervisor's end of the socket.
        env: The supervisor's environment.
        stdout: Where it writes until it has its order.
        options: The others that the front end gives to `subprocess.Popen`; how they are met is written below.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], stdout: IO[bytes], **options: Any) -> None:
        assert command[1:4] == ["-P", "-m", "interlock.cli.supervise"], command
        assert options["start_new_session"]
        (control,) = options["pass_fds"]
        order = json.dumps({"env": dict(env), "folder": str(Path.cwd())}).encode()
        server = _server()
        socket.send_fds(server, [order], [control, stdout.fileno()])
        assert server.recv(1) == _DONE, "the process that forks supervisors has gone"

    def wait(self) -> int:
        """Return at once: what the front end waits for, that the supervisor is nobody's child, has been waited for."""
        return 0


@cache
def _server() -> socket.socket:
    """Start the process that forks; it ends when our end of the socket closes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno()), "interlock"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


def _serve(number: int) -> None:
    """Fork a supervisor for each order, until the other end closes."""
    # As the front end does: a signal that comes before the supervisor listens must wait for it.
    from interlock.run.held_back import HEARD

    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    _load()
    orders = socket.socket(fileno=number)
    while True:
        order, files, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 2)
        if not order:
            return
        child = os.fork()
        if not child:
            os.setsid()
            if os.fork():
                os._exit(0)  # so that the supervisor is nobody's child, as in `interlock.cli.supervise`
            orders.close()
            _supervise(json.loads(order), *files)
        os.waitpid(child, 0)
        for each in files:
            os.close(each)
        orders.send(_DONE)


def _supervise(order: dict[str, Any], control: int, log: int) -> None:
    from interlock.compose.supervising import supervise

    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["folder"])
    sys.exit(supervise(control))


def _load() -> None:
    """Import what runs may need; nothing of it does more than define."""
    import interlock

    gc.disable()
    for module in pkgutil.walk_packages(interlock.__path__, "interlock."):
        if not module.name.startswith(_UNUSED):
            importlib.import_module(module.name)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
