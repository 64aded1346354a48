"""Terraform's `backend "gcs"`: an object a workspace, locked by a second object that is made only if absent. A hand.

A lock is deleted, and a state is replaced, on condition of the object's generation; the generation of the lock object
is what Terraform calls the lock's id. Nothing of Terraform's own writes names the lock, so one that we hold lets it
write.
Source: docs/facts/terraform-backends.md#backend-1; Terraform's gcs backend, version 1.11; Cloud Storage's JSON API.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import PROGRAM, THIS_STATE, BackendUnavailable, UsageError, command
from interlock.existing.google_login import GoogleLogin
from interlock.existing.http import Reply
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.only_current import OnlyCurrent
from interlock.existing.rest import Rest, Service
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.ids import Ids, draw_from
from interlock.store.conditional import ConditionalRecords
from interlock.store.polling import Pace
from interlock.terraform.lockinfo import LockInfo, render_lock_info

HISTORY_MAX = 100
_LISTED = 1000  # objects of one page, among which workspaces are looked for
_ENDPOINT = "https://storage.googleapis.com/storage/v1/"
_ABSENT = frozenset({404})
_NOT_MET = frozenset({404, 412})
_STATE, _LOCK = ".tfstate", ".tflock"
RECORDS = ".interlock/records/"
"""Before the names of our own objects, where no state of Terraform is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsPlace:
    """Where a state is.

    Attributes:
        bucket: The bucket.
        name: The state's object without its ending.
        endpoint: Base URL of the JSON API, with a slash at the end.
    """

    bucket: str
    name: str
    endpoint: str = _ENDPOINT


def place_of(found: Found) -> GcsPlace:
    """Return where a found `backend "gcs"` keeps its state.

    Raises:
        UsageError: The bucket is missing, or objects are encrypted with a key of the user's, which we do not send.
    """
    bucket = found.text("bucket")
    if bucket is None:
        raise UsageError(
            'the configuration\'s backend "gcs" names no bucket', fix="name it, or give -backend-config=bucket=…"
        )
    if found.text("encryption_key") is not None:
        raise UsageError(
            "states in Cloud Storage that are encrypted with a key of your own cannot be read here",
            why="encryption_key is set; kms_encryption_key can be used",
            fix=f"{PROGRAM} state pull",
        )
    name = "/".join(part for part in ((found.text("prefix") or "").strip("/"), found.workspace) if part)
    endpoint = found.text("storage_custom_endpoint") or _ENDPOINT
    return GcsPlace(bucket=bucket, name=name, endpoint=endpoint.rstrip("/") + "/")


def shown_address(found: Found) -> str:
    """Return where the state is.

    Raises:
        UsageError: See `place_of`.
    """
    place = place_of(found)
    return f"gs://{place.bucket}/{place.name}{_STATE}"


