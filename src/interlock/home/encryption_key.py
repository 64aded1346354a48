"""The keys that encrypt a store, as the operator names them: in the environment, a file, or by a command. A hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import BackendUnavailable, UsageError, reason_of
from interlock.settings.values import Settings
from interlock.trust.own_secrets import without_own_secrets
from interlock.trust.secret_file import read_secret_file

if TYPE_CHECKING:
    from interlock.store.sealing import MasterKey

KEY = "INTERLOCK_ENCRYPTION_KEY"
KEY_FILE = "INTERLOCK_ENCRYPTION_KEY_FILE"
KEY_COMMAND = "INTERLOCK_ENCRYPTION_KEY_COMMAND"

COMMAND_S_MAX = 30.0
"""Longest time for a command that prints a key: a KMS over a slow line."""


def find_encryption_keys(settings: Settings, environ: Mapping[str, str]) -> tuple[MasterKey, ...]:
    """Return the keys: the first one wraps, the others open what they wrapped earlier; empty for none.

    Args:
        settings: Their section `encryption` counts where the environment says nothing.
        environ: The environment.

    Raises:
        UsageError: Several places name keys, or what they name is not a key.
        BackendUnavailable: The command failed.
    """
    named = {name: environ[name] for name in (KEY, KEY_FILE, KEY_COMMAND) if environ.get(name)}
    if not named:
        section: Mapping[str, Any] = settings.sections.get("encryption", {})
        places = {"key_file": KEY_FILE, "key_command": KEY_COMMAND}
        named = {places[name]: str(value) for name, value in section.items() if name in places}
    if len(named) > 1:
        raise UsageError(
            "the encryption key is named twice", why=" and ".join(named), fix=f"unset {' '.join(list(named)[1:])}"
        )
    for name, value in named.items():
        return _read(name, value, environ)
    return ()


def _read(name: str, value: str, environ: Mapping[str, str]) -> tuple[MasterKey, ...]:
    from interlock.store.sealing import read_keys

    if name == KEY:
        return read_keys(value, said_by=KEY)
    if name == KEY_FILE:
        return read_keys(read_secret_file(Path(value).expanduser(), what="the encryption key"), said_by=value)
    return read_keys(_printed_by(value, environ), said_by=f"what {KEY_COMMAND} printed")


def _printed_by(line: str, environ: Mapping[str, str]) -> str:
    """Return what a command prints. What it printed is in no message: it may be the key."""
    from interlock.trust.asked_program import ask_program

    try:
        ended = ask_program(shlex.split(line), environ=without_own_secrets(environ), timeout_s=COMMAND_S_MAX)
    except TimeoutError:
        raise BackendUnavailable(
            f"{KEY_COMMAND} gave no key", why=f"it ran for longer than {COMMAND_S_MAX:.0f} seconds", fix=line
        ) from None
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{KEY_COMMAND} cannot be run", why=reason_of(error), fix=f"correct {KEY_COMMAND}") from None
    if ended.code:
        raise BackendUnavailable(f"{KEY_COMMAND} gave no key", why=f"it ended with status {ended.code}", fix=line)
    return ended.out.decode(errors="replace")


def keys_here(settings: Settings, environ: Mapping[str, str] | None) -> tuple[MasterKey, ...]:
    """Return the keys as this process's own environment names them, where the caller gave none."""
    return find_encryption_keys(settings, os.environ if environ is None else environ)
