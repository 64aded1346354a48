from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.errors import BackendUnavailable, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.existing.gitlab import GitLabBackend, find_project_state, open_gitlab
from interlock.ids import RandomIds
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.answers import AnswerServer, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.state_servers import GITLAB_PATH as PATH
from interlock.testing.state_servers import GitLab

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="ours", operation="restore", who="me@here", version="", now=NOW)


def state(serial: int) -> bytes:
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "terraform_version": "1.11.4"}).encode()


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def gitlab(api: AnswerServer) -> GitLab:
    made = GitLab()
    api.answer = made.answer
    return made


class Impatient(FakeClock):
    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


def found(api: AnswerServer, **more: Any) -> Found:
    address = f"{api.url}{PATH}"
    settings = {
        "address": address,
        "lock_address": f"{address}/lock",
        "unlock_address": f"{address}/lock",
        "lock_method": "POST",
        "unlock_method": "DELETE",
        "username": "ann",
        "password": "glpat-secret",
    }
    return Found(type="http", settings={**settings, **more})


@pytest.fixture
def backend(api: AnswerServer, gitlab: GitLab) -> GitLabBackend:
    return open_gitlab(found(api), clock=Impatient(), ids=RandomIds())


def test_a_managed_state_is_told_by_its_address(api: AnswerServer) -> None:
    state = find_project_state(found(api))
    assert state is not None
    assert (state.project, state.name) == ("group/app", "prod")
    assert find_project_state(Found(type="http", settings={"address": "https://example.com/state/x"})) is None
    assert find_project_state(Found(type="http")) is None
    with pytest.raises(UsageError):
        open_gitlab(Found(type="http", settings={"address": "https://e.com/x"}), clock=Impatient(), ids=RandomIds())


async def test_a_free_state_is_seen_without_taking_its_lock(
    api: AnswerServer, gitlab: GitLab, backend: GitLabBackend
) -> None:
    assert await backend.read_locks() == ()
    assert [call.path for call in api.calls] == ["/api/graphql"]


async def test_where_graphql_is_refused_the_lock_is_asked_for_and_given_back(
    gitlab: GitLab, backend: GitLabBackend
) -> None:
    gitlab.graphql = False
    assert await backend.read_locks() == ()
    assert gitlab.locked is None


async def test_only_what_gitlab_says_of_the_holder_is_believed(gitlab: GitLab, backend: GitLabBackend) -> None:
    gitlab.locked = ("theirs", "bob")
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who, lock.created) == ("theirs", "bob@", "2026-11-24T02:00:00.000Z")
    assert (lock.operation, lock.version) == ("", "")  # these were our own
    assert gitlab.locked == ("theirs", "bob")


async def test_the_lock_is_deleted_on_condition_of_its_id(gitlab: GitLab, backend: GitLabBackend) -> None:
    gitlab.locked = ("theirs", "bob")
    (lock,) = await backend.read_locks()
    gitlab.locked = ("later", "eve")
    with pytest.raises(TerraformLockMoved):
        await backend.delete_lock(lock)
    assert gitlab.locked == ("later", "eve")
    gitlab.locked = ("theirs", "bob")
    await backend.delete_lock(lock)
    assert gitlab.locked is None


async def test_versions_are_found_by_serial_over_gaps(gitlab: GitLab, backend: GitLabBackend) -> None:
    assert await backend.history() == ()
    gitlab.versions = {serial: state(serial) for serial in (1, 2, 5, 7)}
    versions = await backend.history()
    assert [(version.id, version.current) for version in versions] == [
        ("7", True),
        ("5", False),
        ("2", False),
        ("1", False),
    ]
    assert await backend.read_version("2") == state(2)
    with pytest.raises(UsageError):
        await backend.read_version("3")


async def test_a_state_is_written_under_our_lock(gitlab: GitLab, backend: GitLabBackend) -> None:
    gitlab.versions = {1: state(1)}
    held = await backend.take_lock(OURS)
    stored = await backend.write_state(state(2), expected=await backend.read_state())
    assert stored.body == state(2)
    await backend.give_lock(held)
    assert gitlab.locked is None
    gitlab.locked = ("theirs", "bob")
    with pytest.raises(LockHeld, match="bob"):
        await backend.take_lock(OURS)


async def test_the_description_shows_no_secret(backend: GitLabBackend) -> None:
    described = backend.describe()
    assert described.type == "gitlab"
    assert "glpat" not in str(described)


async def test_an_api_that_fails_is_unavailable(api: AnswerServer, backend: GitLabBackend) -> None:
    api.answer = lambda _: Told(status=500)
    with pytest.raises(BackendUnavailable):
        await backend.read_locks()
