from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.code_host import github_event, gitlab_event

from interlock.errors import UsageError
from interlock.server.hooks.events import Comment, read_event
from interlock.server.hooks.hook import HookPlatform

GITHUB, GITLAB = HookPlatform.GITHUB, HookPlatform.GITLAB
AT = datetime(2026, 11, 30, 21, 5, 6, tzinfo=UTC)
Change = Callable[[dict[str, Any]], object]


def read(platform: HookPlatform, event: dict[str, Any]) -> Comment | str:
    return read_event(platform, json.dumps(event).encode())


def test_a_new_comment_on_a_pull_request_is_read() -> None:
    event = github_event("hello", person=7, login="ann", repository=74, created_at="2026-11-30T21:05:06Z")
    comment = read(GITHUB, event)
    assert isinstance(comment, Comment)
    assert (comment.repository_id, comment.person_id, comment.login, comment.text) == ("74", "7", "ann", "hello")
    assert (comment.written_at, comment.id) == (AT, str(event["comment"]["id"]))
    assert comment.url.startswith("https://github.com/octo-org/octo-repo/pull/7#issuecomment-")


@pytest.mark.parametrize("at", ["2026-11-30 21:05:06 UTC", "2026-11-30T21:05:06.123Z", "2026-11-30T21:05:06Z"])
def test_a_new_comment_on_a_merge_request_is_read(at: str) -> None:
    comment = read(GITLAB, gitlab_event("hello", person=7, login="ann", project=20, created_at=at))
    assert isinstance(comment, Comment)
    assert (comment.repository_id, comment.person_id, comment.login, comment.text) == ("20", "7", "ann", "hello")
    assert comment.written_at == AT


def bot(event: dict[str, Any]) -> None:
    event["sender"]["type"] = "Bot"


def app(event: dict[str, Any]) -> None:
    event["comment"]["performed_via_github_app"] = {"id": 1, "slug": "helper"}


def another_sender(event: dict[str, Any]) -> None:
    event["sender"] = {"id": 8, "login": "ben", "type": "User"}


def nobody(event: dict[str, Any]) -> None:
    event["comment"]["user"] = None


def another_user(event: dict[str, Any]) -> None:
    event["user"]["id"] = 8


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.update(action="edited"),
        lambda event: event.update(action="deleted"),
        lambda event: event["issue"].pop("pull_request"),
        lambda event: event.update(issue=None),
        lambda event: event.pop("comment"),
        lambda event: event.pop("sender"),
        bot,
        app,
        another_sender,
        nobody,
    ],
)
def test_github_tells_of_much_that_is_no_new_comment_of_a_person(change: Change) -> None:
    event = github_event("/interlock approve r1 0000000000000000 x")
    change(event)
    assert isinstance(read(GITHUB, event), str)


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.update(object_kind="issue"),
        lambda event: event["object_attributes"].update(action="update"),
        lambda event: event["object_attributes"].pop("action"),
        lambda event: event["object_attributes"].update(system=True),
        lambda event: event["object_attributes"].update(noteable_type="Snippet"),
        lambda event: event["object_attributes"].update(noteable_type=None),
        another_user,
        lambda event: event.pop("user"),
    ],
)
def test_gitlab_tells_of_much_that_is_no_new_comment_of_a_person(change: Change) -> None:
    event = gitlab_event("/interlock approve r1 0000000000000000 x")
    change(event)
    assert isinstance(read(GITLAB, event), str)


def test_other_events_of_a_code_host_are_no_fault() -> None:
    assert isinstance(read(GITHUB, {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {}}), str)
    assert isinstance(read(GITLAB, {"object_kind": "push", "commits": []}), str)


@pytest.mark.parametrize("platform", list(HookPlatform))
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b"\xff", b"payload=%7B%7D", b"[" * 10_000])
def test_what_is_no_event_is_refused(platform: HookPlatform, body: bytes) -> None:
    with pytest.raises(UsageError, match=f"no event of {platform.value}"):
        read_event(platform, body)


@pytest.mark.parametrize("at", ["2026-11-30T21:05:06", "yesterday", "", "2026-13-30 21:05:06 UTC"])
def test_an_instant_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(UsageError):
        read(GITHUB, github_event("x", created_at=at))
    if at.endswith(("06", "UTC", "yesterday")) or not at:
        with pytest.raises(UsageError):
            read(GITLAB, gitlab_event("x", created_at=at))
