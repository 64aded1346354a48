"""Terraform's `backend "kubernetes"`: a Secret a workspace, locked by the holder identity of a Lease. A hand.

Both are written on condition of their `resourceVersion`. A lock stays until somebody takes the identity off the Lease,
which itself stays. A packed state of more than 1 MiB goes on in further Secrets, as with Terraform 1.6 and later;
OpenTofu and older Terraforms read the first one alone. They are not written at once, so a writer that is killed between
two of them leaves a state that cannot be read. The first one is written first: whoever loses a race has then changed
nothing.
Source: docs/facts/terraform-backends.md#backend-6; internal/backend/remote-state/kubernetes of Terraform 1.11.4 and
1.15.9; the Kubernetes API, version 1.35.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import THIS_STATE, BackendUnavailable, UsageError, command
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
)
from interlock.existing.kubeconfig import Cluster
from interlock.existing.kubernetes_login import KubernetesLogin, cluster_of
from interlock.existing.only_current import OnlyCurrent
from interlock.existing.packed import pack, unpack
from interlock.existing.rest import Rest, Service
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.ids import Ids, draw_from
from interlock.store.conditional import ConditionalRecords
from interlock.store.polling import Pace
from interlock.terraform.lockinfo import LockInfo, render_lock_info

_PIECE_BYTES = 1024 * 1024  # as Terraform cuts packed states; a Secret has a limit of 1 MiB with all that is in it
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_ABSENT = frozenset({404})
_CONFLICT = frozenset({409})
_DATA = "tfstate"
_SAID = "app.terraform.io/lock-info"
_MARKS = {"app.kubernetes.io/managed-by": "interlock", "interlock-record": "true"}
_PAGE = 500
_GIVE_ATTEMPTS = 5  # each is lost only against another write of the same Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesPlace:
    """Where a state is.

    Attributes:
        server: URL of the API, without a slash at the end.
        namespace: Of the Secrets and the Lease.
        suffix: What the configuration calls the state.
        workspace: Terraform's.
        labels: Those that Terraform looks for and that it gives.
    """

    server: str
    namespace: str
    suffix: str
    workspace: str
    labels: Mapping[str, str]

    @property
    def secret(self) -> str:
        """The name of the Secret, of a large state the first one."""
        return f"tfstate-{self.workspace}-{self.suffix}"

    @property
    def lease(self) -> str:
        """The name of the Lease."""
        return f"lock-{self.secret}"

    @property
    def address(self) -> str:
        """For people, and as the name of the state."""
        parts = urllib.parse.urlsplit(self.server)
        return f"kubernetes://{parts.netloc}{parts.path}/{self.namespace}/{self.secret}"

    def part(self, number: int) -> str:
        """Return the name of a Secret of a large state, counted from 0."""
        return f"{self.secret}-part-{number}" if number else self.secret


def place_of(found: Found) -> KubernetesPlace:
    """Return where a found `backend "kubernetes"` keeps its state.

    Raises:
        UsageError: There is no suffix, or none that a Secret can be named by; or the cluster is not known.
    """
    return _place(found, cluster_of(found))


def _place(found: Found, cluster: Cluster) -> KubernetesPlace:
    suffix = found.text("secret_suffix")
    if suffix is None:
        raise UsageError(
            'the configuration\'s backend "kubernetes" names no secret_suffix',
            fix="name it, or give -backend-config=secret_suffix=…",
        )
    named = {"tfstate": "true", "tfstateSecretSuffix": suffix, "tfstateWorkspace": found.workspace}
    start = "labels."
    more = {name.removeprefix(start): str(each) for name, each in found.settings.items() if name.startswith(start)}
    place = KubernetesPlace(
        server=cluster.server,
        namespace=found.text("namespace") or "default",
        suffix=suffix,
        workspace=found.workspace,
        labels={**named, "app.kubernetes.io/managed-by": "terraform", **more},
    )
    if not _NAME.match(place.secret) or re.search(r"-[0-9]+\Z", suffix):
        raise UsageError(
            f"no Secret can be named {place.secret}",
            why="its name has lower-case letters, digits, - and . alone, and ends in no number, which counts parts",
            fix="choose another secret_suffix or workspace",
        )
    return place


def shown_address(found: Found) -> str:
    """Return where the state is.

    Raises:
        UsageError: See `place_of`.
    """
    return place_of(found).address


def open_kubernetes(found: Found, *, clock: Clock) -> KubernetesBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: See `place_of`.
    """
    cluster = cluster_of(found)
    return KubernetesBackend(_place(found, cluster), found=found, cluster=cluster, clock=clock)


