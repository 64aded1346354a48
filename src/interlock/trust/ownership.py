"""Whether a folder and its files are ours alone, and folders that are made so. A hand.

Whoever can put another file in the place of the database decides what runs believe of locks and states. So the home,
each folder on the way to it in which somebody could rename what follows, each link on that way, and the files that we
trust in it must be ours (or, on the way, root's), and nobody else may write to them. What a folder of ours holds below
that cannot be somebody else's. A folder such as /tmp, in which only owners rename, may be on the way.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from interlock.errors import UsageError

TRUST = "INTERLOCK_TRUST_HOME"
"""1: the operator vouches for everybody who may write to the home: a container, a runner of one job."""

_LINKS_MAX = 40  # as Linux has it
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_home(home: Path, files: Iterable[str]) -> None:
    """Refuse a home that somebody else could exchange, or whose files somebody else could have written.

    Args:
        home: The folder; it need not exist, then what exists of the way to it is looked at.
        files: Names of files in it that we trust, where they exist.

    Raises:
        UsageError: It is not ours alone; says who could do what, and the way out.
    """
    try:
        place = _walk(home)
        if place is not None:
            for name in files:
                _check_file(place / name, home)
    except OSError as error:
        raise UsageError(
            f"the home {home} cannot be looked at",
            why=f"{error.filename}: {error.strerror or error}",
            fix=f"ls -ld {shlex.quote(str(home))}",
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for their owner only, whatever the umask says.

    One that is there already and ours is closed to others.

    Raises:
        OSError: It cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):  # somebody made it meanwhile
            each.mkdir(mode=0o700)
    for each in missing or [folder]:
        found = each.stat()
        is_ours = found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode)
        if is_ours and stat.S_IMODE(found.st_mode) & (_OTHERS | stat.S_IRWXU) != stat.S_IRWXU:
            each.chmod(0o700)


def lets_others_write(found: os.stat_result) -> bool:
    """Say whether a mode lets others write to a file or folder; a group that is one user's own is nobody else."""
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_private_group(found.st_gid)))


def _walk(home: Path) -> Path | None:
    """Go the way as the system does, link by link; return where it ends, None when there is nothing yet."""
    here, ahead, links = Path(os.sep), list(home.absolute().parts[1:]), 0
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            here = here.parent
            continue
        there = here / part
        try:
            found = there.lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS_MAX:
                raise _not_ours(home, f"{there} is a link that leads to itself", f"ls -l {_quoted(there)}")
            _check_owner(there, found, home, roots_too=True)
            target = there.readlink()
            if target.is_absolute():
                here = Path(os.sep)
            ahead = [each for each in target.parts if each != os.sep] + ahead
            continue
        _check_folder(there, found, home, is_last=not ahead)
        here = there
    return here


def _check_folder(folder: Path, found: os.stat_result, home: Path, *, is_last: bool) -> None:
    _check_owner(folder, found, home, roots_too=not is_last)
    only_owners_rename = bool(found.st_mode & stat.S_ISVTX) and not is_last
    if not only_owners_rename:
        _check_mode(folder, found, home)


def _check_file(file: Path, home: Path) -> None:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return
    links = 0
    while stat.S_ISLNK(found.st_mode):
        links += 1
        if links > _LINKS_MAX:
            raise _not_ours(home, f"{file} is a link that leads to itself", f"ls -l {_quoted(file)}")
        _check_owner(file, found, home, roots_too=False)
        target = file.parent / file.readlink()
        file = (_walk(target.parent) or target.parent) / target.name
        found = file.lstat()
    _check_owner(file, found, home, roots_too=False)
    _check_mode(file, found, home)


def _check_owner(path: Path, found: os.stat_result, home: Path, *, roots_too: bool) -> None:
    me = os.geteuid()
    if found.st_uid == me or (roots_too and found.st_uid == 0):
        return
    raise _not_ours(
        home,
        f"{path} belongs to {_name(found.st_uid)}, and this is {_name(me)}: who owns it can exchange locks and states",
        f"ls -ld {_quoted(path)}    then run as {_name(found.st_uid)}, or let root give it to {_name(me)} with chown",
    )


def _check_mode(path: Path, found: os.stat_result, home: Path) -> None:
    if lets_others_write(found):
        mode = stat.S_IMODE(found.st_mode)
        raise _not_ours(
            home,
            f"others may write to {path} (mode {mode:04o}), and so exchange locks and states",
            f"chmod go-w {_quoted(path)}",
        )


def _is_private_group(gid: int) -> bool:
    """Say whether a group is that of one user alone, as systems make it that let groups write by default."""
    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == me.pw_gid and group.gr_name == me.pw_name and set(group.gr_mem) <= {me.pw_name}


def _not_ours(home: Path, why: str, fix: str) -> UsageError:
    out = f"    or, where nobody else uses this machine (a container, a runner of one job): export {TRUST}=1"
    return UsageError(f"the home {home} is not yours alone", why=why, fix=fix + out)


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
