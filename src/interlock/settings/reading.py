"""One frozen `Settings`, read once from files, the environment and flags, each value with its origin.

Flags override INTERLOCK_* variables, which override the operator's file, which overrides the repository's
interlock.yaml, which overrides the defaults. What the repository's file may say at all is in `authority`. Unknown keys
are errors that name the nearest valid key.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from interlock.errors import UsageError, reason_of
from interlock.settings.authority import check_address, check_repository
from interlock.settings.judged import (
    FILE_NAME,
    MAX_FILE_BYTES,
    Fault,
    pace_fault,
    parsed_document,
    read_text,
    shape_faults,
)
from interlock.settings.values import (
    PROTECTIONS,
    Secret,
    Settings,
    StateSettings,
    parse_duration,
)
from interlock.trust.checkout import checkouts, is_within
from interlock.trust.ownership import lets_others_write

if TYPE_CHECKING:
    from pydantic import ValidationError

GITHUB_CONTAINER_HOME = Path("/github/home")


def load(directory: Path, environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Settings:
    """Read the settings that hold in `directory`.

    Args:
        directory: Where the command runs; interlock.yaml is looked for here and above, up to the repository root.
        environ: The environment.
        flags: Values given on the command line, by setting name; None values do not count.

    Raises:
        UsageError: A value or a key is wrong; the message names the file and the nearest valid key.
    """
    files = _files(directory, environ)
    values: dict[str, Any] = {"home": default_home(environ)}
    origins = dict.fromkeys(values, "default")
    for source, found in (
        *((str(file.path), _from_file(file, operators_file(environ))) for file in files),
        ("environment", _from_environment(environ)),
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
    ):
        values.update(_joined(values, found))
        origins.update(dict.fromkeys(found, source))
    values["states"] = {name: StateSettings(**said) for name, said in values.get("states", {}).items()}
    return _checked(Settings(**values, path=find_file(directory, environ), origins=origins))


def _joined(before: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says on top of those before it: states and sections key by key."""
    joined = dict(found)
    older = before.get("states", {})
    if "max_deletes" in found:  # whose word is above that of a file is above what the file says of single states
        older = {
            name: {key: value for key, value in said.items() if key != "max_deletes"} for name, said in older.items()
        }
    if older or "states" in found:
        joined["states"] = _over(older, found.get("states", {}))
    if "policies" in found:  # each word counts; which is the strictest is decided for one state
        joined["policies"] = (*before.get("policies", ()), *found["policies"])
    if "sections" in found:
        joined["sections"] = _over(before.get("sections", {}), found["sections"])
    return joined


