"""HCP Terraform and Terraform Enterprise: a workspace's lock and its state versions. A hand.

The workspace is locked by a run of the platform, a user or a team. A run's lock is the platform's own: it knows whether
that run still works, and that is asked too. Nothing is conditional: a lock is compared just before it is forced open.
Source: HCP Terraform API: workspaces, runs, state versions.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.bounded import read_json
from interlock.ci.platforms.api import Api
from interlock.errors import PROGRAM, THIS_STATE, BackendUnavailable, InterlockError, LockHeld, UsageError, command
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.terraform_lock import held_by
from interlock.state import AnyDocument, parse_state
from interlock.terraform.lockinfo import LockInfo, render_lock_info

HISTORY_MAX = 100
"""State versions that are listed; one page of the API."""

OVER = frozenset(
    {"applied", "planned_and_finished", "errored", "canceled", "force_canceled", "discarded", "policy_soft_failed"}
)
"""States of a run that will never act again."""

_PUBLIC = "app.terraform.io"
_HOST = re.compile(r'^\s*host\s+"([^"]+)"\s*\{\s*services\s*=\s*\{(.*?)\}', re.MULTILINE | re.DOTALL)
_SERVICE = re.compile(r'"tfe\.v2"\s*=\s*"([^"]+)"')
_CREDENTIALS = Path(".terraform.d") / "credentials.tfrc.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TfePlace:
    """One workspace.

    Attributes:
        hostname: Of the platform.
        organization: Its organisation.
        workspace: Its name.
        token: A secret; None when none was found.
    """

    hostname: str
    organization: str
    workspace: str
    token: str | None = field(default=None, repr=False)


def place_of(found: Found) -> TfePlace:
    """Return the workspace that a found `cloud` block or `backend "remote"` names.

    Raises:
        UsageError: Organisation or workspace are not known.
    """
    organization, workspace = found.text("organization"), _workspace(found)
    if organization is None or workspace is None:
        missing = "organization" if organization is None else "workspace"
        raise UsageError(
            f"the configuration's {found.type} block is not complete",
            why=f"nothing names the {missing}",
            fix=f"set TF_CLOUD_ORGANIZATION and TF_WORKSPACE, or run {PROGRAM} init once",
        )
    hostname = found.text("hostname") or _PUBLIC
    return TfePlace(hostname=hostname, organization=organization, workspace=workspace, token=found.text("token"))


def _workspace(found: Found) -> str | None:
    prefix = found.text("workspaces.prefix")
    if prefix is not None and found.workspace != "default":
        return f"{prefix}{found.workspace}"
    named = found.text("workspaces.name")
    return named or (found.workspace if found.workspace != "default" else None)


def _search(found: Found) -> dict[str, str]:
    """Return how the platform is asked for the workspaces of a block that means several; empty when it means one."""
    if found.text("workspaces.name"):
        return {}
    if prefix := found.text("workspaces.prefix"):
        return {"search[name]": prefix}
    tags = found.settings.get("workspaces.tags")
    return {"search[tags]": ",".join(str(tag) for tag in tags)} if isinstance(tags, list | tuple) and tags else {}


def _has_state(row: Any) -> bool:
    related = row.get("relationships") if isinstance(row, dict) else None
    version = related.get("current-state-version") if isinstance(related, dict) else None
    return isinstance(version, dict) and version.get("data") is not None


def shown_address(found: Found) -> str:
    """Return where the state is.

    Raises:
        UsageError: Organisation or workspace are not known.
    """
    place = place_of(found)
    return f"{place.hostname}/{place.organization}/{place.workspace}"


def find_token(hostname: str, environ: Mapping[str, str], home: Path) -> str | None:
    """Return the platform's token as Terraform finds it: TF_TOKEN_<host>, or what `terraform login` stored."""
    name = f"TF_TOKEN_{hostname.replace('-', '__').replace('.', '_')}"
    if environ.get(name):
        return environ[name]
    try:
        stored = read_json((home / _CREDENTIALS).read_bytes())
        token = stored["credentials"][hostname]["token"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) and token else None


def find_service(hostname: str, environ: Mapping[str, str], home: Path) -> str:
    """Return the address of a platform's API: what the user's CLI configuration says for that host, else the usual one.

    Terraform has `host "NAME" { services = { "tfe.v2" = URL } }` for a platform that is reached by another way.
    """
    path = Path(environ.get("TF_CLI_CONFIG_FILE") or home / ".terraformrc")
    try:
        text = path.read_text(errors="replace", encoding="utf-8")
    except OSError:
        text = ""
    for name, services in _HOST.findall(text):
        if name == hostname and (named := _SERVICE.search(services)):
            return named[1].rstrip("/")
    return f"https://{hostname}/api/v2"


