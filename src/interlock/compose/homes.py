"""The home in which a command works: opened here, from settings and environment, and passed to whoever works in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.errors import InterlockError, UsageError, command
from interlock.home.embedded import check_own, read_settings
from interlock.home.embedded import open_home as open_embedded
from interlock.home.login import with_login
from interlock.home.parts import to_nobody
from interlock.settings.values import Secret, Settings
from interlock.site.moved import address_moved_to

if TYPE_CHECKING:
    from interlock.home.interface import Home, Say, Told
    from interlock.run.order import Order


@asynccontextmanager
async def at_home(
    environ: Mapping[str, str],
    *,
    directory: Path | None = None,
    make: bool = True,
    told: Told | None = None,
    say: Say | None = None,
) -> AsyncIterator[Home]:
    """Open the home of a command for as long as the context lasts.

    Args:
        environ: The environment of the command.
        directory: Whose settings hold; None for the current folder.
        make: Make the home when there is none yet. Commands that only look say False, and see an empty one.
        told: Hears of each decision that is written down.
        say: Tells a person what the command waits for; None for nobody.

    Raises:
        UsageError: See `read_settings`.
    """
    settings = read_settings(environ, directory)
    async with open_home(settings, make=make, environ=environ, told=told, say=say) as home:
        yield home


@asynccontextmanager
async def open_home(
    settings: Settings,
    *,
    make: bool = True,
    environ: Mapping[str, str] | None = None,
    told: Told | None = None,
    say: Say | None = None,
    patience_s: float = 0.0,
) -> AsyncIterator[Home]:
    """Open the home that the settings name for as long as the context lasts: at a server, or on this machine.

    Args:
        settings: Which.
        make: See `at_home`; a server's home is always there.
        environ: The environment of the command.
        told: See `at_home`.
        say: See `at_home`.
        patience_s: See `interlock.home.line.Line`; for a home at a server.

    Raises:
        UsageError: There is no token for the server.
    """
    if settings.server is not None:
        from interlock.home.server import open_server_home

        async with open_server_home(settings, told=told, patience_s=patience_s) as far:
            far.say = say or to_nobody
            yield far
        return
    async with open_embedded(settings, make=make, environ=environ, told=told) as near:
        near.say = say or to_nobody
        yield near


_PATIENCE_S = 30.0  # of a move whose server is started again meanwhile; it may be in the middle of a history


@asynccontextmanager
async def at_both_stores(
    environ: Mapping[str, str], *, make: bool = True, told: Told | None = None, say: Say | None = None
) -> AsyncIterator[tuple[Home, Home]]:
    """Open the store of this machine and the home at the server in use, for a move from one to the other.

    Raises:
        UsageError: No server is in use; see also `read_settings`.
    """
    settings = read_settings(environ)
    if settings.server is None:
        raise UsageError(
            "no server is in use, so there is only the store of this machine",
            why="`state import` and `state export` move states between that store and a server's",
            fix="interlock login https://interlock.example.com    or, for a state on another backend: interlock adopt",
        )
    alone = replace(settings, server=None, token=None)
    async with (
        open_embedded(alone, make=make, environ=environ, told=told) as machine,
        open_home(settings, make=make, environ=environ, told=told, say=say, patience_s=_PATIENCE_S) as server,
    ):
        machine.say = say or to_nobody
        yield machine, server


async def check_not_left_here(state: str, place: Path, settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse to begin an empty state at a server where this machine's own store has the state.

    Raises:
        UsageError: It has it.
    """
    if settings.server is None or not settings.database.exists():
        return
    view = None
    with suppress(InterlockError):  # a store that cannot be read, as without its key, keeps nobody from the server
        alone = replace(settings, server=None, token=None)
        async with open_embedded(alone, make=False, environ=environ) as machine:
            view = await machine.coordinator.view(state)
    if view is not None and view.head is not None and view.head.digest and not address_moved_to(view.lock.pause):
        raise UsageError(
            f"the state of {place} is in the store of this machine, and not at {settings.server}",
            why=f"{settings.database} has it as {state}; begun anew, everything would be created a second time",
            fix=command("state", "import", state),
        )


def settings_of_run(order: Order, environ: Mapping[str, str]) -> Settings:
    """Return the settings that a run has beside its order: its home, and its server with a token for that.

    Raises:
        UsageError: See `interlock.home.login.find_login`.
    """
    plain = Settings(
        home=Path(order.home),
        server=order.server or None,
        lease_s=order.lease_s,
        heartbeat_s=order.heartbeat_s,
        origins={"lease_s": "run", "heartbeat_s": "run"},
    )
    if plain.server is None:
        return plain
    token = environ.get("INTERLOCK_TOKEN")
    return with_login(replace(plain, token=Secret(value=token) if token else None), environ)


def settings_here(environ: Mapping[str, str], directory: Path | None = None) -> Settings:
    """Return the settings that hold for a command that needs no open home.

    Raises:
        UsageError: See `read_settings`.
    """
    return read_settings(environ, directory)


def check_home_is_ours(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse a home that others may write to, where settings were read by other means.

    Raises:
        UsageError: See `interlock.home.embedded.check_own`.
    """
    check_own(settings, environ)
