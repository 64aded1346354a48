"""The server that a person logged in to, and the token for it: one private file. A hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import UsageError
from interlock.settings.authority import check_address
from interlock.settings.reading import operators_file
from interlock.settings.values import Secret, Settings
from interlock.trust.secret_file import read_secret_file

LEASE_S: Final = 60.0
"""Lease of a run at a server where nobody says: longer than a server takes to start again, or to fail over."""
HEARTBEAT_S: Final = 5.0
_FILE: Final = "login.json"
_BY: Final = "interlock login"


class Login(Struct, frozen=True, kw_only=True):
    """Where somebody logged in.

    Attributes:
        server: The address.
        token: For it; a secret.
        schema: Version of this form.
    """

    server: str
    token: str
    schema: int = 1

    def __repr__(self) -> str:
        """Show it without the secret."""
        return f"Login({self.server})"


def login_file(environ: Mapping[str, str]) -> Path:
    """Return where a login is kept."""
    return operators_file(environ).parent / _FILE


def find_login(environ: Mapping[str, str]) -> Login | None:
    """Return the stored login; None without one.

    Raises:
        UsageError: Others may read it, or it cannot be read.
    """
    path = login_file(environ)
    if not path.exists():
        return None
    text = read_secret_file(path, what="the stored login")
    try:
        return decode_json(text, type=Login)
    except (msgspec.MsgspecError, ValueError) as error:
        why = "it is not what a login writes"
        raise UsageError(f"{path} cannot be read", why=why, fix="interlock logout") from error


def store_login(login: Login, environ: Mapping[str, str]) -> Path:
    """Keep a login, in the place of any before it; only its owner may read it."""
    path = login_file(environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{_FILE}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(login) + b"\n")
    fresh.replace(path)
    return path


def forget_login(environ: Mapping[str, str]) -> str | None:
    """Remove the stored login; return the server that it was for, empty when it could not be read, None without one."""
    path = login_file(environ)
    if not path.exists():
        return None
    try:
        login = find_login(environ)
    except UsageError:
        login = None
    path.unlink(missing_ok=True)
    return "" if login is None else login.server


def with_login(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with the server that somebody logged in to, where they name none, and a token for theirs.

    Raises:
        UsageError: See `find_login`.
    """
    if settings.server is None or settings.token is None:
        login = find_login(environ)
        if login is not None and settings.server is None:
            server = check_address(login.server, said_by=str(login_file(environ)))
            settings = replace(settings, server=server, origins={**settings.origins, "server": _BY})
        if login is not None and settings.token is None and settings.server == login.server:
            settings = replace(settings, token=Secret(value=login.token))
    return settings if settings.server is None else _paced(settings)


def _paced(settings: Settings) -> Settings:
    """Let a lease outlast a server that is started again, unless somebody says otherwise."""
    if {"lease_s", "heartbeat_s"} & set(settings.origins):
        return settings
    return replace(settings, lease_s=LEASE_S, heartbeat_s=HEARTBEAT_S)