def _over(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    return {**older, **{name: {**older.get(name, {}), **said} for name, said in newer.items()}}


class _File(Struct, frozen=True, kw_only=True):
    """A file of settings.

    Attributes:
        path: Where it is.
        is_operators: Whether it may say everything.
        doubt: What an operator can do so that it may, when only its mode or owner keeps it from that.
    """

    path: Path
    is_operators: bool
    doubt: str = ""


def _files(directory: Path, environ: Mapping[str, str]) -> list[_File]:
    """Return the files that hold here, those that override others last: an operator's word is above a branch's."""
    own, found = operators_file(environ), find_file(directory, environ)
    paths = [path for path in (own if own.is_file() else None, found) if path is not None]
    if not paths:
        return []
    if found is not None and not environ.get("INTERLOCK_CONFIG"):
        _check_planted(found, directory)
    tops = checkouts(directory, environ)
    return sorted(
        (_file(path, tops, searched=path is found and not environ.get("INTERLOCK_CONFIG")) for path in paths),
        key=lambda file: file.is_operators,
    )


def _file(path: Path, tops: tuple[Path, ...], *, searched: bool) -> _File:
    if searched or is_within(path, tops):
        return _File(path=path, is_operators=False)
    doubt = _doubt(path)
    return _File(path=path, is_operators=not doubt, doubt=doubt)


def _check_planted(path: Path, directory: Path) -> None:
    """Refuse a file that a stranger put where everybody may write, such as /tmp, above a folder of ours without git."""
    try:
        found, folder, module = path.stat(), path.parent.stat(), directory.stat()
    except OSError:
        return  # reading it will say so
    if folder.st_mode & stat.S_IWOTH and found.st_uid not in {os.geteuid(), 0, module.st_uid}:
        raise UsageError(
            f"{path} is somebody else's",
            why=f"user {found.st_uid} put it where everybody may write, and it would name your states and limits",
            fix=f"touch {shlex.quote(str(directory.resolve() / FILE_NAME))}    a file of your own is found first",
        )


def _doubt(path: Path) -> str:
    """Return what must be done before a file outside the checkout counts as the operator's; empty for nothing."""
    try:
        found = path.stat()
    except OSError:
        return ""  # reading it will say so
    if lets_others_write(found):
        return f"chmod go-w {shlex.quote(str(path))}"
    return "" if found.st_uid in {os.geteuid(), 0} else f"chown {os.geteuid()} {shlex.quote(str(path))}"


def _checked(settings: Settings) -> Settings:
    if (error := pace_fault(settings.lease_s, settings.heartbeat_s)) is not None:
        raise error
    return settings


def find_file(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """Return INTERLOCK_CONFIG, or interlock.yaml here or in the nearest folder above, up to the repository root."""
    if named := environ.get("INTERLOCK_CONFIG"):
        return Path(named).absolute()
    for folder in (directory.resolve(), *directory.resolve().parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        if (folder / ".git").exists():
            return None
    return None


def operators_file(environ: Mapping[str, str]) -> Path:
    """Return the operator's own file of settings, outside every repository (XDG base directory specification)."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "interlock" / FILE_NAME


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the platform's state directory for Interlock (XDG base directory specification)."""
    base = environ.get("XDG_STATE_HOME") or str(_persons_folder(environ) / ".local" / "state")
    return Path(base) / "interlock"


def _persons_folder(environ: Mapping[str, str]) -> Path:
    """Return HOME; in a container job of GitHub, where HOME is a folder of the machine's user, that of the job's own.

    Source: docs/facts/ci-systems.md#ci-16.
    """
    told = Path(environ.get("HOME", "~")).expanduser()
    if told != GITHUB_CONTAINER_HOME or environ.get("GITHUB_ACTIONS") != "true":
        return told
    with suppress(
        OSError, KeyError
    ):  # a user without a name has no other folder, and is refused if HOME is not its own
        if told.stat().st_uid != os.geteuid():
            return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    return told


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    readers: dict[str, tuple[str, Any]] = {
        "INTERLOCK_HOME": ("home", lambda text: Path(text).expanduser().absolute()),
        "INTERLOCK_SERVER": ("server", lambda text: check_address(text, said_by="INTERLOCK_SERVER")),
        "INTERLOCK_TOKEN": ("token", lambda text: Secret(value=text.strip())),  # from a file it ends with a newline
        "INTERLOCK_TERRAFORM": ("terraform", str),
        "INTERLOCK_WAIT": ("wait_s", parse_duration),
        "INTERLOCK_LEASE": ("lease_s", parse_duration),
        "INTERLOCK_HEARTBEAT": ("heartbeat_s", parse_duration),
        "INTERLOCK_MAX_DELETES": ("max_deletes", _whole_number),
        "INTERLOCK_PROTECT_TERRAFORM": ("protect_terraform", _protection),
    }
    return {name: read(environ[key]) for key, (name, read) in readers.items() if environ.get(key)}


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(
            f"{text!r} is not a whole number", why="INTERLOCK_MAX_DELETES counts deletions", fix="set 0 or more"
        )
    return int(text)


def _protection(text: str) -> str:
    if text not in PROTECTIONS:
        raise UsageError(
            f"{text!r} is not a choice of INTERLOCK_PROTECT_TERRAFORM",
            why="it decides whether Terraform hears signals that are meant for whole process trees",
            fix=f"set {', '.join(PROTECTIONS[:-1])} or {PROTECTIONS[-1]}",
        )
    return text


def _from_file(file: _File, operators: Path) -> dict[str, object]:
    path = file.path
    document = read_document(path)
    parsed = parsed_document(document, file=str(path))
    if isinstance(parsed, tuple):
        raise parsed[0].error
    if not file.is_operators:
        _check_repositorys(document, file, operators)
    elif parsed.server is not None:
        check_address(parsed.server, said_by=f"`server` in {path}")
    values = parsed.settings(path.parent)
    if parsed.policies:
        layer = "operator" if file.is_operators else "repository"
        values["policies"] = tuple({**policy.plain(path.parent), "layer": layer} for policy in parsed.policies)
    return values


def _check_repositorys(document: Mapping[str, Any], file: _File, operators: Path) -> None:
    try:
        check_repository(document, file=str(file.path), operators_file=str(operators))
    except UsageError as error:
        if file.doubt:
            error.fix = f"{file.doubt}    so that nobody else can write the operator's settings"
        raise


def read_document(path: Path, *, otherwise: str = "interlock init") -> dict[str, Any]:
    """Return interlock.yaml, or a file with a part of it, as plain values.

    Args:
        path: The file.
        otherwise: What a person types when there is no such file.

    Raises:
        UsageError: It cannot be read, is too large, or is not YAML mapping.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=reason_of(error), fix=otherwise) from error
    document = read_text(data, file=str(path), otherwise=otherwise)
    if isinstance(document, Fault):
        raise document.error
    return document


def explained(
    path: str, error: ValidationError, keys_at: Callable[[Sequence[int | str]], list[str]], *, again: str = ""
) -> UsageError:
    """Return what is wrong first with a file of settings; see `interlock.settings.judged.shape_faults`."""
    return next(shape_faults(path, error, keys_at, again=again)).error
