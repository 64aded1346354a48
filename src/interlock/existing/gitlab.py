"""GitLab's managed Terraform state: its HTTP backend, with what GitLab's own API adds. A hand.

GitLab speaks Terraform's protocol, so this is the HTTP backend with three differences: the holder's id, user and time
come with a refused lock, while operation, version and path in that answer are those of whoever asked; a lock is deleted
on condition of its id (`DELETE …/lock?ID=`); and every version is kept, one a serial.
Source: GitLab's lib/api/terraform/state.rb and state_version.rb, and its GraphQL reference (TerraformState).
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import THIS_STATE, BackendUnavailable, InterlockError, UsageError, command
from interlock.existing.http import HttpBackend, Reply, place_of, without_secrets
from interlock.existing.interface import (
    Description,
    Found,
    StateVersion,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.ids import Ids
from interlock.state import parse_state

HISTORY_MAX = 50
"""Serials that are looked for below the current one; each costs a request."""

_STATE = re.compile(r"(?P<api>https?://\S+?/api/v4)/projects/(?P<project>[^/\s]+)/terraform/state/(?P<name>[^/?\s]+)\Z")
_OK = 200
_GONE = frozenset({200, 404})
_CONFLICT = frozenset({409, 423})
_MISSES_MAX = 5  # serials in a row that were never stored; Terraform leaves gaps of one or two
_QUERY = (
    "query($path: ID!, $name: String!) { project(fullPath: $path) { terraformState(name: $name)"
    " { lockedAt lockedByUser { username } } } }"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """One managed state.

    Attributes:
        api: Base URL of the API, version 4.
        project: Id or path, not quoted.
        name: Of the state, not quoted.
    """

    api: str
    project: str
    name: str

    @property
    def url(self) -> str:
        """The state's address."""
        quote = urllib.parse.quote
        return f"{self.api}/projects/{quote(self.project, safe='')}/terraform/state/{quote(self.name, safe='')}"


def find_project_state(found: Found) -> ProjectState | None:
    """Return the managed state that a found `backend "http"` names; None when it is another server's."""
    address = found.text("address")
    match = _STATE.match(without_secrets(address)) if address else None
    if match is None:
        return None
    unquote = urllib.parse.unquote
    return ProjectState(api=match["api"], project=unquote(match["project"]), name=unquote(match["name"]))


def open_gitlab(found: Found, *, clock: Clock, ids: Ids) -> GitLabBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: The address names no managed state.
    """
    state = find_project_state(found)
    if state is None:
        raise UsageError("the address names no Terraform state of GitLab", fix="interlock doctor")
    return GitLabBackend(state, found=found, clock=clock, ids=ids)


class GitLabBackend(HttpBackend):
    """See `ExistingBackend`.

    Args:
        state: Where it is.
        found: What discovery found.
        clock: See `HttpBackend`.
        ids: See `HttpBackend`.
    """

    mechanism = "gitlab"

    def __init__(self, state: ProjectState, *, found: Found, clock: Clock, ids: Ids) -> None:
        super().__init__(place_of(found), found=found, clock=clock, ids=ids)
        self.state = state

    def describe(self) -> Description:
        """See `ExistingBackend.describe`. Source: `latest_version` in GitLab's app/models/terraform/state.rb."""
        return replace(super().describe(), type="gitlab", current_is_highest=True)

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. Asks GraphQL first, which takes no lock when the state is free."""
        if await self._is_free():
            return ()
        return await super().read_locks()

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. GitLab itself compares the id."""
        query = urllib.parse.urlencode({"ID": lock.id})
        reply = await self.line.send("DELETE", f"{self.state.url}/lock?{query}", limit=1 << 20)
        if reply.status in _CONFLICT:
            raise TerraformLockMoved(
                f"lock {lock.id} is not there any more", why="GitLab has another", fix="look again"
            )
        if reply.status not in _GONE:
            raise BackendUnavailable(
                f"lock {lock.id} was not deleted", why=f"GitLab answered {reply.status}", fix="try again"
            )

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`. There is no list by REST, so serials are looked for downwards."""
        current = await self.read_state()
        if current is None:
            return ()
        serial = _serial_of(current.body)
        rows = [StateVersion(id=str(serial), modified_at=current.modified_at, size=len(current.body), current=True)]
        misses = 0
        for older in range(serial - 1, max(serial - HISTORY_MAX, 0), -1):
            reply = await self.line.send("GET", self._version_url(str(older)))
            misses = 0 if reply.status == _OK else misses + 1
            if reply.status == _OK:
                rows.append(
                    StateVersion(id=str(older), modified_at=reply.modified_at, size=len(reply.body), current=False)
                )
            if misses > _MISSES_MAX:
                break
        return tuple(rows)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        reply = await self.line.send("GET", self._version_url(version_id))
        if reply.status != _OK:
            raise UsageError(
                f"GitLab has no version {version_id} of this state",
                why=f"it answered {reply.status}",
                fix=command("state", "history", THIS_STATE),
            )
        return reply.body

    def _version_url(self, serial: str) -> str:
        return f"{self.state.url}/versions/{urllib.parse.quote(serial, safe='')}"

    def _held(self, reply: Reply) -> TerraformLock:
        """Keep of a refusal only what GitLab says of the holder; the rest of it repeats our own request."""
        lock = super()._held(reply)
        who = f"{lock.who}@" if lock.who and "@" not in lock.who else lock.who  # a user of GitLab, no host
        return replace(lock, who=who, operation="", info="", version="", path="")

    async def _unlock(self, raw: bytes, lock_id: str) -> Reply:
        del raw
        query = urllib.parse.urlencode({"ID": lock_id})
        return await self.line.send("DELETE", f"{self.state.url}/lock?{query}", limit=1 << 20)

    async def _is_free(self) -> bool:
        """Say whether GraphQL knows that nobody holds; False also when it cannot be asked (a job token may not)."""
        if self.state.project.isdecimal():
            return False  # GraphQL wants the project's path
        body = json.dumps({"query": _QUERY, "variables": {"path": self.state.project, "name": self.state.name}})
        try:
            reply = await self.line.send("POST", f"{self.state.api.removesuffix('/v4')}/graphql", body.encode())
            state = _terraform_state(read_json(reply.body)) if reply.status == _OK else None
        except (InterlockError, ValueError):
            return False
        return state is not None and state.get("lockedAt") is None


def _terraform_state(answer: Any) -> Mapping[str, Any] | None:
    data = answer.get("data") if isinstance(answer, dict) else None
    project = data.get("project") if isinstance(data, dict) else None
    state = project.get("terraformState") if isinstance(project, dict) else None
    return state if isinstance(state, dict) else None


def _serial_of(body: bytes) -> int:
    """Return the serial under which GitLab stored a state; it took it from the document."""
    try:
        return parse_state(body).serial
    except InterlockError:
        return 0
