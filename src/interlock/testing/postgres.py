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


class PostgresServer:
    """A server that can be stopped and started again.

    Args:
        folder: Where it keeps everything.
        user: As whom it runs; None for us.
        is_durable: Whether a commit waits for the disk.

    Attributes:
        url: Its address.
    """

    def __init__(self, folder: Path, user: pwd.struct_passwd | None, *, is_durable: bool) -> None:
        self._folder, self._user, self._is_durable = folder, user, is_durable
        self._server: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"postgres://interlock@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["-D", self._folder / "data", "-k", self._folder, "-p", self.port]
        for setting in ("listen_addresses=127.0.0.1", f"fsync={'on' if self._is_durable else 'off'}"):
            words += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            self._server = _start(self._user, log.fileno(), find_program("postgres") or "", *words)
        _await(self._server, self.port, self._folder / "log")

    def log(self) -> str:
        """Return what it has said since it was made."""
        return (self._folder / "log").read_text(errors="replace", encoding="utf-8")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends the sessions first, SIGQUIT does not even write down where it was."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(START_S)
            self._server = None


@contextmanager
def running_server(*, is_durable: bool = False) -> Iterator[PostgresServer]:
    """Run a new, empty server for as long as the context lasts."""
    user = _user() if os.geteuid() == 0 else None
    folder = _folder(user)
    try:
        data = folder / "data"
        _run(
            user, find_program("initdb") or "", "-D", data, "-U", "interlock", "-E", "UTF8", "--auth=trust", "--no-sync"
        )
        server = PostgresServer(folder, user, is_durable=is_durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby(server: PostgresServer) -> Iterator[PostgresServer]:
    """Run a standby of a server for as long as the context lasts: each commit there waits for it.

    `promote` makes it a server of its own.
    """
    import psycopg

    user = _user() if os.geteuid() == 0 else None
    folder = _folder(user)
    try:
        source = ["-h", "127.0.0.1", "-p", server.port, "-U", "interlock"]
        _run(
            user,
            find_program("pg_basebackup") or "",
            *source,
            "-D",
            folder / "data",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        other = PostgresServer(folder, user, is_durable=False)
        other.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield other
        finally:
            other.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def promote(server: PostgresServer) -> None:
    """Let a standby take writes, and wait until it does."""
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")  # it has none itself
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT pg_promote(true)")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a new, empty server for as long as the context lasts; yield its connection string."""
    with running_server() as server:
        yield server.url


def why_no_pooler() -> str:
    """Return why no PgBouncer can be started here; empty when one can."""
    return why_not() or ("" if find_pooler() else "PgBouncer is not installed")


def find_pooler() -> str | None:
    """Return the path of PgBouncer: on PATH, or where distributions keep it."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    return None if found is None else str(Path(found).resolve())


@contextmanager
def pooler(server: PostgresServer, *, mode: str, size: int = 3, ignored: str = "") -> Iterator[int]:
    """Run a PgBouncer before a server for as long as the context lasts; yield its port.

    Args:
        server: The server.
        mode: `session`, `transaction` or `statement`.
        size: Connections to the server.
        ignored: Parameters of a connection that it lets pass and forgets; it refuses others.
    """
    user = _user() if os.geteuid() == 0 else None
    folder, port = _folder(user), _free_port()
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server.port}",
        "[pgbouncer]",
        f"listen_port = {port}",
        "listen_addr = 127.0.0.1",
        "unix_socket_dir =",
        "auth_type = any",
        f"pool_mode = {mode}",
        f"default_pool_size = {size}",
        f"ignore_startup_parameters = {ignored}",
    ]
    lines[1] += " user=interlock"
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config.chmod(0o644)
    try:
        with (folder / "log").open("wb") as log:
            process = _start(user, log.fileno(), find_pooler() or "", config)
        try:
            _await(process, port, folder / "log")
            yield port
        finally:
            process.terminate()
            process.wait(START_S)
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
            raise RuntimeError(f"PostgreSQL ended: {log.read_text(encoding='utf-8')}")
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=interlock dbname=postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            signal.sigtimedwait([], 0.1)  # a pause; nothing is waited for
        else:
            return
    raise RuntimeError("PostgreSQL did not start")
