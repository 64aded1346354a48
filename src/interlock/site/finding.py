"""Where is a root module's state: in Interlock's own backend, in one where it stays, or in one that runs cannot use?

This is the one place that decides it; runs, queues, locks, states, drift, `doctor` and generated pipelines all ask
here. Whatever declares a backend in any form is used where it is or refused. Interlock's own is only what nobody
declares: no block, or an empty `backend "http" {}`, without an address from anywhere. What is not understood is
refused, because a plan against an empty state would create everything a second time.

Imported by every run's front end, so what only a state elsewhere needs is imported where it is used.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from interlock.errors import PROGRAM, UsageError, command
from interlock.existing.discovery import find
from interlock.existing.interface import Found
from interlock.site.kinds import WITH_QUEUE
from interlock.source.disk import DiskTree
from interlock.source.tree import Tool

_LOCAL_STATE = "terraform.tfstate"
_LOCAL_WORKSPACES = "terraform.tfstate.d"
_MAX_UNSURE = 3  # reasons that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptByUs:
    """The state is in Interlock's own backend.

    Attributes:
        in_place: The configuration declares an empty `backend "http" {}` itself.
        workspace: Terraform's workspace: each has a state of its own.
    """

    in_place: bool
    workspace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptElsewhere:
    """The state stays where it is, and runs can be made on it.

    Attributes:
        found: Its backend.
        state: The name under which it queues.
    """

    found: Found
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The state is, or may be, where runs cannot work on it.

    Attributes:
        found: What was found of its backend.
        error: Why, with the way out.
        is_certain: It is certain which state is meant; only runs cannot work on it.
    """

    found: Found
    error: UsageError
    is_certain: bool = False


Located: TypeAlias = KeptByUs | KeptElsewhere | Refused


def locate_state(
    directory: Path,
    environ: Mapping[str, str],
    extra: Sequence[str] = (),
    *,
    tool: Tool = Tool.TOFU,
    state: str | None = None,
) -> Located:
    """Say where a root module's state is.

    Args:
        directory: The root module, absolute.
        environ: The environment in which Terraform would run.
        extra: The user's flags for Terraform.
        tool: The program that would run.
        state: The name that the state would have in Interlock's own backend, for advice; None for the usual one.
    """
    found = find(DiskTree(), str(directory), environ, extra, tool)
    advice = _Advice(found=found, directory=directory, tool=tool, state=state)
    if found.unsure:
        return Refused(found=found, error=advice.not_certain())
    if _is_kept_there(found):
        return _there(found, advice)
    if (refused := _elsewhere(found, advice)) is not None:
        return Refused(found=found, error=refused, is_certain=True)
    if (refused := _uncertain(found, advice)) is not None:
        return Refused(found=found, error=refused)
    return KeptByUs(in_place=found.is_declared, workspace=found.workspace)


def state_of(found: Found, directory: Path) -> str:
    """Return the name under which the state of a root module's backend queues.

    Raises:
        UsageError: The backend is incomplete, or runs cannot use it.
    """
    if found.type not in WITH_QUEUE:
        raise _not_yet(found, "", command("doctor"))
    from interlock.existing.opening import whole_address_of
    from interlock.site.naming import name_of_address

    return name_of_address(found.type, whole_address_of(found, directory))


def _is_kept_there(found: Found) -> bool:
    """Say whether a state that runs can work on is declared; without an address `http` may be Interlock's own."""
    is_named = found.type != "http" or found.text("address") is not None
    return found.type in WITH_QUEUE and found.is_declared and is_named


def _there(found: Found, advice: _Advice) -> KeptElsewhere | Refused:
    if (refused := _unreachable(found, advice)) is not None:
        return Refused(found=found, error=refused, is_certain=True)
    try:
        return KeptElsewhere(found=found, state=state_of(found, advice.directory))
    except UsageError as error:
        return Refused(found=found, error=error)


def _unreachable(found: Found, advice: _Advice) -> UsageError | None:
    """Return why neither runs nor Terraform can come to this state of a backend on which they can work otherwise."""
    if found.type == "http" and found.workspace != "default":
        return advice.workspace_over_http()
    return None


def _elsewhere(found: Found, advice: _Advice) -> UsageError | None:
    """Return why runs cannot use a state of which it is certain that it is somewhere else."""
    if found.is_declared and found.type != "http":
        return advice.not_supported(found)
    if not found.is_declared and found.before is None and (path := _local_state(found, advice.directory)) is not None:
        return advice.local(path)
    return None


def _uncertain(found: Found, advice: _Advice) -> UsageError | None:
    """Return why a state may be somewhere else.

    What is left is Interlock's own: nothing declared at all, or an empty `backend "http" {}`, and no address from
    anywhere.
    """
    if found.is_declared and not found.is_empty_http:
        return advice.no_address()
    if found.has_flags:
        return advice.flags_without_block()
    if found.before is not None:
        return advice.recorded(found.before)
    return None


