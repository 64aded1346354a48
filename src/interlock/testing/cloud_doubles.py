"""Doubles of other people's clouds, for tests: Google's objects, as Terraform's client asks for them, and Azure's."""
# ruff: noqa: PLR2004 - statuses are clearer than their names

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from uuid import UUID

from interlock.clock import SystemClock
from interlock.testing.answers import Call, Told

_MULTIPART = re.compile(rb"boundary=\"?([^\";]+)")


@dataclass(slots=True)
class _Object:
    generation: int
    body: bytes
    at: datetime


class GoogleStorage:
    """Buckets of Cloud Storage: the JSON API, and the reads of the XML API that Google's own client makes.

    Attributes:
        objects: By bucket and name, every generation, newest last; a deletion is None.
        tokens: Which bearer tokens are accepted.
    """

    def __init__(self, *tokens: str) -> None:
        self.objects: dict[tuple[str, str], list[_Object | None]] = {}
        self.tokens = tokens or ("google-token",)
        self._generation = 1_700_000_000_000_000
        self._turn = threading.Lock()

    def current(self, bucket: str, name: str) -> bytes | None:
        """Return what an object holds; None when there is none."""
        found = self._current(bucket, name)
        return found.body if found is not None else None

    def put(self, bucket: str, name: str, body: bytes) -> _Object:
        """Write an object as somebody else would."""
        self._generation += 1
        made = _Object(self._generation, body, SystemClock().now())
        self.objects.setdefault((bucket, name), []).append(made)
        return made

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        if call.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return Told(status=401)
        path, _, query = call.path.partition("?")
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
        with self._turn:
            if path.startswith("/upload/storage/v1/b/"):
                return self._upload(call, path.split("/")[5], asked)
            if path.startswith("/storage/v1/b/"):
                parts = path.split("/", 6)
                bucket = urllib.parse.unquote(parts[4])
                if len(parts) == 6:
                    return self._list(bucket, asked)
                return self._object(call.method, bucket, urllib.parse.unquote(parts[6]), asked)
            bucket, _, name = path.lstrip("/").partition("/")
            return self._object("GET", bucket, urllib.parse.unquote(name), {**asked, "alt": "media"})

    def _current(self, bucket: str, name: str) -> _Object | None:
        kept = self.objects.get((bucket, name))
        return kept[-1] if kept else None

    def _upload(self, call: Call, bucket: str, asked: dict[str, str]) -> Told:
        name, body = asked.get("name", ""), call.body
        if asked["uploadType"] == "multipart":
            match = _MULTIPART.search(call.headers["content-type"].encode())
            assert match is not None
            parts = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in body.split(b"--" + match[1])[1:3]]
            name, body = json.loads(parts[0])["name"], parts[1]
        there = self._current(bucket, name)
        wanted = asked.get("ifGenerationMatch")
        if wanted is not None and int(wanted) != (there.generation if there else 0):
            return _failed(412)
        return Told(body=self._shown(bucket, name, self.put(bucket, name, body)))

    def _list(self, bucket: str, asked: dict[str, str]) -> Told:
        items = []
        for (of, name), kept in sorted(self.objects.items()):
            if of == bucket and name.startswith(asked.get("prefix", "")) and name >= asked.get("startOffset", ""):
                versions = kept if asked.get("versions") == "true" else kept[-1:]
                items += [self._listed(bucket, name, one, kept[-1]) for one in versions if one is not None]
        return Told(body={"kind": "storage#objects", "items": items[: int(asked.get("maxResults", "1000"))]})

    def _listed(self, bucket: str, name: str, one: _Object, last: _Object | None) -> dict[str, str]:
        gone = {} if one is last else {"timeDeleted": one.at.isoformat()}
        return {**self._shown(bucket, name, one), **gone}

    def _object(self, method: str, bucket: str, name: str, asked: dict[str, str]) -> Told:
        there = self._current(bucket, name)
        if (generation := asked.get("generation")) is not None:
            kept = self.objects.get((bucket, name), [])
            there = next((one for one in kept if one is not None and one.generation == int(generation)), None)
        if there is None:
            return _failed(404)
        wanted = asked.get("ifGenerationMatch")
        if wanted is not None and int(wanted) != there.generation:
            return _failed(412)
        if method == "DELETE":
            self.objects[(bucket, name)].append(None)
            return Told(status=204)
        if asked.get("alt") != "media":
            return Told(body=self._shown(bucket, name, there))
        digest = base64.b64encode(hashlib.md5(there.body, usedforsecurity=False).digest()).decode()
        headers = {
            "X-Goog-Generation": str(there.generation),
            "X-Goog-Metageneration": "1",
            "X-Goog-Hash": f"md5={digest}",
            "Last-Modified": format_datetime(there.at, usegmt=True),
            "Content-Type": "application/json",
        }
        return Told(body=there.body, headers=headers)

    def _shown(self, bucket: str, name: str, one: _Object) -> dict[str, str]:
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(one.generation),
            "metageneration": "1",
            "size": str(len(one.body)),
            "timeCreated": one.at.isoformat(),
        }


