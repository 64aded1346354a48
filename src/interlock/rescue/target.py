"""What a person means by a state's name or a folder: Interlock's own backend, or one where the state already is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from interlock.compose import is_state_name, locate, named_state, open_embedded, state_name
from interlock.disk import DiskTree
from interlock.existing import Found
from interlock.existing.discovery import find
from interlock.existing.opening import address_of
from interlock.onsite.finding import Existing, Refused
from interlock.recovery.witnesses.running import Running
from interlock.recovery.witnesses.terraform import PlaceOf
from interlock.settings import Settings
from interlock.source import is_configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A state in Interlock's own backend.

    Attributes:
        state: Its name.
        directory: Its root module, as far as it is known.
    """

    state: str
    directory: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A state in another backend.

    Attributes:
        found: The backend.
        directory: The root module.
    """

    found: Found
    directory: Path


Target = Own | Foreign


async def find_target(text: str, settings: Settings, environ: Mapping[str, str]) -> Target:
    """Return what a person means: a root module's folder, or a state's name.

    A state of exactly this name goes before a folder; `./name` always means the folder.

    Where the state of a folder is, `locate_state` says. One on which runs cannot work can be looked at and repaired all
    the same, as long as it is certain where it is.

    Raises:
        UsageError: The name is no state name, the folder cannot be read, or it is not certain where its state is.
    """
    directory = _directory(text, settings)
    if directory is None:
        return Own(state=named_state(settings, text))
    if await _is_kept(text, settings):
        return Own(state=text)
    own = Own(state=state_name(settings, directory, None), directory=directory)
    match locate(directory, environ):
        case Existing(found=found):
            return Foreign(found=found, directory=directory)
        case Refused(found=found) as refused:
            undeclared = refused.is_certain and found.type == "local" and not found.is_declared
            if undeclared and await _is_own(own, directory, settings):
                return own
            if not refused.is_certain or address_of(found, directory) is None:
                raise refused.error
            return Foreign(found=found, directory=directory)
        case _:
            return own


def _directory(text: str, settings: Settings) -> Path | None:
    """Return the root module that is meant; None for a name whose root module nobody knows."""
    folder = Path(text)
    with suppress(OSError, ValueError):  # too long for a path, or with a zero byte: it can only be a name
        if folder.is_dir() and (text in {".", ".."} or any(is_configuration(entry.name) for entry in folder.iterdir())):
            return folder.resolve()
    named = settings.states.get(text)
    return named.directory.resolve() if named is not None and named.directory is not None else None


async def _is_kept(text: str, settings: Settings) -> bool:
    """Say whether there is a state of this name beside the folder of this name."""
    if not is_state_name(text) or text in settings.states or not settings.database.exists():
        return False
    async with open_embedded(settings) as embedded:
        return (await embedded.coordinator.view(text)).version is not None


async def _is_own(own: Own, directory: Path, settings: Settings) -> bool:
    left = directory / "terraform.tfstate"
    if not left.is_file() or not left.stat().st_size:
        return True
    if not settings.database.exists():
        return False
    async with open_embedded(settings) as embedded:
        return (await embedded.coordinator.view(own.state)).head is not None


def address_of_target(target: Target) -> str:
    """Return what names the state among all states, for the audit log and for comparing processes."""
    if isinstance(target, Own):
        return own_address(target.state)
    return address_of(target.found, target.directory) or target.found.type


def own_address(state: str) -> str:
    """Return the address of a state of Interlock's own backend."""
    return f"interlock:{state}"


def places_beside(target: Target) -> PlaceOf:
    """Return what finds the state that a Terraform of this host works on, to be compared with `address_of_target`.

    One bucket name can exist at two services. Their names may differ and mean the same, so a process that names another
    one is taken for unknown, unless both are bare addresses of this kind: then another port is another service.
    """
    mine = target.found.text("endpoints.s3") if isinstance(target, Foreign) else None

    def place(process: Running) -> str | None:
        found = _found_of(process)
        if found is None or process.folder is None:
            return None
        address = _place(found, process.folder)
        theirs = found.text("endpoints.s3")
        if found.type != "s3" or address != address_of_target(target) or theirs == mine:
            return address
        return f"{address} at {theirs}" if _is_bare(mine) and _is_bare(theirs) else None

    return place


def place_of(process: Running) -> str | None:
    """Return the address of the state that a Terraform of this host works on; None when that cannot be found out."""
    found = _found_of(process)
    return None if found is None or process.folder is None else _place(found, process.folder)


def _found_of(process: Running) -> Found | None:
    """A configuration alone does not tell: workspace, data folder and addresses may come from the environment."""
    if process.folder is None or not process.environ:
        return None
    return find(DiskTree(), str(process.folder), process.environ)


def _place(found: Found, folder: Path) -> str | None:
    address = address_of(found, folder)
    if found.type == "http" and address is not None and "/state/" in address:
        return own_address(address.partition("/state/")[2].partition("?")[0])
    return address


def _is_bare(url: str | None) -> bool:
    """Say whether a URL has an IP address for its host, which is no second name of another."""
    try:
        ip_address(urlsplit(url or "").hostname or "")
    except ValueError:
        return False
    return True
