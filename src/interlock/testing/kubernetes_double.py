"""A double of the Kubernetes API, for tests: the Secrets and Leases of namespaces, as Terraform's client asks for them.

Made from what a real kube-apiserver 1.35 answered; it checks what the real one checks: versions, names, sizes, tokens.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from interlock.clock import SystemClock
from interlock.ids import RandomIds
from interlock.testing.answers import Call, Told
from interlock.testing.kubernetes_wire import is_packed, read_lease

SECRET_BYTES = 1024 * 1024
"""The most that the values of a Secret may have together."""
_PATH = re.compile(r"/(?:api/v1|apis/coordination\.k8s\.io/v1)/namespaces/([^/]+)/(secrets|leases)(?:/([^/]+))?\Z")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_KINDS = {"secrets": ("v1", "Secret"), "leases": ("coordination.k8s.io/v1", "Lease")}
Key = tuple[str, str, str]


@dataclass(slots=True)
class KubernetesApi:
    """The API.

    Attributes:
        token: What the bearer token must be.
        objects: By namespace, kind and name.
    """

    token: str = "kube-token"  # noqa: S105 - of a double
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    _version: int = 1000
    _turn: threading.Lock = field(default_factory=threading.Lock)

    # -- for tests --------------------------------------------------------------------------------------------------

    def data(self, name: str, namespace: str = "default") -> dict[str, bytes] | None:
        """Return what a Secret has; None when there is none."""
        with self._turn:
            found = self.objects.get((namespace, "secrets", name))
            if found is None:
                return None
            return {key: base64.b64decode(text or "") for key, text in (found.get("data") or {}).items()}

    def put(self, name: str, data: dict[str, bytes], namespace: str = "default") -> None:
        """Write a Secret's values as somebody else would."""
        with self._turn:
            found = self.objects[namespace, "secrets", name]
            found["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
            self._mark(found)

    def is_locked(self) -> bool:
        """Say whether any Lease has a holder."""
        with self._turn:
            leases = [each for key, each in self.objects.items() if key[1] == "leases"]
            return any(each.get("spec", {}).get("holderIdentity") is not None for each in leases)

    # -- requests ---------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        path, _, query = call.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if call.headers.get("authorization", "") != f"Bearer {self.token}":
            return _failed(401, "Unauthorized")
        match = _PATH.match(urllib.parse.unquote(path))
        if match is None:
            return _failed(404, "NotFound")
        space, kind, name = match.groups()
        with self._turn:
            if name is None:
                return self._create(space, kind, call) if call.method == "POST" else self._list(space, kind, asked)
            return self._one(call, (space, kind, name))

    def _list(self, space: str, kind: str, asked: dict[str, str]) -> Told:
        wanted = [each.partition("=")[::2] for each in asked.get("labelSelector", "").split(",") if each]
        found = [each for key, each in sorted(self.objects.items()) if key[:2] == (space, kind)]
        found = [each for each in found if all(_labels(each).get(name) == text for name, text in wanted)]
        start, limit = int(asked.get("continue") or 0), int(asked.get("limit") or 0)
        page = found[start : start + limit] if limit else found[start:]
        said: dict[str, Any] = {"resourceVersion": str(self._version)}
        if start + len(page) < len(found):
            said["continue"] = str(start + len(page))
        version, one = _KINDS[kind]
        return _told(200, {"kind": f"{one}List", "apiVersion": version, "metadata": said, "items": page})

    def _create(self, space: str, kind: str, call: Call) -> Told:
        made = _object(call)
        name = made["metadata"]["name"]
        if (fault := _fault(kind, name, made)) is not None:
            return _failed(422, "Invalid", fault)
        if (space, kind, name) in self.objects:
            return _failed(409, "AlreadyExists", f'{kind} "{name}" already exists')
        version, one = _KINDS[kind]
        now = SystemClock().now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        said = {**made["metadata"], "namespace": space, "uid": RandomIds().fresh(), "creationTimestamp": now}
        made |= {"kind": one, "apiVersion": version, "metadata": said}
        if kind == "secrets":
            made.setdefault("type", "Opaque")
        self._mark(made)
        self.objects[space, kind, name] = made
        return _told(201, made)

    def _one(self, call: Call, key: Key) -> Told:
        found = self.objects.get(key)
        if found is None:
            return _failed(404, "NotFound", f'{key[1]} "{key[2]}" not found')
        if call.method == "GET":
            return _told(200, found)
        if call.method == "PUT":
            return self._replace(key, found, _object(call))
        if call.method != "DELETE":
            return _failed(405, "MethodNotAllowed")
        wanted = (json.loads(call.body or b"{}").get("preconditions") or {}).get("resourceVersion")
        if wanted is not None and wanted != found["metadata"]["resourceVersion"]:
            return _failed(409, "Conflict", "the ResourceVersion in the precondition does not match")
        del self.objects[key]
        return _told(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _replace(self, key: Key, found: dict[str, Any], changed: dict[str, Any]) -> Told:
        if (fault := _fault(key[1], changed["metadata"]["name"], changed)) is not None:
            return _failed(422, "Invalid", fault)
        wanted = changed["metadata"].get("resourceVersion")
        if wanted and wanted != found["metadata"]["resourceVersion"]:
            return _failed(409, "Conflict", "the object has been modified; please apply your changes to the latest")
        kept = {name: found["metadata"][name] for name in ("namespace", "uid", "creationTimestamp", "resourceVersion")}
        version, one = _KINDS[key[1]]
        changed |= {"kind": one, "apiVersion": version, "metadata": {**changed["metadata"], **kept}}
        if changed != found:  # an equal one is no change, and keeps its version
            self._mark(changed)
            self.objects[key] = changed
        return _told(200, self.objects[key])

    def _mark(self, each: dict[str, Any]) -> None:
        self._version += 1
        each["metadata"]["resourceVersion"] = str(self._version)


def _object(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = read_lease(call.body) if is_packed(call.body) else json.loads(call.body)
    return found


def _fault(kind: str, name: str, each: dict[str, Any]) -> str | None:
    """Return what the API refuses in an object; None when it takes it."""
    if not _NAME.match(name):
        return f"metadata.name: Invalid value: {name!r}"
    if wrong := [text for text in _labels(each).values() if not _LABEL.match(text)]:
        return f"metadata.labels: Invalid value: {wrong[0]!r}"
    if kind == "secrets":
        sizes = [len(base64.b64decode(text or "", validate=True)) for text in (each.get("data") or {}).values()]
        if sum(sizes) > SECRET_BYTES:
            return "data: Too long: may not be more than 1048576 bytes"
    return None


def _labels(each: dict[str, Any]) -> dict[str, str]:
    return each["metadata"].get("labels") or {}


def _told(status: int, body: Any) -> Told:
    return Told(status=status, body=copy.deepcopy(body), headers={"Content-Type": "application/json"})


def _failed(status: int, reason: str, message: str = "") -> Told:
    said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return _told(status, {**said, "message": message or reason, "reason": reason, "code": status})
