"""States that lie in files beside a root module, taken into Interlock's own store; and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.coordinator.names import in_workspace
from interlock.errors import StateInvalid, UsageError, command
from interlock.site.holding import holding
from interlock.site.identity import default_state_name
from interlock.site.opening import open_site
from interlock.site.which import own_ref
from interlock.state import Footing, refusing, verify_state
from interlock.state.document import content_digest, parse_document

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.state import Document

LOCAL_STATE = "terraform.tfstate"
LOCAL_WORKSPACES = "terraform.tfstate.d"
ADOPTED = ".adopted"
"""Appended to the name of a file whose state was taken over: it stays, and Terraform does not read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """One state that is to be taken over, or was.

    Attributes:
        file: Where it lies.
        workspace: Terraform's workspace.
        state: The name that it gets.
        footing: Its lineage and serial.
        resources: How many instances it has.
        stored: It is stored under that name already, with the same content.
    """

    file: Path
    workspace: str
    state: str
    footing: Footing
    resources: int
    stored: bool = False


def find_local(directory: Path) -> list[tuple[Path, str]]:
    """Return the files with states beside a root module, each with its workspace; empty ones are none."""
    files = [(directory / LOCAL_STATE, "default")]
    spaces = directory / LOCAL_WORKSPACES
    if spaces.is_dir():
        files += [(space / LOCAL_STATE, space.name) for space in sorted(spaces.iterdir())]
    return [(path, name) for path, name in files if path.is_file() and path.stat().st_size]


async def plan_adoption(
    directory: Path, home: Home, environ: Mapping[str, str], *, named: str | None
) -> list[Adoption]:
    """Look at what would be taken over; nothing is changed.

    Raises:
        UsageError: There is no local state, or another state is stored under a name already.
        StateInvalid: A file is damaged.
    """
    files = find_local(directory)
    if not files:
        raise UsageError(
            f"{directory} has no local state",
            why=f"there is no {LOCAL_STATE} and nothing in {LOCAL_WORKSPACES}",
            fix=command("doctor", directory),
        )
    settings = home.settings_in(directory, environ)
    name = named or settings.state_for(directory) or default_state_name(directory)
    return [await _planned(path, space, in_workspace(name, space), home) for path, space in files]


async def _planned(path: Path, space: str, state: str, home: Home) -> Adoption:
    body = await asyncio.to_thread(path.read_bytes)
    found = [finding.message for finding in refusing(verify_state(body))]
    if found:
        raise StateInvalid(f"{path} cannot be adopted", why="; ".join(found), fix=command("state", "verify", path))
    document = parse_document(body)
    adoption = Adoption(
        file=path,
        workspace=space,
        state=state,
        footing=Footing(lineage=document.lineage, serial=document.serial),
        resources=document.instance_count(),
    )
    return await _beside_stored(adoption, document, home)


async def _beside_stored(adoption: Adoption, document: Document, home: Home) -> Adoption:
    current = await home.archive.current(adoption.state)
    if current is None:
        return adoption
    if content_digest(parse_document(current[1])) == content_digest(document):
        return replace(adoption, stored=True)
    raise UsageError(
        f"state {adoption.state} has content already, and it is not that of {adoption.file}",
        why="the one would replace the other",
        fix=f"{command('state', 'show', adoption.state)}    or give it another name with --state",
    )


async def adopt(adoptions: Sequence[Adoption], directory: Path, home: Home) -> list[Path]:
    """Store every state, read each back, and only then put the files aside; return where they are now.

    Raises:
        StateInvalid: What was read back is not what was stored; no file was touched.
    """
    for adoption in adoptions:
        await _store(adoption, directory, home)
    return [await asyncio.to_thread(_put_aside, adoption.file) for adoption in adoptions]


async def _store(adoption: Adoption, directory: Path, home: Home) -> None:
    body = await asyncio.to_thread(adoption.file.read_bytes)
    if not adoption.stored:
        async with open_site(own_ref(adoption.state, directory=directory), home) as site:
            await site.versions.push(body, force=False)
    read = await home.archive.current(adoption.state)
    if read is None or content_digest(parse_document(read[1])) != content_digest(parse_document(body)):
        raise StateInvalid(
            f"what is stored as {adoption.state} is not what {adoption.file} holds",
            why="it was read back and compared; the file was not touched",
            fix=command("state", "verify", adoption.state),
        )


def _put_aside(path: Path) -> Path:
    aside = path.with_name(path.name + ADOPTED)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{ADOPTED}.{number}")
    path.rename(aside)
    return aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """One state that is to be given back to a file.

    Attributes:
        state: Its name.
        file: Where Terraform's local backend looks for it.
        serial: Its serial.
    """

    state: str
    file: Path
    serial: int


async def plan_leaving(directory: Path, home: Home, environ: Mapping[str, str], *, named: str | None) -> list[Leaving]:
    """Look at which states of a root module would be given back, each with its workspaces; nothing is changed.

    Raises:
        UsageError: Nothing is stored under its name, or a file is in the way.
    """
    name = named or home.settings_in(directory, environ).state_for(directory) or default_state_name(directory)
    found = [one for one in await home.coordinator.states() if one.head and one.state.partition("@")[0] == name]
    if not found:
        raise UsageError(f"nothing is stored as {name}", why="there is nothing to give back", fix="interlock state ls")
    plans = [
        Leaving(state=one.state, file=_file_of(directory, one.state.partition("@")[2]), serial=one.head.serial)
        for one in found
        if one.head is not None
    ]
    for plan in plans:
        if plan.file.exists():
            raise UsageError(f"{plan.file} is in the way", why="it would be replaced", fix="move it away first")
    return plans


def _file_of(directory: Path, space: str) -> Path:
    return directory / LOCAL_WORKSPACES / space / LOCAL_STATE if space else directory / LOCAL_STATE


async def leave(plans: Sequence[Leaving], home: Home) -> None:
    """Write each state to its file. Interlock keeps its versions; a pause keeps runs from going on with them.

    Raises:
        OSError: A file cannot be written.
    """
    from interlock.source.disk import write_file

    for plan in plans:
        async with holding(home, plan.state, command("leave", plan.file.parent)):
            current = await home.archive.current(plan.state)
            assert current is not None, "its head was seen"
            plan.file.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(write_file, plan.file, current[1])
            await home.coordinator.pause(plan.state, reason=f"it was given back to {plan.file}", by=home.me)