def open_gcs(found: Found, *, clock: Clock, login: GoogleLogin | None = None) -> GcsBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: See `place_of`.
    """
    return GcsBackend(place_of(found), found=found, login=login or GoogleLogin(found, clock), clock=clock)


class GcsBackend(OnlyCurrent):
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found.
        login: Who we are.
        clock: For pauses.
    """

    def __init__(self, place: GcsPlace, *, found: Found, login: GoogleLogin, clock: Clock) -> None:
        self.place = place
        self._found = found
        service = Service(
            title=f"bucket {place.bucket} of Cloud Storage",
            login="gcloud auth application-default login",
            sign=login.sign,
        )
        self.rest = Rest(service, clock)

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="gcs",
            address=f"gs://{self.place.bucket}/{self.place.name}{_STATE}",
            workspace=self._found.workspace,
            locking=("gcs",),
            settings=self._found.origins,
            lock_path=f"gs://{self.place.bucket}/{self.place.name}{_LOCK}",
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`."""
        folder = self.place.name.removesuffix(self._found.workspace)
        items = await self.list_objects({"prefix": folder, "maxResults": str(_LISTED)})
        names = [str(item.get("name", "")).removeprefix(folder) for item in items]
        return tuple(sorted(name.removesuffix(_STATE) for name in names if name.endswith(_STATE) and "/" not in name))

    # -- locks ------------------------------------------------------------------------------------------------------

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`."""
        found = await self._read(_LOCK)
        return () if found is None else (self._lock(found.body, _generation(found)),)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. On condition of the generation."""
        reply = await self.rest.send("DELETE", self._url(_LOCK, ifGenerationMatch=lock.id), answers=_NOT_MET)
        if reply.status not in _NOT_MET:
            return
        now = await self.read_locks()
        if not now and reply.status in _ABSENT:
            return  # the answer to an earlier attempt was lost, or somebody else deleted it
        raise TerraformLockMoved(
            f"lock {lock.id} is not there any more",
            why=f"{now[0].who or 'somebody'} holds it now" if now else "nobody holds it now",
            fix=command("lock", "show", THIS_STATE),
        )

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`."""
        raw = render_lock_info(info)
        reply = await self._put(_LOCK, raw, generation="0")
        generation = str(_json(reply).get("generation", "")) if reply.status not in _NOT_MET else ""
        if not generation:
            there = await self.read_locks()
            if not there or there[0].raw != raw:  # else it is ours: the answer to an earlier attempt was lost
                unknown = TerraformLock(id="", mechanism="gcs", place=self.describe().lock_path)
                raise held_by(there[0] if there else unknown, self.describe().address)
            generation = there[0].id
        return HeldTerraformLock(info=info, locks=(self._lock(raw, generation),))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        for lock in held.locks:
            await self.delete_lock(lock)

    def _lock(self, raw: bytes, generation: str) -> TerraformLock:
        return replace(foreign_lock(raw, mechanism="gcs", place=self.describe().lock_path), id=generation)

    # -- state ------------------------------------------------------------------------------------------------------

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        found = await self._read(_STATE)
        if found is None or not found.body:
            return None
        generation = _generation(found)
        return StoredState(body=found.body, version_id=generation, modified_at=found.modified_at, condition=generation)

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. On condition of the generation."""
        generation = expected.condition if expected is not None else "0"
        reply = await self._put(_STATE, body, generation=generation)
        stored = await self.read_state()
        if stored is None or stored.body != body:
            raise TerraformLockMoved(
                f"{self.describe().address} changed while it was to be written"
                if reply.status in _NOT_MET
                else f"{self.describe().address} does not hold what was written",
                why="somebody else wrote it",
                fix=f"{command('state', 'history', THIS_STATE)}, then try again",
            )
        return stored

    async def list_objects(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Return one page of the bucket's objects."""
        url = f"{self.place.endpoint}b/{_quoted(self.place.bucket)}/o?{urllib.parse.urlencode(query)}"
        found = _json(await self.rest.send("GET", url)).get("items")
        return found if isinstance(found, list) else []

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`. Of a bucket without versioning the current one alone."""
        query = {"versions": "true", "prefix": f"{self.place.name}{_STATE}", "maxResults": str(HISTORY_MAX * 2)}
        items = await self.list_objects(query)
        rows = [item for item in items if item.get("name") == f"{self.place.name}{_STATE}"]
        rows.sort(key=lambda item: int(item["generation"]), reverse=True)
        return tuple(
            StateVersion(
                id=str(item["generation"]),
                modified_at=datetime.fromisoformat(item["timeCreated"]) if "timeCreated" in item else None,
                size=int(item.get("size", 0)),
                current="timeDeleted" not in item,
            )
            for item in rows[:HISTORY_MAX]
        )

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        found = await self._read(_STATE, generation=version_id) if version_id.isdecimal() else None
        if found is None:
            raise UsageError(
                f"{self.describe().address} has no version {version_id}", fix=command("state", "history", THIS_STATE)
            )
        return found.body

    # -- objects ----------------------------------------------------------------------------------------------------

    def _url(self, ending: str, **query: str) -> str:
        return self._object_url(f"{self.place.name}{ending}", **query)

    def _object_url(self, name: str, **query: str) -> str:
        url = f"{self.place.endpoint}b/{_quoted(self.place.bucket)}/o/{_quoted(name)}"
        return f"{url}?{urllib.parse.urlencode(query)}"

    async def _read(self, ending: str, **query: str) -> Reply | None:
        return await self.read_object(f"{self.place.name}{ending}", **query)

    async def read_object(self, name: str, **query: str) -> Reply | None:
        """Return an object of the bucket; None when there is none."""
        reply = await self.rest.send("GET", self._object_url(name, alt="media", **query), answers=_ABSENT)
        return None if reply.status in _ABSENT else reply

    async def _put(self, ending: str, body: bytes, *, generation: str) -> Reply:
        return await self.put_object(f"{self.place.name}{ending}", body, generation=generation)

    async def put_object(self, name: str, body: bytes, *, generation: str) -> Reply:
        """Write an object in the place of that generation, `0` for none; the answer is 404 or 412 when it is not so."""
        query = {"uploadType": "media", "name": name, "ifGenerationMatch": generation}
        if (key := self._found.text("kms_encryption_key")) is not None:
            query["kmsKeyName"] = key
        root = urllib.parse.urljoin(self.place.endpoint, f"/upload/storage/v1/b/{_quoted(self.place.bucket)}/o")
        return await self.rest.send("POST", f"{root}?{urllib.parse.urlencode(query)}", body, answers=_NOT_MET)


class GcsRecords(ConditionalRecords):
    """Records beside the states of a bucket, under `.interlock/records/`, written on condition of the generation.

    Args:
        backend: A state in the bucket; its way there is used.
        polling: How often to look for a change.
        clock: For pauses.
        ids: For chance.
    """

    def __init__(self, backend: GcsBackend, *, polling: Pace, clock: Clock, ids: Ids) -> None:
        super().__init__(title=f"bucket {backend.place.bucket}", polling=polling, clock=clock, draw=draw_from(ids))
        self._backend = backend

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        found = await self._backend.read_object(RECORDS + key)
        return None if found is None else (found.body, _generation(found))

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        reply = await self._backend.put_object(RECORDS + key, body, generation=mark or "0")
        return None if reply.status in _NOT_MET else str(_json(reply).get("generation", ""))

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        start = {"startOffset": f"{RECORDS}{after}"} if after else {}
        query = {"prefix": f"{RECORDS}{prefix}", "maxResults": str(limit + 1), **start}
        names = [str(item["name"]).removeprefix(RECORDS) for item in await self._backend.list_objects(query)]
        return [name for name in names if name > after][:limit]

    def _where(self, key: str) -> str:
        return f"gs://{self._backend.place.bucket}/{RECORDS}{key}"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _generation(reply: Reply) -> str:
    found = reply.headers.get("x-goog-generation", "")
    if not found.isdecimal():
        raise BackendUnavailable(
            "Cloud Storage did not say which generation an object has", fix="check storage_custom_endpoint"
        )
    return found


def _json(reply: Reply) -> Mapping[str, Any]:
    try:
        found = read_json(reply.body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
