"""Terraform's `backend "azurerm"`: a blob a workspace, locked by an endless lease of that very blob. A hand.

A write of a leased blob must name the lease. Who holds is in the blob's metadata `terraformlockid`, as base64; a lease
without it locks all the same. The lease's id is the lock's.
Source: docs/facts/terraform-backends.md#backend-1; Terraform's azurerm backend, version 1.11; the REST
reference of Azure Storage: "Lease Blob", "Put Blob", "Set Blob Metadata".
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import THIS_STATE, UsageError, command
from interlock.existing.azure_login import AzureLogin
from interlock.existing.http import Reply
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
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

RECORDS = ".interlock/records/"
"""Before the names of our own blobs, where no state of Terraform is."""

_NAME = re.compile(r"<Blob>.*?<Name>(.*?)</Name>", re.DOTALL)
_MARKER = re.compile(r"<NextMarker>(.+?)</NextMarker>")
_META = "x-ms-meta-terraformlockid"
_ABSENT = frozenset({404})
_REFUSED = frozenset({409, 412})
_SUFFIXES = {"public": "core.windows.net", "usgovernment": "core.usgovcloudapi.net", "china": "core.chinacloudapi.cn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AzurePlace:
    """Where a state is.

    Attributes:
        account: Name of the storage account.
        container: The container.
        name: The blob.
        endpoint: Base URL of the account's blobs, with a slash at the end.
    """

    account: str
    container: str
    name: str
    endpoint: str


def place_of(found: Found) -> AzurePlace:
    """Return where a found `backend "azurerm"` keeps its state.

    Raises:
        UsageError: A setting is missing.
    """
    named = {name: found.text(name) for name in ("storage_account_name", "container_name", "key")}
    missing = [name for name, value in named.items() if value is None]
    if missing:
        raise UsageError(
            f'the configuration\'s backend "azurerm" is not complete: nothing gives {" or ".join(missing)}',
            fix=f"name it, or give -backend-config={missing[0]}=…",
        )
    key = str(named["key"])
    name = key if found.workspace == "default" else f"{key}env:{found.workspace}"
    suffix = _SUFFIXES.get((found.text("environment") or "public").lower(), _SUFFIXES["public"])
    usual = f"https://{named['storage_account_name']}.blob.{suffix}/"
    return AzurePlace(
        account=str(named["storage_account_name"]),
        container=str(named["container_name"]),
        name=name,
        endpoint=(found.text("blob_endpoint") or usual).rstrip("/") + "/",
    )


def shown_address(found: Found) -> str:
    """Return where the state is.

    Raises:
        UsageError: See `place_of`.
    """
    place = place_of(found)
    return f"azurerm://{place.account}/{place.container}/{place.name}"


def open_azurerm(found: Found, *, clock: Clock) -> AzureBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: See `place_of`.
    """
    place = place_of(found)
    return AzureBackend(place, found=found, login=AzureLogin(found, account=place.account, clock=clock), clock=clock)


