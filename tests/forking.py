"""Commands and supervisors forked from a process that has loaded them: to start a Python for each costs 0.4 s of CPU.

What is forked is a process like any other. A command is a child of the test process, which signals and reaps it; a
supervisor is detached, in a session of its own, with the environment, folder and socket that its front end gives it.
`Desk.start(..., afresh=True)` and `Desk.start_at_terminal` start theirs as users do.

Run as a program (`python -P tests/forking.py SOCKET interlock`), it is the process that forks.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

_ORDER_BYTES = 1 << 20
_UNUSED = ("interlock.cli.demo", "interlock.testing", "interlock.__main__", "interlock.simulator", "interlock.lint")

# clone(2) as fork(2), but the child is one of our parent; where its number goes is what C's library would tell it.
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
_AS_SIBLING = 0x8000 | 0x01000000 | 0x00200000 | signal.SIGCHLD  # CLONE_PARENT, _CHILD_SETTID, _CHILD_CLEARTID
_GET_TID_ADDRESS = 40
_c = ctypes.PyDLL(None, use_errno=True)
_one_asks = threading.Lock()  # else a thread could take the answer to another's order


class Supervisor:
    """Stands for the process that the front end starts, in `interlock.run.spare`: by then it has gone.

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
        self._fork({"env": dict(env), "folder": str(Path.cwd())}, [control, stdout.fileno()])

    def _fork(self, order: dict[str, Any], files: list[int]) -> None:
        _ask(order, files)

    def wait(self) -> int:
        """Return at once: what the front end waits for, that the supervisor is nobody's child, has been waited for."""
        return 0


class _OfForkedCommand(Supervisor):
    """The supervisor of a command that was forked, and so has all loaded that it needs."""

    def _fork(self, order: dict[str, Any], files: list[int]) -> None:
        _fork_supervisor(order, files)


FORKED = SimpleNamespace(Popen=Supervisor, DEVNULL=subprocess.DEVNULL)
"""In the place of `subprocess` in `interlock.run.spare`, while a command runs in the test process."""


