"""A real PostgreSQL on a loopback port, for tests. A hand: it starts the server's own programs.

They refuse to run as root, so as root they run as another user of this machine. Nothing is installed: where there is no
PostgreSQL, `why_not` says so and the test is skipped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60.0  # far more than a start takes, also on a busy machine
_USERS = ("postgres", "nobody")
_HOMES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


def find_program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs: on PATH, or where distributions keep them."""
    found = shutil.which(name)
    if found:
        return found
    candidates = sorted(path for home in _HOMES for path in Path(home).glob(f"*/bin/{name}"))
    return str(candidates[-1]) if candidates else None


def why_not() -> str:
    """Return why no PostgreSQL can be started here; empty when one can."""
    if find_program("initdb") is None or find_program("postgres") is None:
        return "PostgreSQL's initdb and postgres are not installed"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return ""


def _user() -> pwd.struct_passwd | None:
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a new, empty server for as long as the context lasts; yield its connection string."""
    user = _user() if os.geteuid() == 0 else None
    folder = _folder(user)
    try:
        data, port = folder / "data", _free_port()
        _run(user, find_program("initdb") or "", "-D", data, "-U", "interlock", "--auth=trust", "--no-sync")
        words = ("-D", data, "-k", folder, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        with (folder / "log").open("wb") as log:
            server = _start(user, log.fileno(), find_program("postgres") or "", *words)
        try:
            _await(server, port, folder / "log")
            yield f"postgres://interlock@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            server.send_signal(signal.SIGINT)  # its own word for: end the sessions and stop
            server.wait(START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(user: pwd.struct_passwd | None) -> Path:
    """Make a folder that the server's user may enter; not every machine lets others into its temporary folder."""
    bases = [tempfile.gettempdir(), "/var/tmp", "/dev/shm", user.pw_dir if user else ""]  # noqa: S108 - candidates
    for base in bases:
        if not Path(base).is_dir():
            continue
        folder = Path(tempfile.mkdtemp(prefix="interlock-pg-", dir=base))
        if user is None:
            return folder
        os.chown(folder, user.pw_uid, user.pw_gid)
        seen = subprocess.run(
            ["test", "-w", folder], user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", check=False
        )
        if seen.returncode == 0:
            return folder
        folder.rmdir()
    raise RuntimeError(f"no temporary folder that {user.pw_name if user else 'we'} may use")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _run(user: pwd.struct_passwd | None, *words: object) -> None:
    done = subprocess.run(
        [str(word) for word in words],
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr}")


def _start(user: pwd.struct_passwd | None, log: int, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(word) for word in words],
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        cwd="/",
        stdout=log,
        stderr=log,
    )


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until it answers."""
    import psycopg

    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {log.read_text()}")
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=interlock dbname=postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            signal.sigtimedwait([], 0.1)  # a pause; nothing is waited for
        else:
            return
    raise RuntimeError("PostgreSQL did not start")