def open_tfe(
    found: Found, *, environ: Mapping[str, str] | None = None, home: Path | None = None, base: str | None = None
) -> TfeBackend:
    """Return the backend; nothing is asked yet.

    Args:
        found: What discovery found.
        environ: Where the token may be; None for our own environment.
        home: The user's home, where `terraform login` stores tokens.
        base: Address of the API; None for the platform's.

    Raises:
        UsageError: Organisation, workspace or token are not known.
    """
    import os

    place = place_of(found)
    environ, home = os.environ if environ is None else environ, Path.home() if home is None else home
    token = place.token or find_token(place.hostname, environ, home)
    if token is None:
        raise UsageError(
            f"no token for {place.hostname}",
            why="neither the environment nor an earlier login has one",
            fix=f"{PROGRAM} login {place.hostname}",
        )
    api = Api(
        base=base or find_service(place.hostname, environ, home),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/vnd.api+json"},
        title=place.hostname,
        token_names="TF_TOKEN_… or an earlier login",  # noqa: S106 - names, no token
    )
    return TfeBackend(place, api, found=found)


class TfeBackend:
    """See `ExistingBackend`.

    Args:
        place: The workspace.
        api: The platform's API.
        found: What discovery found.
    """

    def __init__(self, place: TfePlace, api: Api, *, found: Found) -> None:
        self.place = place
        self._api = api
        self._found = found

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type=self._found.type,
            address=f"{self.place.hostname}/{self.place.organization}/{self.place.workspace}",
            workspace=self._found.workspace,
            locking=("tfe",),
            settings=self._found.origins,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`: those of the platform that the configuration means, without empty ones.

        A block that names one workspace means that alone; one with a prefix or with tags means all that have them.
        """
        asked = _search(self._found)
        if not asked:
            return (self._found.workspace,) if await self.read_state() is not None else ()
        query = {**asked, "page[size]": str(HISTORY_MAX)}
        found = await self._find(f"/organizations/{urllib.parse.quote(self.place.organization)}/workspaces", **query)
        rows = (found or {}).get("data") or []
        full = [row for row in rows if _has_state(row)]
        prefix = self._found.text("workspaces.prefix") or ""
        names = [str(_attributes(row).get("name") or "") for row in full]
        return tuple(sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix)))

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. The id is that of the run, user or team that locked the workspace."""
        workspace = await self._workspace()
        if not _attributes(workspace).get("locked"):
            return ()
        return (await self._lock(workspace),)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. Compares just before; needs the right to force the workspace open."""
        workspace = await self._workspace()
        current = (await self._lock(workspace)) if _attributes(workspace).get("locked") else None
        if current is None or (current.id, current.info) != (lock.id, lock.info):
            now = f"{current.id} holds it now" if current else "it is not locked now"
            raise TerraformLockMoved(
                f"lock {lock.id} is not there any more", why=now, fix=command("lock", "show", THIS_STATE)
            )
        with suppress(InterlockError):  # who locked it may unlock it, without the right to force anything
            await self._send("POST", f"/workspaces/{workspace['id']}/actions/unlock", {})
            return
        await self._send("POST", f"/workspaces/{workspace['id']}/actions/force-unlock", {})

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        workspace = await self._workspace()
        found = await self._find(f"/workspaces/{workspace['id']}/current-state-version")
        if found is None:
            return None
        version = found["data"]
        body = await self._download(version)
        return StoredState(
            body=body,
            version_id=str(version["id"]),
            modified_at=_instant(_attributes(version).get("created-at")),
            condition=str(version["id"]),
        )

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. The platform itself wants a serial that rises and the same lineage."""
        current = await self.read_state()
        if (current.condition if current else "") != (expected.condition if expected else ""):
            raise TerraformLockMoved(
                f"{self.describe().address} changed while it was to be written",
                why="there is a newer state version",
                fix=f"{command('state', 'diff', THIS_STATE)}, then try again",
            )
        document = parse_state(body)
        workspace = await self._workspace()
        attributes: dict[str, Any] = {
            "serial": document.serial,
            "lineage": document.lineage,
            "md5": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            "state": base64.b64encode(body).decode(),
        }
        if current is not None and (before := _parsed(current.body)) is not None:
            # what a person insists on: the platform itself takes a higher serial of the same lineage alone
            is_odd = document.serial <= before.serial or document.lineage != before.lineage
            attributes |= {"force": True} if is_odd else {}
        data = {"data": {"type": "state-versions", "attributes": attributes}}
        await self._send("POST", f"/workspaces/{workspace['id']}/state-versions", data)
        stored = await self.read_state()
        assert stored is not None
        return stored

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`. At most `HISTORY_MAX`."""
        query = {
            "filter[workspace][name]": self.place.workspace,
            "filter[organization][name]": self.place.organization,
            "page[size]": str(HISTORY_MAX),
        }
        found = await self._find("/state-versions", **query)
        rows = (found or {}).get("data") or []
        return tuple(
            StateVersion(
                id=str(row["id"]),
                modified_at=_instant(_attributes(row).get("created-at")),
                size=int(_attributes(row).get("size") or 0),
                current=position == 0,
            )
            for position, row in enumerate(rows)
        )

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        found = await self._find(f"/state-versions/{urllib.parse.quote(version_id, safe='')}")
        if found is None:
            raise UsageError(f"there is no state version {version_id}", fix=command("state", "history", THIS_STATE))
        return await self._download(found["data"])

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`. There is none."""
        return expected

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. The platform locks for our token's user, with our words as the reason."""
        workspace = await self._workspace()
        self._check_local(workspace)
        reason = info.info or f"{info.operation} by {info.who}{f': {info.path}' if info.path else ''}"
        try:
            await self._send("POST", f"/workspaces/{workspace['id']}/actions/lock", {"reason": reason})
        except InterlockError as error:
            again = await self._workspace()
            if not _attributes(again).get("locked"):
                raise
            raise held_by(await self._lock(again), self.describe().address) from error
        lock = await self._lock(await self._workspace())
        raw = render_lock_info(info)
        own = TerraformLock(id=lock.id, info=lock.info, mechanism="tfe", place=lock.place, who=info.who, raw=raw)
        return HeldTerraformLock(info=info, locks=(own,))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`. The platform refuses when the lock is not our user's any more.

        Raises:
            TerraformLockMoved: It is our user's again, for something else: the reason is another.
        """
        workspace = await self._workspace()
        attributes = _attributes(workspace)
        if held.locks and attributes.get("locked"):
            reason = attributes.get("locked-reason")
            if reason and held.info.info and reason != held.info.info:
                raise TerraformLockMoved(
                    "our own lock is not ours any more", why=f"the workspace is locked for: {reason}", fix="look again"
                )
            await self._send("POST", f"/workspaces/{workspace['id']}/actions/unlock", {})

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. A write names no lock."""

    async def close(self) -> None:
        """See `ExistingBackend.close`. Nothing is kept open."""

    def _check_local(self, workspace: Any) -> None:
        """Refuse a workspace whose runs are the platform's own: Terraform here would only watch them.

        Raises:
            UsageError: It is one.
        """
        mode = _attributes(workspace).get("execution-mode") or "local"
        if mode != "local":
            raise UsageError(
                f"{self.describe().address} runs Terraform itself (execution mode {mode})",
                why="Interlock supervises a Terraform on this machine",
                fix="set the workspace's execution mode to Local, or let the platform queue its runs",
            )

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _workspace(self) -> Any:
        quote = urllib.parse.quote
        path = f"/organizations/{quote(self.place.organization)}/workspaces/{quote(self.place.workspace)}"
        found = await self._find(path)
        if found is None:
            raise UsageError(
                f"{self.describe().address} does not exist",
                why="or the token may not see it",
                fix=f"{PROGRAM} login {self.place.hostname}",
            )
        return found["data"]

    async def _lock(self, workspace: Any) -> TerraformLock:
        holder = ((workspace.get("relationships") or {}).get("locked-by") or {}).get("data") or {}
        kind, identity = str(holder.get("type") or "unknown"), str(holder.get("id") or "")
        status, at = await self._run(identity) if kind == "runs" else ("", "")
        return TerraformLock(
            id=identity or f"locked-{workspace['id']}",
            operation=f"run, {status}" if status else f"locked by {kind.removesuffix('s')}",
            info=f"https://{self.place.hostname}/app/{self.place.organization}/{self.place.workspace}/runs/{identity}"
            if kind == "runs"
            else str(_attributes(workspace).get("locked-reason") or ""),
            who=f"{identity}@" if kind != "runs" else "",
            created=at,
            created_at=_instant(at),
            path=self.place.workspace,
            mechanism="tfe",
            place=f"workspace {self.describe().address}",
            raw=json.dumps(holder, sort_keys=True).encode(),
            condition=f"run {status}" if status else "",
        )

    async def _run(self, identity: str) -> tuple[str, str]:
        """Return a run's status and when it was made; empty when it cannot be seen."""
        found = await self._find(f"/runs/{urllib.parse.quote(identity, safe='')}")
        attributes = _attributes((found or {}).get("data") or {})
        return str(attributes.get("status") or ""), str(attributes.get("created-at") or "")

    async def _download(self, version: Any) -> bytes:
        url = str(_attributes(version).get("hosted-state-download-url") or "")
        # An archive on another host is reached by a signed URL; the token is not for it.
        body = await asyncio.to_thread(self._api.download, url)
        if body is None:
            raise BackendUnavailable("a state version cannot be downloaded", why="it is not there", fix="try again")
        return body

    async def _find(self, path: str, **query: str) -> Any | None:
        found = await asyncio.to_thread(lambda: self._api.find(path, **query))
        if found is not None and not isinstance(found, dict):
            raise BackendUnavailable(f"{self._api.title} answered {path} with something else", fix="try again")
        return found

    async def _send(self, method: str, path: str, body: object) -> None:
        try:
            await asyncio.to_thread(lambda: self._api.send(method, path, body))
        except BackendUnavailable as error:
            if "409" in error.why:
                raise LockHeld(
                    f"{self.describe().address} did not accept it",
                    why=error.why,
                    fix=command("lock", "explain", THIS_STATE),
                ) from error
            raise


def _parsed(body: bytes) -> AnyDocument | None:
    try:
        return parse_state(body)
    except InterlockError:
        return None


def _attributes(entry: Any) -> Mapping[str, Any]:
    found = entry.get("attributes") if isinstance(entry, dict) else None
    return found if isinstance(found, dict) else {}


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