class Command(subprocess.Popen[str]):
    """`interlock WORDS`, forked; see `may_fork`."""

    def _execute_child(  # noqa: PLR0917 - as the base class has them
        self,
        args: Sequence[str],
        executable: object,  # noqa: ARG002
        preexec_fn: object,  # noqa: ARG002
        close_fds: object,  # noqa: ARG002
        pass_fds: object,  # noqa: ARG002
        cwd: object,
        env: Mapping[str, str],
        startupinfo: object,  # noqa: ARG002
        creationflags: object,  # noqa: ARG002
        shell: object,  # noqa: ARG002
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *_: object,
    ) -> None:
        blocked = [*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))]
        order = {"words": list(args), "env": dict(env), "folder": str(cwd or Path.cwd()), "blocked": blocked}
        streams = (p2cread, c2pwrite, errwrite)
        self.pid = _ask(order, [number if each == -1 else each for number, each in enumerate(streams)])
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def start(words: Sequence[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start `interlock WORDS`, forked where that may be; `options` are those of `subprocess.Popen`."""
    if may_fork(env):
        return Command(words, env=env, text=True, **options)
    return start_afresh(words, env=env, **options)


def start_afresh(words: Sequence[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start `interlock WORDS` as users do."""
    return subprocess.Popen([sys.executable, "-m", "interlock", *words], env=env, text=True, **options)


def run(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, given: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `interlock WORDS` to its end, with `given` on its standard input."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with start(words, env=env, cwd=cwd or Path.cwd(), **pipes) as process:
        try:
            out, err = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def may_fork(environ: Mapping[str, str]) -> bool:
    """Whether a command may be forked: not on other systems, nor where the environment tells Python how to start."""
    ours = {name: value for name, value in os.environ.items() if _is_pythons(name)}
    return (
        _CLONE is not None
        and _told_address() is not None
        and {name: environ[name] for name in environ if _is_pythons(name)}.items() <= ours.items()
    )


def _is_pythons(name: str) -> bool:
    return name.startswith(("PYTHON", "LC_", "LANG"))


def _ask(order: dict[str, Any], files: list[int]) -> int:
    """Let a process be forked; return its number."""
    with _one_asks:
        server = _server()
        socket.send_fds(server, [json.dumps(order).encode()], files)
        answer = server.recv(_ORDER_BYTES)
    assert answer, "the process that forks has gone"
    return int(answer)


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
        )
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


def _serve(number: int) -> None:
    """Fork what is asked for, until the other end closes."""
    from interlock.run.held_back import HEARD

    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    _load()
    orders = socket.socket(fileno=number)
    while True:
        sent, files, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 3)
        if not sent:
            return
        order = json.loads(sent)
        if "words" not in order:
            answer = _fork_supervisor(order, files)
        elif not (answer := _fork_sibling()):
            _become(order, files, (), partial(_run_command, order["words"], order["blocked"]))
        for each in files:
            os.close(each)
        orders.send(str(answer).encode())


def _fork_sibling() -> int:
    """Fork a child of our parent, as which nothing but the kernel's clone makes it; return as `os.fork` does."""
    address, nothing = ctypes.c_void_p(_told_address()), ctypes.c_void_p()
    last = (address, nothing) if platform.machine() == "x86_64" else (nothing, address)
    ctypes.pythonapi.PyOS_BeforeFork()
    child = int(_c.syscall(_CLONE, ctypes.c_ulong(_AS_SIBLING), nothing, nothing, *last))
    if child:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    assert child >= 0, os.strerror(ctypes.get_errno())
    return child


def _told_address() -> int | None:
    """Return where the C library keeps the number of this thread, which signals to ourselves go to."""
    told = ctypes.c_ulong()
    return told.value if _c.prctl(_GET_TID_ADDRESS, ctypes.byref(told), 0, 0, 0) == 0 else None


def _fork_supervisor(order: dict[str, Any], files: list[int]) -> int:
    """Fork a supervisor as `interlock.cli.supervise` does: in a session of its own, and nobody's child."""
    child = os.fork()
    if not child:
        os.setsid()
        if os.fork():
            os._exit(0)
        control, log = files
        with open(os.devnull) as nothing:  # noqa: PTH123 - a device
            _become(order, [nothing.fileno(), log, log], (control,), lambda: _supervise(control))
    os.waitpid(child, 0)
    return child


def _become(order: dict[str, Any], streams: list[int], kept: Sequence[int], do: Callable[[], int]) -> None:
    """Do what this process was forked for, with these standard streams and further files; does not return."""
    for number, each in enumerate(streams):
        os.dup2(each, number)
    # As if it had been executed: else it would hold the other end of its own socket, and never see that closed.
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - names alone
        if number > len(streams) - 1 and number not in kept:
            with suppress(OSError):  # that of the listing itself
                os.close(number)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["folder"])
    status = do()
    sys.stdout.flush()
    threading._shutdown()  # type: ignore[attr-defined]
    os._exit(status)  # as `multiprocessing` ends what it forked: to take all of it apart costs 0.1 s


def _supervise(control: int) -> int:
    from interlock.compose.supervising import supervise

    return supervise(control)


def _run_command(words: list[str], blocked: list[int]) -> int:
    from interlock.cli.main import main
    from interlock.run import spare

    vars(spare)["subprocess"] = SimpleNamespace(Popen=_OfForkedCommand, DEVNULL=subprocess.DEVNULL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        main(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _load() -> None:
    """Import what commands and runs may need; nothing of it does more than define."""
    import interlock

    gc.disable()
    for module in pkgutil.walk_packages(interlock.__path__, "interlock."):
        if not module.name.startswith(_UNUSED):
            importlib.import_module(module.name)
    _load_aws()
    gc.freeze()
    gc.enable()


def _load_aws() -> None:
    """Let the SDK import what it imports when it makes its first clients."""
    from interlock.store.aws import AwsAccess, AwsKeys, connect_all

    for client in connect_all(("s3", "dynamodb"), AwsAccess(region="x", keys=AwsKeys(access_key="x", secret_key="x"))):
        client.close()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
