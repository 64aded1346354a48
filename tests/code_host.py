"""A code host that tells of comments and signs what it tells, as GitHub and GitLab do. Shapes: their own documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import count
from typing import Any
from urllib.parse import urlsplit

_IDS = count(1_000_001)
WAIT_S = 60.0  # only a hang reaches it


def github_event(
    text: str, *, person: int = 583231, login: str = "octocat", repository: int = 74, **more: Any
) -> dict[str, Any]:
    """Return an `issue_comment` event of a new comment on a pull request; `more` replaces parts of the comment."""
    user = {"id": person, "login": login, "type": "User", "node_id": "U_1", "site_admin": False}
    number = next(_IDS)
    comment = {
        "id": number,
        "node_id": f"IC_{number}",
        "url": f"https://api.github.com/repos/octo-org/octo-repo/issues/comments/{number}",
        "html_url": f"https://github.com/octo-org/octo-repo/pull/7#issuecomment-{number}",
        "user": user,
        "created_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "updated_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "author_association": "MEMBER",
        "body": text,
        "performed_via_github_app": None,
    }
    return {
        "action": "created",
        "issue": {
            "number": 7,
            "title": "More queues",
            "user": {"id": 1, "login": "anna", "type": "User"},
            "pull_request": {"url": "https://api.github.com/repos/octo-org/octo-repo/pulls/7", "merged_at": None},
        },
        "comment": {**comment, **more},
        "repository": {"id": repository, "full_name": "octo-org/octo-repo", "private": True},
        "organization": {"id": 65, "login": "octo-org"},
        "sender": user,
    }


def gitlab_event(
    text: str, *, person: int = 51, login: str = "jsmith", project: int = 20, **more: Any
) -> dict[str, Any]:
    """Return a `note` event of a new comment on a merge request; `more` replaces parts of the note."""
    number = next(_IDS)
    note = {
        "id": number,
        "note": text,
        "noteable_type": "MergeRequest",
        "author_id": person,
        "created_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC}",
        "updated_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S UTC}",
        "project_id": project,
        "system": False,
        "action": "create",
        "url": f"https://gitlab.com/my-group/my-project/-/merge_requests/1#note_{number}",
    }
    return {
        "object_kind": "note",
        "event_type": "note",
        "user": {"id": person, "name": "John Smith", "username": login, "email": "[REDACTED]"},
        "project_id": project,
        "project": {"id": project, "path_with_namespace": "my-group/my-project"},
        "object_attributes": {**note, **more},
        "merge_request": {"id": 7, "iid": 1, "target_project_id": project},
    }


def github_headers(body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of a delivery."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/a5788b1",
        "X-GitHub-Event": "issue_comment",
        "X-GitHub-Delivery": f"72d3162e-cc78-11e3-81ab-{next(_IDS):012d}",
        "X-Hub-Signature-256": f"sha256={mac}",
    }


def gitlab_headers(body: bytes, secret: str, *, at_s: float | None = None) -> dict[str, str]:
    """Return the headers of a delivery with a signing token; with a secret token it is `X-Gitlab-Token` instead."""
    name, at = f"f5e5f430-f57b-4e6e-9fac-{next(_IDS):012d}", int(time.time() if at_s is None else at_s)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "Note Hook",
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def deliver(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Send what a code host tells; return the status and the answer, which is always JSON."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=WAIT_S)
    try:
        connection.request("POST", f"{address.path}?{address.query}", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def comment(url: str, secret: str, event: dict[str, Any]) -> dict[str, Any]:
    """Let GitHub tell of a comment; return what became of it."""
    body = json.dumps(event).encode()
    status, heard = deliver(url, body, github_headers(body, secret))
    assert status == 200, heard
    return heard