class KubernetesBackend(OnlyCurrent):
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found.
        cluster: Who is asked.
        clock: For pauses.
    """

    def __init__(self, place: KubernetesPlace, *, found: Found, cluster: Cluster, clock: Clock) -> None:
        self.place = place
        self._found = found
        login = KubernetesLogin(cluster, found, clock)
        service = Service(
            title=f"namespace {place.namespace} of Kubernetes",
            login=f"kubectl auth can-i --list --namespace {place.namespace} shows the rights",
            sign=login.sign,
            context=login.context(),
            proxy=cluster.proxy,
        )
        self.rest = Rest(service, clock)

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="kubernetes",
            address=self.place.address,
            workspace=self._found.workspace,
            locking=("kubernetes",),
            settings=self._found.origins,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`."""
        wanted = {"tfstate": "true", "tfstateSecretSuffix": self.place.suffix}
        found = await self.list_secrets(wanted)
        return tuple(sorted({_labels(each).get("tfstateWorkspace", "") for each in found if _DATA in _data(each)}))

    # -- locks ------------------------------------------------------------------------------------------------------

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. The id is the holder identity, as `terraform force-unlock` wants it."""
        lease = await self._read(self._lease_url(self.place.lease))
        return () if lease is None else self._locks(lease)

    def _locks(self, lease: Mapping[str, Any]) -> tuple[TerraformLock, ...]:
        holder = _inside(lease, "spec").get("holderIdentity")
        if holder is None:
            return ()
        raw = str(_annotations(lease).get(_SAID, "")).encode()
        said = foreign_lock(raw, mechanism="kubernetes", place=self._shown_lease())
        if said.id != holder:  # what stands there is not the holder's
            said = TerraformLock(id=str(holder), mechanism="kubernetes", place=self._shown_lease(), raw=raw)
        return (replace(said, condition=_version(lease)),)

    def _shown_lease(self) -> str:
        return f"Lease {self.place.lease} in namespace {self.place.namespace}"

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. Takes that holder off the Lease, on condition of its version."""
        for _ in range(_GIVE_ATTEMPTS):
            lease = await self._read(self._lease_url(self.place.lease))
            now = self._locks(lease) if lease is not None else ()
            if lease is None or not now:
                return  # the answer to an earlier attempt was lost, or somebody else freed it
            if (now[0].id, now[0].raw) != (lock.id, lock.raw):
                break
            kept = {name: text for name, text in _annotations(lease).items() if name != _SAID}
            freed = _changed(lease, annotations=kept, spec={**_inside(lease, "spec"), "holderIdentity": None})
            if await self._replace(self._lease_url(self.place.lease), freed) is not None:
                return
        raise TerraformLockMoved(
            f"lock {lock.id} is not there any more",
            why=f"{now[0].who or 'somebody'} holds it now",
            fix=command("lock", "show", THIS_STATE),
        )

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. On condition of the Lease's version, or of there being none."""
        raw = render_lock_info(info)
        lease = await self._read(self._lease_url(self.place.lease))
        if lease is None:
            made = self._new_lease(info.id, raw)
            lease = await self._create(self._leases(), made) or await self._read(self._lease_url(self.place.lease))
        if lease is not None and not self._locks(lease):
            said = {**_annotations(lease), _SAID: raw.decode()}
            taken = _changed(lease, annotations=said, spec={**_inside(lease, "spec"), "holderIdentity": info.id})
            url = self._lease_url(self.place.lease)
            lease = await self._replace(url, taken) or await self._read(url)
        there = self._locks(lease) if lease is not None else ()
        if not there or (there[0].id, there[0].raw) != (info.id, raw):  # else it is ours, or an answer was lost
            unknown = TerraformLock(id="", mechanism="kubernetes", place=self._shown_lease())
            raise held_by(there[0] if there else unknown, self.place.address)
        return HeldTerraformLock(info=info, locks=there)

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        for lock in held.locks:
            await self.delete_lock(lock)

    def _new_lease(self, holder: str, raw: bytes) -> Mapping[str, Any]:
        said = {"name": self.place.lease, "labels": dict(self.place.labels), "annotations": {_SAID: raw.decode()}}
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        return {**kind, "metadata": said, "spec": {"holderIdentity": holder}}

    # -- state ------------------------------------------------------------------------------------------------------

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`. A Secret without data, which an `init` that broke off leaves, is none."""
        parts = await self._parts()
        if not parts or any(_DATA not in _data(part) for part in parts):
            return None
        packed = b"".join(_decoded(part, _DATA) for part in parts)
        try:
            body = unpack(packed)
        except ValueError:  # a write broke off between two Secrets; as it is, so that it can be found and replaced
            body = packed
        return StoredState(body=body, condition=_versions(parts), parts=len(parts))

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. On condition of each Secret's version, the first one first."""
        there = await self._parts()
        packed = pack(body)
        pieces = [packed[start : start + _PIECE_BYTES] for start in range(0, len(packed), _PIECE_BYTES)]
        is_as_read = _versions(there) == expected.condition if expected is not None else not _has_state(there)
        if is_as_read:
            for number, piece in enumerate(pieces):
                if not await self._write_part(number, piece, there[number] if number < len(there) else None):
                    break
            else:
                for number in range(len(pieces), len(there)):
                    await self._delete_part(there[number])
        stored = await self.read_state()
        if stored is None or stored.body != body:
            raise TerraformLockMoved(
                f"{self.place.address} changed while it was to be written"
                if not is_as_read
                else f"{self.place.address} does not hold what was written",
                why="somebody else wrote it",
                fix=f"{command('state', 'history', THIS_STATE)}, then try again",
            )
        return stored

    async def _parts(self) -> list[Mapping[str, Any]]:
        """Return the Secrets of the state in order; the API's own order has part 10 before part 2."""
        names = {_name(each): each for each in await self.list_secrets(self.place.labels)}
        found: list[Mapping[str, Any]] = []
        while (each := names.get(self.place.part(len(found)))) is not None:
            found.append(each)
        return found

    async def _write_part(self, number: int, piece: bytes, there: Mapping[str, Any] | None) -> bool:
        data = {_DATA: base64.b64encode(piece).decode()}
        if there is not None:
            url = self.secret_url(_name(there))
            return await self._replace(url, {**there, "data": {**_data(there), **data}}) is not None
        said = {"name": self.place.part(number), "labels": dict(self.place.labels), "annotations": {"encoding": "gzip"}}
        return await self.create_secret({"metadata": said, "data": data}) is not None

    async def _delete_part(self, part: Mapping[str, Any]) -> None:
        """Delete a Secret that a smaller state does not need, if nobody else changed it."""
        only = {"preconditions": {"resourceVersion": _version(part)}}
        with suppress(BackendUnavailable):  # what is read back says whether the state is whole
            url, body = self.secret_url(_name(part)), json.dumps(only).encode()
            await self.rest.send("DELETE", url, body, answers=_ABSENT | _CONFLICT)

    # -- objects ----------------------------------------------------------------------------------------------------

    def secret_url(self, name: str = "") -> str:
        """Return the address of a Secret, or of all."""
        return self._url("api/v1", "secrets", name)

    def _leases(self) -> str:
        return self._lease_url("")

    def _lease_url(self, name: str) -> str:
        return self._url("apis/coordination.k8s.io/v1", "leases", name)

    def _url(self, group: str, kind: str, name: str) -> str:
        space = urllib.parse.quote(self.place.namespace, safe="")
        base = f"{self.place.server}/{group}/namespaces/{space}/{kind}"
        return f"{base}/{urllib.parse.quote(name, safe='')}" if name else base

    async def list_secrets(self, labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Return the Secrets with these labels, page by page."""
        found: list[Mapping[str, Any]] = []
        query = {"labelSelector": ",".join(f"{name}={text}" for name, text in labels.items()), "limit": str(_PAGE)}
        while True:
            reply = await self.rest.send("GET", f"{self.secret_url()}?{urllib.parse.urlencode(query)}")
            page = _object(reply.body)
            items = page.get("items")
            found += items if isinstance(items, list) else []
            following = _inside(page, "metadata").get("continue")
            if not following:
                return found
            query["continue"] = str(following)

    async def read_secret(self, name: str) -> Mapping[str, Any] | None:
        """Return a Secret; None when there is none."""
        return await self._read(self.secret_url(name))

    async def create_secret(self, made: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Make a Secret; None when there is one of this name."""
        kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        return await self._create(self.secret_url(), {**kind, **made})

    async def replace_secret(self, changed: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Replace the Secret of this name and version; None when another one, or none, is there."""
        return await self._replace(self.secret_url(_name(changed)), changed)

    async def _read(self, url: str) -> Mapping[str, Any] | None:
        reply = await self.rest.send("GET", url, answers=_ABSENT)
        return None if reply.status in _ABSENT else _object(reply.body)

    async def _create(self, url: str, made: Mapping[str, Any]) -> Mapping[str, Any] | None:
        reply = await self.rest.send("POST", url, json.dumps(made).encode(), answers=_CONFLICT)
        return None if reply.status in _CONFLICT else _object(reply.body)

    async def _replace(self, url: str, changed: Mapping[str, Any]) -> Mapping[str, Any] | None:
        reply = await self.rest.send("PUT", url, json.dumps(changed).encode(), answers=_CONFLICT | _ABSENT)
        return None if reply.status in _CONFLICT | _ABSENT else _object(reply.body)


class KubernetesRecords(ConditionalRecords):
    """Records beside the states of a namespace, a Secret each, written on condition of its version.

    Names of Secrets have few characters, so a record's is a digest of its key, and the key stands in it.

    Args:
        backend: A state in the namespace; its way there is used.
        polling: How often to look for a change.
        clock: For pauses.
        ids: For chance.
    """

    def __init__(self, backend: KubernetesBackend, *, polling: Pace, clock: Clock, ids: Ids) -> None:
        title = f"namespace {backend.place.namespace}"
        super().__init__(title=title, polling=polling, clock=clock, draw=draw_from(ids))
        self._backend = backend

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        found = await self._backend.read_secret(record_name(key))
        return None if found is None else (_decoded(found, "body"), _version(found))

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        data = {"key": base64.b64encode(key.encode()).decode(), "body": base64.b64encode(body).decode()}
        said: dict[str, Any] = {"name": record_name(key), "labels": dict(_MARKS)}
        if mark is None:
            written = await self._backend.create_secret({"metadata": said, "data": data})
        else:
            kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
            changed = {**kind, "metadata": {**said, "resourceVersion": mark}, "data": data}
            written = await self._backend.replace_secret(changed)
        return None if written is None else _version(written)

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        found = await self._backend.list_secrets(_MARKS)
        names = sorted(_decoded(each, "key").decode(errors="replace") for each in found)
        return [name for name in names if name.startswith(prefix) and name > after][:limit]

    def _where(self, key: str) -> str:
        return f"Secret {record_name(key)} in namespace {self._backend.place.namespace}"

    def _look_at(self, key: str) -> str:
        """See `ConditionalRecords`."""
        return f"kubectl get secret --namespace {self._backend.place.namespace} {record_name(key)} -o yaml"


def record_name(key: str) -> str:
    """Return the name of the Secret that has a record of ours."""
    return f"interlock-{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def _has_state(parts: Sequence[Mapping[str, Any]]) -> bool:
    return bool(parts) and all(_DATA in _data(part) for part in parts)


def _changed(lease: Mapping[str, Any], *, annotations: Mapping[str, Any], spec: Mapping[str, Any]) -> Mapping[str, Any]:
    said = {**_inside(lease, "metadata"), "annotations": dict(annotations)}
    return {**lease, "metadata": said, "spec": dict(spec)}


def _versions(parts: Sequence[Mapping[str, Any]]) -> str:
    return ",".join(map(_version, parts))


def _version(each: Mapping[str, Any]) -> str:
    return str(_inside(each, "metadata").get("resourceVersion", ""))


def _name(each: Mapping[str, Any]) -> str:
    return str(_inside(each, "metadata").get("name", ""))


def _labels(each: Mapping[str, Any]) -> Mapping[str, str]:
    return _inside(_inside(each, "metadata"), "labels")


def _annotations(each: Mapping[str, Any]) -> Mapping[str, Any]:
    return _inside(_inside(each, "metadata"), "annotations")


def _data(each: Mapping[str, Any]) -> Mapping[str, str]:
    return _inside(each, "data")


def _decoded(each: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(str(_data(each).get(name, "")), validate=True)
    except binascii.Error:
        return b""


def _inside(each: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = each.get(name)
    return found if isinstance(found, dict) else {}


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = read_json(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}
