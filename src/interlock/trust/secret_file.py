"""Secrets that people keep in files, and how good a secret of theirs must be. A hand: it reads and writes them.

A secret that others can read is none, and one that can be guessed neither. Both are refused where they come in, since
later nobody looks: the server would just work.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from interlock.errors import UsageError
from interlock.trust.own_secrets import weakness

BYTES_MAX = 64 * 1024
"""Longest file; a secret is far shorter."""


def read_secret_file(path: Path, *, what: str) -> str:
    """Return the secret in a file, without space at its ends. A pipe, as of `<(…)`, is read too.

    Args:
        path: The file.
        what: What it is, for the message.

    Raises:
        UsageError: It cannot be read, or somebody else may read or write it.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the file that is examined must be the one that is read
            _check_private(os.fstat(file.fileno()), path, what)
            content = file.read(BYTES_MAX + 1)
        if len(content) > BYTES_MAX:
            raise UsageError(
                f"{what} is not a secret: {path}", why=f"it has more than {BYTES_MAX} bytes", fix=_list(path)
            )
        return content.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or "" if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{what} cannot be read: {path}", why=why, fix=_list(path)) from error


def write_secret_file(path: Path, secret: str) -> None:
    """Write a new file that only its owner may read.

    Raises:
        FileExistsError: There is one already, or a link.
    """
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(f"{secret}\n")


@contextmanager
def new_secret_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that only its owner may read, before there is a secret to lose; it goes again when that fails.

    Raises:
        UsageError: There is one already, or a link, or it cannot be written: nothing is ever replaced.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        taken = isinstance(error, FileExistsError)
        why = "there is a file of that name, and none is replaced" if taken else error.strerror or ""
        raise UsageError(f"{path} is not written", why=why, fix="name a new file with --out") from error
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)  # whatever the umask says
            yield file
            file.flush()
            os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def open_to_others(descriptor: int) -> str:
    """Return the mode of an open file that others may read, such as `0644`; empty for any other, and for no file."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return ""
    mode = stat.S_IMODE(found.st_mode)
    is_open = stat.S_ISREG(found.st_mode) and mode & (stat.S_IRWXG | stat.S_IRWXO)
    return f"{mode:04o}" if is_open else ""


def check_strength(secret: str, *, what: str, fix: str) -> str:
    """Return a secret that strangers may try at, when it is good enough.

    Args:
        secret: The secret; in no message.
        what: What it is, for the message.
        fix: A command that makes a better one.

    Raises:
        UsageError: It is short, or has few different characters.
    """
    if why := weakness(secret):
        raise UsageError(f"{what} can be guessed", why=why, fix=fix)
    return secret


def making_command(path: Path) -> str:
    """Return the command that puts a good secret into a file."""
    code = "import secrets; print(secrets.token_urlsafe(32))"
    return f"(umask 077; python3 -c {shlex.quote(code)} > {shlex.quote(str(path))})"


def _check_private(found: os.stat_result, path: Path, what: str) -> None:
    name = shlex.quote(str(path))
    if found.st_uid not in {os.geteuid(), 0}:
        why = f"it belongs to user {found.st_uid}, who can read and change it"
        raise UsageError(f"{what} is not yours: {path}", why=why, fix=f"sudo chown {os.geteuid()} {name}")
    if stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        why = f"its mode is {stat.S_IMODE(found.st_mode):04o}; only its owner may read or write it"
        fix = f"chmod 600 {name}" if found.st_uid == os.geteuid() else _copying(name)
        raise UsageError(f"{what} is open to others: {path}", why=why, fix=fix)


def _copying(name: str) -> str:
    # Root's, and shared with us by a group: so containers get secrets, in a mount whose modes nobody there can change.
    return f'(umask 077; cat {name} > "$HOME/interlock-secret")    and name that file'


def _list(path: Path) -> str:
    return f"ls -l {shlex.quote(str(path))}"