def _local_state(found: Found, directory: Path) -> Path | None:
    """Return a state that Terraform left in a file beside the configuration; None when there is none with content."""
    paths = [directory / (found.text("path") or _LOCAL_STATE), *sorted(_workspace_states(directory))]
    return next((path for path in paths if path.is_file() and path.stat().st_size > 0), None)


def _workspace_states(directory: Path) -> Iterator[Path]:
    folder = directory / _LOCAL_WORKSPACES
    if folder.is_dir():
        yield from (workspace / _LOCAL_STATE for workspace in folder.iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Advice:
    """What a person is told, with everything that is known filled in."""

    found: Found
    directory: Path
    tool: Tool
    state: str | None

    def not_certain(self) -> UsageError:
        return UsageError(
            f"where the state of {self.directory} is cannot be told",
            why="; ".join(self.found.unsure[:_MAX_UNSURE]),
            fix=command("lint", self.directory),
        )

    def not_supported(self, found: Found) -> UsageError:
        return _not_yet(found, self._address(found), self._move("the backend block"))

    def workspace_over_http(self) -> UsageError:
        kind, space = self.found.type, self.found.workspace
        source, program = self.found.workspace_source, self._program
        select = f"{program} {shlex.quote(f'-chdir={self.directory}')} workspace select default"
        return UsageError(
            f'runs cannot use workspace "{space}" of backend "{kind}"',
            why=f"{source} chooses it, and Terraform's own http backend knows none",
            fix=f"{'unset TF_WORKSPACE' if source == 'TF_WORKSPACE' else select}    then give each workspace a backend"
            " configuration of its own",
        )

    def no_address(self) -> UsageError:
        return UsageError(
            f'the backend "http" of {self.directory} has settings and no address',
            why="without an address nobody knows which server has the state; only an empty block is Interlock's own",
            fix="give it the address that plain Terraform uses, in TF_HTTP_ADDRESS or by a flag, or empty the block",
        )

    def flags_without_block(self) -> UsageError:
        return UsageError(
            "-backend-config was given, and the configuration declares nothing that it could complete",
            why="the flags say that the state is somewhere else",
            fix="leave the flags out of the command, TF_CLI_ARGS and TF_CLI_ARGS_init, or declare the backend",
        )

    def recorded(self, before: Found) -> UsageError:
        address = self._address(before)
        declared = 'an empty backend "http"' if self.found.is_declared else "no backend"
        return UsageError(
            f'an earlier init of {self.directory} recorded backend "{before.type}"'
            f"{f' at {address}' if address else ''}; now {declared} is declared",
            why="a plan against an empty state would create everything a second time",
            fix=f"{self._migrate()}    or declare that backend again",
        )

    def local(self, path: Path) -> UsageError:
        name = os.path.relpath(path, self.directory)
        return UsageError(
            f"{self.directory} has a local state, {name}, that Interlock does not know",
            why="a plan against the empty state would create everything a second time",
            fix=f'{self._adopt()}    or declare backend "local" {{}}, to leave it where it is',
        )

    @property
    def _program(self) -> str:
        """What is typed: `tool` is Terraform also where nobody looked which of the two reads files of both."""
        return self.tool.value if self.tool is Tool.TOFU else PROGRAM

    def _adopt(self) -> str:
        return command("adopt", self.directory, *(("--state", self.state) if self.state else ()))

    def _move(self, remove: str) -> str:
        pull = f"{self._program} {shlex.quote(f'-chdir={self.directory}')} state pull > state.json"
        push = command("state", "push", "--state", self._name(), "state.json")
        return f"{pull}; {push}    then remove {remove}"

    def _migrate(self) -> str:
        """Terraform reads a recorded backend that is no longer declared only to move its state into a local file."""
        at = shlex.quote(f"-chdir={self.directory}")
        first = "remove the backend block, then: " if self.found.is_declared else ""
        move = f"{self._program} {at} init -migrate-state -force-copy"
        return f"{first}{move}; {self._push_local(self.directory / _LOCAL_STATE)}"

    def _push_local(self, path: Path) -> str:
        return f"{command('state', 'push', '--state', self._name(), path)}    then move the file away"

    def _name(self) -> str:
        from interlock.site.identity import default_state_name

        return self.state or default_state_name(self.directory)

    def _address(self, found: Found) -> str:
        from interlock.existing.opening import address_of

        return address_of(found, self.directory) or ""


def _not_yet(found: Found, address: str, fix: str) -> UsageError:
    where = f"its address is {address}; " if address else ""
    what = "a state_store" if found.type == "state_store" else f'backend "{found.type}"'
    return UsageError(
        f"runs cannot use {what} yet",
        why=f"{where}runs work on Interlock's own backend and on {', '.join(sorted(WITH_QUEUE))}",
        fix=fix,
    )
