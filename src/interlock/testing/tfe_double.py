"""A double of HCP Terraform and Terraform Enterprise, for tests: one workspace that runs are local to.

Source: docs/facts/servers.md; the stock client was seen to be content with these routes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.parse
from typing import Any

from interlock.clock import SystemClock
from interlock.testing.answers import Call, Told

ORGANIZATION, WORKSPACE, WORKSPACE_ID, TOKEN = "acme", "app", "ws-1", "tfe-token"
_MEDIA = {"Content-Type": "application/vnd.api+json", "TFP-API-Version": "2.6", "TFP-AppName": "Terraform Enterprise"}


class TfePlatform:
    """One workspace in local execution.

    Attributes:
        url: Of this server; the addresses of uploads and downloads begin with it.
        versions: State versions, oldest first; `body` is None while the upload is awaited.
        locked_by: The id of the user that holds the workspace; None when it is free.
        reason: What that user gave as the reason.
        mode: The execution mode.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.versions: list[dict[str, Any]] = []
        self.locked_by: str | None = None
        self.reason = ""
        self.mode = "local"
        self._turn = threading.Lock()

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        with self._turn:
            told = self._answer(call)
        return Told(status=told.status, body=told.body, headers={**_MEDIA, **told.headers})

    def current(self) -> bytes | None:
        """Return the newest state that was stored whole."""
        return next((one["body"] for one in reversed(self.versions) if one["body"] is not None), None)

    def put(self, body: bytes) -> None:
        """Store a state as somebody else would."""
        self._new_version(json.loads(body)["serial"])["body"] = body

    def _answer(self, call: Call) -> Told:
        path = urllib.parse.urlsplit(call.path).path
        if path.startswith("/upload/"):
            self._version(path.removeprefix("/upload/"))["body"] = call.body
            return Told()
        if path.startswith("/upload-json/"):
            return Told()
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Told(status=401)
        if path.startswith("/download/"):
            return Told(body=self._version(path.removeprefix("/download/"))["body"])
        return self._api(call, path.removeprefix("/api/v2"))

    def _api(self, call: Call, path: str) -> Told:  # noqa: C901, PLR0911 - one case a route
        workspace = f"/workspaces/{WORKSPACE_ID}"
        match call.method, path:
            case "GET", "/ping":
                return Told(status=204)
            case "GET", p if p == f"/organizations/{ORGANIZATION}/entitlement-set":
                attributes = {"operations": False, "state-storage": True}
                return _data("entitlement-sets", "org-1", attributes)
            case "GET", p if p == f"/organizations/{ORGANIZATION}/workspaces/{WORKSPACE}":
                return self._workspace()
            case "PATCH", p if p == workspace:
                return self._workspace()
            case "POST", p if p == f"{workspace}/actions/lock":
                return self._lock(call)
            case "POST", p if p in {f"{workspace}/actions/unlock", f"{workspace}/actions/force-unlock"}:
                if self.locked_by is None:
                    return Told(status=409, body={"errors": [{"status": "409", "title": "conflict"}]})
                self.locked_by, self.reason = None, ""
                return self._workspace()
            case "GET", p if p == f"{workspace}/current-state-version":
                kept = [one for one in self.versions if one["body"] is not None]
                return self._shown(kept[-1]) if kept else Told(status=404)
            case "POST", p if p == f"{workspace}/state-versions":
                return self._store(call)
            case "GET", "/state-versions":
                rows = [self._described(one) for one in reversed(self.versions) if one["body"] is not None]
                return Told(body={"data": rows})
            case "GET", p if p.startswith("/state-versions/"):
                return self._shown(self._version(p.removeprefix("/state-versions/")))
        return Told(status=404, body={"errors": [{"status": "404", "title": "not found"}]})

    def _lock(self, call: Call) -> Told:
        if self.locked_by is not None:
            return Told(status=409, body={"errors": [{"status": "409", "title": "workspace already locked"}]})
        self.locked_by = "user-ann"
        asked = json.loads(call.body)
        self.reason = str((asked.get("data") or {}).get("attributes", {}).get("reason") or asked.get("reason") or "")
        return self._workspace()

    def _workspace(self) -> Told:
        attributes = {
            "name": WORKSPACE,
            "execution-mode": self.mode,
            "operations": self.mode == "remote",
            "locked": self.locked_by is not None,
            "locked-reason": self.reason,
            "terraform-version": "latest",
            "tag-names": [],
            "permissions": dict.fromkeys(("can-lock", "can-unlock", "can-force-unlock", "can-queue-run"), True),
        }
        holder = {"locked-by": {"data": {"id": self.locked_by, "type": "users"}}} if self.locked_by else {}
        return _data("workspaces", WORKSPACE_ID, attributes, holder)

    def _store(self, call: Call) -> Told:
        attributes = json.loads(call.body)["data"]["attributes"]
        if self.locked_by is None:
            return Told(status=409, body={"errors": [{"status": "409", "title": "must be locked"}]})
        newest = max((one["serial"] for one in self.versions), default=-1)
        if attributes["serial"] <= newest and not attributes.get("force"):
            return Told(status=409, body={"errors": [{"status": "409", "title": "serial"}]})
        made = self._new_version(attributes["serial"])
        if attributes.get("state"):
            body = base64.b64decode(attributes["state"])
            assert hashlib.md5(body, usedforsecurity=False).hexdigest() == attributes["md5"]
            made["body"] = body
        told = self._shown(made)
        return Told(status=201, body=told.body)

    def _new_version(self, serial: int) -> dict[str, Any]:
        made = {"id": f"sv-{len(self.versions) + 1}", "serial": serial, "body": None, "at": SystemClock().now()}
        self.versions.append(made)
        return made

    def _version(self, identity: str) -> dict[str, Any]:
        return next(one for one in self.versions if one["id"] == identity)

    def _shown(self, one: dict[str, Any]) -> Told:
        return Told(body={"data": self._described(one)})

    def _described(self, one: dict[str, Any]) -> dict[str, Any]:
        attributes = {
            "serial": one["serial"],
            "status": "finalized" if one["body"] is not None else "pending",
            "created-at": one["at"].isoformat().replace("+00:00", "Z"),
            "size": len(one["body"] or b""),
            "hosted-state-download-url": f"{self.url}/download/{one['id']}",
            "hosted-state-upload-url": f"{self.url}/upload/{one['id']}",
            "hosted-json-state-upload-url": f"{self.url}/upload-json/{one['id']}",
        }
        return {"id": one["id"], "type": "state-versions", "attributes": attributes}


def _data(kind: str, identity: str, attributes: dict[str, Any], relationships: dict[str, Any] | None = None) -> Told:
    entry = {"id": identity, "type": kind, "attributes": attributes, "relationships": relationships or {}}
    return Told(body={"data": entry})