def _failed(status: int) -> Told:
    message = "conditionNotMet" if status == 412 else "notFound"
    return Told(status=status, body={"error": {"code": status, "message": message}})


@dataclass(slots=True)
class _Blob:
    body: bytes = b""
    etag: int = 1
    meta: dict[str, str] = field(default_factory=dict)
    lease: str = ""


class AzureBlobs:
    """Blobs of one storage account: Put, Get, Lease and metadata, as the REST reference of Azure Storage has them.

    Attributes:
        blobs: By path.
        sas: The token that requests must bear in their query.
    """

    def __init__(self, sas: str = "sig=azure-sas") -> None:
        self.blobs: dict[str, _Blob] = {}
        self.sas = sas
        self._turn = threading.Lock()

    def answer(self, call: Call) -> Told:  # noqa: PLR0911 - one a kind of request
        """Answer one request; see `AnswerServer.answer`."""
        quoted, _, query = call.path.partition("?")
        path = urllib.parse.unquote(quoted)
        if self.sas not in query:
            return Told(status=403)
        asked = urllib.parse.parse_qs(query).get("comp", [""])[0]
        with self._turn:
            if asked == "list":
                return self._list(path, urllib.parse.parse_qs(query).get("prefix", [""])[0])
            blob = self.blobs.get(path)
            if call.method in {"GET", "HEAD"}:
                return Told(status=404) if blob is None else self._shown(blob, call.method)
            if asked == "lease":
                return Told(status=404) if blob is None else _lease(blob, call.headers)
            lease = call.headers.get("x-ms-lease-id", "")
            if blob is not None and blob.lease != lease and (blob.lease or lease):
                return Told(status=412)
            if asked == "metadata":
                return Told(status=404) if blob is None else self._set_metadata(blob, call)
            return self._put(path, blob, call)

    def _list(self, container: str, prefix: str) -> Told:
        names = sorted(path.removeprefix(f"{container}/") for path in self.blobs if path.startswith(f"{container}/"))
        rows = [f"<Blob><Name>{name}</Name></Blob>" for name in names if name.startswith(prefix)]
        text = f"<EnumerationResults><Blobs>{''.join(rows)}</Blobs><NextMarker /></EnumerationResults>"
        return Told(body=text.encode())

    def _shown(self, blob: _Blob, method: str) -> Told:
        headers = {
            "ETag": f'"0x{blob.etag}"',
            "Last-Modified": format_datetime(datetime(2026, 11, 24, tzinfo=UTC), usegmt=True),
            "x-ms-lease-status": "locked" if blob.lease else "unlocked",
            **blob.meta,
        }
        return Told(body=blob.body if method == "GET" else b"", headers=headers)

    def _set_metadata(self, blob: _Blob, call: Call) -> Told:
        blob.meta, blob.etag = _meta(call), blob.etag + 1
        return Told()

    def _put(self, path: str, blob: _Blob | None, call: Call) -> Told:
        assert call.headers["x-ms-blob-type"] == "BlockBlob"
        if call.headers.get("if-none-match") == "*" and blob is not None:
            return Told(status=409)
        wanted = call.headers.get("if-match")
        if wanted is not None and (blob is None or wanted != f'"0x{blob.etag}"'):
            return Told(status=412)
        kept = blob or _Blob()
        self.blobs[path] = kept
        kept.body, kept.meta, kept.etag = call.body, _meta(call), kept.etag + 1
        return Told(status=201, headers={"ETag": f'"0x{kept.etag}"'})


def _meta(call: Call) -> dict[str, str]:
    return {name: value for name, value in call.headers.items() if name.startswith("x-ms-meta-")}


def _lease(blob: _Blob, headers: dict[str, str]) -> Told:
    match headers["x-ms-lease-action"]:
        case "acquire":
            assert headers["x-ms-lease-duration"] == "-1"
            wanted = headers["x-ms-proposed-lease-id"]
            assert str(UUID(wanted)) == wanted, "a lease's id is a GUID"
            if blob.lease not in ("", wanted):
                return Told(status=409)
            blob.lease = wanted
            return Told(status=201, headers={"x-ms-lease-id": wanted})
        case "release":
            if blob.lease != headers["x-ms-lease-id"]:
                return Told(status=409)
            blob.lease = ""
            return Told()
        case "break":
            blob.lease = ""
            return Told(status=202)
        case other:
            raise AssertionError(other)
