"""The comment that an event of a code host tells of. Pure.

Only the body is signed. So what kind of event it is, its body says, and never a header alone.

Source: GitHub, "Webhook events and payloads", `issue_comment`. GitLab, "Webhook events", comment on a merge request;
`object_attributes.action` since merge request 147856 (GitLab 16.11): before, an edit looked like a new comment.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json
from interlock.errors import UsageError, reason_of
from interlock.server.hooks.hook import HookPlatform

_OF_GITLAB = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d{1,9})? ?(?:UTC|Z)\Z", re.ASCII)


class Comment(Struct, frozen=True, kw_only=True):
    """A new comment on a pull request, by a person.

    Attributes:
        id: Of the comment; the code host has no second one of it.
        repository_id: Where the pull request is.
        person_id: Of the account that wrote it.
        login: What the account is called now.
        text: What was written.
        url: Where people read it.
        written_at: When.
    """

    id: str
    repository_id: str
    person_id: str
    login: str
    text: str
    url: str
    written_at: datetime


class _GithubUser(Struct, frozen=True):
    id: int
    login: str = ""
    type: str = ""


class _GithubComment(Struct, frozen=True):
    id: int
    user: _GithubUser | None
    body: str | None
    created_at: datetime
    html_url: str = ""
    performed_via_github_app: object = None


class _GithubIssue(Struct, frozen=True):
    pull_request: object = None


class _Repository(Struct, frozen=True):
    id: int


class _GithubEvent(Struct, frozen=True):
    action: str = ""
    issue: _GithubIssue | None = None
    comment: _GithubComment | None = None
    repository: _Repository | None = None
    sender: _GithubUser | None = None


class _GitlabUser(Struct, frozen=True):
    id: int = 0
    username: str = ""


class _GitlabNote(Struct, frozen=True):
    id: int
    author_id: int
    note: str | None
    created_at: str
    noteable_type: str | None = ""
    action: str = ""
    system: bool = False
    url: str | None = ""


class _GitlabKind(Struct, frozen=True):
    object_kind: str = ""


class _GitlabEvent(Struct, frozen=True):
    object_attributes: _GitlabNote
    project: _Repository
    user: _GitlabUser = _GitlabUser()


def read_event(platform: HookPlatform, body: bytes) -> Comment | str:
    """Return the new comment that a signed event tells of, or why it tells of none.

    Raises:
        UsageError: It is not an event of this code host.
    """
    try:
        return _of_github(body) if platform is HookPlatform.GITHUB else _of_gitlab(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(
            f"what was sent is no event of {platform.value}",
            why=reason_of(error),
            fix="let the webhook send application/json, and comments only",
        ) from error


def _of_github(body: bytes) -> Comment | str:
    event = decode_json(body, type=_GithubEvent)
    comment, sender = event.comment, event.sender
    if comment is None or event.issue is None or event.repository is None or sender is None:
        return "it is not about a comment on a pull request"
    if event.issue.pull_request is None:
        return "it is about a comment on an issue, and not on a pull request"
    if event.action != "created":
        return "only a new comment counts, and none that was edited or deleted"
    if comment.user is None or comment.user.id != sender.id:
        return "it is not told by whoever wrote the comment"
    if comment.user.type != "User" or sender.type != "User" or comment.performed_via_github_app is not None:
        return "a program wrote the comment, and not a person"
    return Comment(
        id=str(comment.id),
        repository_id=str(event.repository.id),
        person_id=str(comment.user.id),
        login=comment.user.login,
        text=comment.body or "",
        url=comment.html_url,
        written_at=_in_utc(comment.created_at),
    )


def _of_gitlab(body: bytes) -> Comment | str:
    if decode_json(body, type=_GitlabKind).object_kind != "note":
        return "it is not about a comment on a merge request"
    event = decode_json(body, type=_GitlabEvent)
    note = event.object_attributes
    if note.noteable_type != "MergeRequest":
        return "it is about a comment on something else than a merge request"
    if not note.action:
        return "this GitLab does not tell a new comment from an edited one; 16.11 and later do"
    if note.action != "create":
        return "only a new comment counts, and none that was edited"
    if note.system or note.author_id != event.user.id:
        return "it is not told by whoever wrote the comment"
    return Comment(
        id=str(note.id),
        repository_id=str(event.project.id),
        person_id=str(note.author_id),
        login=event.user.username,
        text=note.note or "",
        url=note.url or "",
        written_at=_gitlab_instant(note.created_at),
    )


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("an instant has no zone")
    return at.astimezone(UTC)


def _gitlab_instant(text: str) -> datetime:
    """Read an instant as GitLab spells it: `2015-05-17 18:21:36 UTC`, newer ones `2015-05-17T18:21:36.000Z`."""
    found = _OF_GITLAB.match(text)
    if found is None:
        raise ValueError("an instant is not spelled as GitLab does")
    return datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