class AzureBackend(OnlyCurrent):
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found.
        login: Who we are.
        clock: For pauses.
    """

    def __init__(self, place: AzurePlace, *, found: Found, login: AzureLogin, clock: Clock) -> None:
        self.place = place
        self._found = found
        self._lease = ""
        service = Service(
            title=f"storage account {place.account}", login="az login, or set ARM_ACCESS_KEY", sign=login.sign
        )
        self.rest = Rest(service, clock)

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="azurerm",
            address=f"azurerm://{self.place.account}/{self.place.container}/{self.place.name}",
            workspace=self._found.workspace,
            locking=("azurerm",),
            settings=self._found.origins,
            lock_path=f"{self.place.container}/{self.place.name}",
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`. An empty blob, which a lock made, is no state."""
        key = str(self._found.text("key"))
        spaces = {key: "default"}
        listed = [name for name in await self.list_blobs(key) if name == key or name.startswith(f"{key}env:")]
        spaces |= {name: name.removeprefix(f"{key}env:") for name in listed if name != key}
        return tuple(sorted(spaces[name] for name in listed))

    async def list_blobs(self, prefix: str) -> list[str]:
        """Return the names of the container's blobs that begin with a text, page by page."""
        names: list[str] = []
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix}
            query |= {"marker": marker} if marker else {}
            text = (await self.rest.send("GET", f"{self.blob_url()}?{urllib.parse.urlencode(query)}")).body.decode()
            names += [html.unescape(name) for name in _NAME.findall(text)]
            found = _MARKER.search(text)
            marker = html.unescape(found[1]) if found else ""
            if not marker:
                return names

    # -- locks ------------------------------------------------------------------------------------------------------

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`."""
        blob = await self._properties()
        if blob is None or blob.headers.get("x-ms-lease-status") != "locked":
            return ()
        return (self._lock(_decoded(blob.headers.get(_META, ""))),)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. Gives back that very lease; one that nobody named is broken."""
        if not lock.id:
            await self._leased("break", {"x-ms-lease-break-period": "0"}, answers=_REFUSED)
            return
        if not await self._give(lock.id):
            now = await self.read_locks()
            raise TerraformLockMoved(
                f"lock {lock.id} is not there any more",
                why=f"{now[0].who or 'somebody'} holds it now" if now else "nobody holds it now",
                fix=command("lock", "show", THIS_STATE),
            )

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. A blob that is not there is made, empty, as Terraform makes it."""
        info = replace(info, id=_lease_of(info.id))
        if await self._properties() is None:
            await self._put(b"", {"If-None-Match": "*"}, answers=_REFUSED)
        asked = {"x-ms-lease-duration": "-1", "x-ms-proposed-lease-id": info.id}
        reply = await self._leased("acquire", asked, answers=_REFUSED)
        if reply.status in _REFUSED:
            there = await self.read_locks()
            unknown = TerraformLock(id="", mechanism="azurerm", place=self.describe().address)
            raise held_by(there[0] if there else unknown, self.describe().address)
        raw = render_lock_info(info)
        self._lease = info.id
        await self._set_metadata(info.id, {_META: base64.b64encode(raw).decode()})
        return HeldTerraformLock(info=info, locks=(self._lock(raw),))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        self._lease = ""
        for lock in held.locks:
            if not await self._give(lock.id) and (now := await self.read_locks()):
                raise TerraformLockMoved(
                    "our own lease is not there any more",
                    why=f"{now[0].who or 'somebody'} holds it now",
                    fix=command("lock", "show", THIS_STATE),
                )

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`."""
        self._lease = lock.id

    async def _give(self, lease: str) -> bool:
        """Take our words off the blob and give the lease back; False when it is not this lease."""
        if (await self._set_metadata(lease, {}, answers=_REFUSED | _ABSENT)).status in _REFUSED | _ABSENT:
            return False
        reply = await self._leased("release", {"x-ms-lease-id": lease}, answers=_REFUSED | _ABSENT)
        return reply.status not in _REFUSED

    def _lock(self, raw: bytes) -> TerraformLock:
        return foreign_lock(raw, mechanism="azurerm", place=f"lease of {self.describe().address}")

    # -- state ------------------------------------------------------------------------------------------------------

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`. An empty blob, which a lock made, is no state."""
        reply = await self.rest.send("GET", self._url(), answers=_ABSENT)
        if reply.status in _ABSENT or not reply.body:
            return None
        return StoredState(body=reply.body, modified_at=reply.modified_at, condition=reply.headers.get("etag", ""))

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. On condition of the lease and of what was read."""
        blob = await self._properties()
        etag = blob.headers.get("etag", "") if blob is not None else ""
        current = await self.read_state()
        if (current.body if current else None) != (expected.body if expected else None):
            raise self._moved("changed while it was to be written")
        condition = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        if blob is not None and (meta := blob.headers.get(_META)):
            condition[_META] = meta  # a write without it would take the holder's name off the lock
        await self._put(body, condition, answers=_REFUSED)
        stored = await self.read_state()
        if stored is None or stored.body != body:
            raise self._moved("does not hold what was written")
        return stored

    def _moved(self, what: str) -> TerraformLockMoved:
        return TerraformLockMoved(
            f"{self.describe().address} {what}",
            why="somebody else wrote or locked it",
            fix=f"{command('state', 'history', THIS_STATE)}, then try again",
        )

    # -- requests ---------------------------------------------------------------------------------------------------

    def _url(self, operation: str = "") -> str:
        return self.blob_url(self.place.name) + (f"?comp={operation}" if operation else "")

    def blob_url(self, name: str = "") -> str:
        """Return the address of a blob of the container, or of the container itself."""
        container = f"{self.place.endpoint}{urllib.parse.quote(self.place.container)}"
        return f"{container}/{urllib.parse.quote(name, safe='/')}" if name else container

    async def _properties(self) -> Reply | None:
        reply = await self.rest.send("HEAD", self._url(), answers=_ABSENT)
        return None if reply.status in _ABSENT else reply

    async def _put(self, body: bytes, headers: Mapping[str, str], *, answers: frozenset[int]) -> Reply:
        named = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/json", **headers}
        if self._lease:
            named["x-ms-lease-id"] = self._lease
        return await self.rest.send("PUT", self._url(), body, headers=named, answers=answers)

    async def _leased(self, action: str, headers: Mapping[str, str], *, answers: frozenset[int]) -> Reply:
        named = {"x-ms-lease-action": action, **headers}
        return await self.rest.send("PUT", self._url("lease"), b"", headers=named, answers=answers)

    async def _set_metadata(
        self, lease: str, meta: Mapping[str, str], *, answers: frozenset[int] = frozenset()
    ) -> Reply:
        named = {"x-ms-lease-id": lease, **meta}
        return await self.rest.send("PUT", self._url("metadata"), b"", headers=named, answers=answers)


class AzureRecords(ConditionalRecords):
    """Records beside the states of a container, under `.interlock/records/`, written on condition of the ETag.

    Args:
        backend: A state in the container; its way there is used.
        polling: How often to look for a change.
        clock: For pauses.
        ids: For chance.
    """

    def __init__(self, backend: AzureBackend, *, polling: Pace, clock: Clock, ids: Ids) -> None:
        super().__init__(
            title=f"container {backend.place.container}", polling=polling, clock=clock, draw=draw_from(ids)
        )
        self._backend = backend

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        reply = await self._backend.rest.send("GET", self._url_of(key), answers=_ABSENT)
        return None if reply.status in _ABSENT else (reply.body, reply.headers.get("etag", ""))

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        named = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        named |= {"If-Match": mark} if mark is not None else {"If-None-Match": "*"}
        url, answers = self._url_of(key), _REFUSED | _ABSENT
        reply = await self._backend.rest.send("PUT", url, body, headers=named, answers=answers)
        return None if reply.status in answers else reply.headers.get("etag", "")

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        names = [_key_of(name) for name in await self._backend.list_blobs(_named(prefix))]
        return [name for name in sorted(names) if name > after][:limit]

    def _where(self, key: str) -> str:
        return self._url_of(key)

    def _url_of(self, key: str) -> str:
        return self._backend.blob_url(_named(key))


def _named(key: str) -> str:
    """Return the blob's name: Azure takes some characters for others, and lists some names in a spelling of its own."""
    return RECORDS + urllib.parse.quote(key, safe="/")


def _key_of(name: str) -> str:
    return urllib.parse.unquote(name.removeprefix(RECORDS))


def _lease_of(lock_id: str) -> str:
    """Return the id of a lease, which is a GUID: the lock's own id when it is one, else one made from it."""
    try:
        return str(uuid.UUID(lock_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"interlock:lease:{lock_id}"))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()
