from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.existing.tfe import TfeBackend, find_token, open_tfe, place_of, shown_address
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.answers import AnswerServer, Call, Told, answer_server

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="ours", operation="restore", who="me@here", version="", now=NOW)


def state(serial: int) -> bytes:
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "terraform_version": "1.11.4"}).encode()


class Platform:
    """The workspace API, as far as the adapter needs it."""

    def __init__(self, api: AnswerServer) -> None:
        self.url = api.url
        self.holder: dict[str, str] | None = None
        self.versions: list[bytes] = []
        self.run_status = "applying"

    def answer(self, call: Call) -> Told:
        path = call.path.partition("?")[0].removeprefix("/api/v2")
        if call.method == "GET":
            return self._get(path)
        assert call.headers["content-type"] == "application/vnd.api+json"
        assert call.headers["authorization"] == "Bearer tfe-secret"
        return self._post(path, call)

    def _get(self, path: str) -> Told:
        if path == "/organizations/acme/workspaces/prod":
            data = {
                "id": "ws-1",
                "attributes": {"locked": self.holder is not None},
                "relationships": {"locked-by": {"data": self.holder}},
            }
            return Told(body={"data": data})
        if path.startswith("/runs/"):
            attributes = {"status": self.run_status, "created-at": "2026-11-24T02:00:00Z"}
            return Told(body={"data": {"attributes": attributes}})
        if path.startswith("/archive/"):
            return Told(body=self.versions[int(path.rpartition("/")[2]) - 1])
        rows = [self._version(number) for number in range(len(self.versions), 0, -1)]
        if path == "/workspaces/ws-1/current-state-version":
            return Told(body={"data": rows[0]}) if rows else Told(status=404)
        if path == "/state-versions":
            return Told(body={"data": rows})
        found = [row for row in rows if path == f"/state-versions/{row['id']}"]
        return Told(body={"data": found[0]}) if found else Told(status=404)

    def _post(self, path: str, call: Call) -> Told:
        if path == "/workspaces/ws-1/actions/lock":
            if self.holder is not None:
                return Told(status=409)
            self.holder = {"type": "users", "id": "user-me"}
        elif path in ("/workspaces/ws-1/actions/unlock", "/workspaces/ws-1/actions/force-unlock"):
            self.holder = None
        elif path == "/workspaces/ws-1/state-versions":
            attributes = json.loads(call.body)["data"]["attributes"]
            body = base64.b64decode(attributes["state"])
            assert attributes["md5"] == hashlib.md5(body, usedforsecurity=False).hexdigest()
            if self.versions and attributes["serial"] <= json.loads(self.versions[-1])["serial"]:
                return Told(status=409)
            self.versions.append(body)
        else:
            return Told(status=404)
        return Told(body={"data": {}})

    def _version(self, number: int) -> dict[str, Any]:
        attributes = {
            "created-at": f"2026-11-24T02:{number:02d}:00Z",
            "size": len(self.versions[number - 1]),
            "hosted-state-download-url": f"{self.url}/api/v2/archive/{number}",
        }
        return {"id": f"sv-{number}", "attributes": attributes}


FOUND = Found(
    type="cloud",
    settings={"hostname": "tfe.example.com", "organization": "acme", "workspaces.name": "prod"},
)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def platform(api: AnswerServer) -> Platform:
    made = Platform(api)
    api.answer = made.answer
    return made


@pytest.fixture
def backend(api: AnswerServer, platform: Platform) -> TfeBackend:
    environ = {"TF_TOKEN_tfe_example_com": "tfe-secret"}
    return open_tfe(FOUND, environ=environ, home=Path("/nonexistent"), base=f"{api.url}/api/v2")


async def test_a_run_of_the_platform_that_holds_is_named_with_its_status(
    platform: Platform, backend: TfeBackend
) -> None:
    assert await backend.read_locks() == ()
    platform.holder = {"type": "runs", "id": "run-7"}
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.condition) == ("run-7", "run applying")
    assert lock.info.endswith("/app/acme/prod/runs/run-7")
    assert lock.created_at == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


async def test_a_user_that_holds_is_named_without_a_host(platform: Platform, backend: TfeBackend) -> None:
    platform.holder = {"type": "users", "id": "user-9"}
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who, lock.operation) == ("user-9", "user-9@", "locked by user")


async def test_the_workspace_is_forced_open_only_while_the_same_holds(platform: Platform, backend: TfeBackend) -> None:
    platform.holder = {"type": "runs", "id": "run-7"}
    (lock,) = await backend.read_locks()
    platform.holder = {"type": "runs", "id": "run-8"}
    with pytest.raises(TerraformLockMoved, match="run-7"):
        await backend.delete_lock(lock)
    assert platform.holder == {"type": "runs", "id": "run-8"}
    platform.holder = {"type": "runs", "id": "run-7"}
    await backend.delete_lock(lock)
    assert await backend.read_locks() == ()
    with pytest.raises(TerraformLockMoved):
        await backend.delete_lock(lock)


async def test_state_versions_are_read_and_written_with_what_the_platform_checks(
    platform: Platform, backend: TfeBackend
) -> None:
    assert await backend.read_state() is None
    held = await backend.take_lock(OURS)
    first = await backend.write_state(state(1), expected=None)
    second = await backend.write_state(state(2), expected=first)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(state(3), expected=first)
    with pytest.raises(LockHeld):
        await backend.write_state(state(2), expected=second)
    await backend.give_lock(held)
    assert platform.holder is None
    versions = await backend.history()
    assert [(version.id, version.current) for version in versions] == [("sv-2", True), ("sv-1", False)]
    assert await backend.read_version("sv-1") == state(1)
    with pytest.raises(UsageError):
        await backend.read_version("sv-9")


async def test_a_workspace_that_is_locked_is_not_locked_again(platform: Platform, backend: TfeBackend) -> None:
    platform.holder = {"type": "runs", "id": "run-7"}
    with pytest.raises(LockHeld) as refused:
        await backend.take_lock(OURS)
    assert refused.value.facts["lock_id"] == "run-7"


async def test_a_workspace_that_is_not_there_is_a_usage_error(api: AnswerServer, backend: TfeBackend) -> None:
    api.answer = lambda _: Told(status=404)
    with pytest.raises(UsageError, match=r"tfe\.example\.com/acme/prod does not exist"):
        await backend.read_locks()


def test_the_token_is_found_as_terraform_finds_it_and_never_shown(tmp_path: Path) -> None:
    assert find_token("app.terraform.io", {"TF_TOKEN_app_terraform_io": "a"}, tmp_path) == "a"
    assert find_token("my-tfe.example.com", {"TF_TOKEN_my__tfe_example_com": "b"}, tmp_path) == "b"
    assert find_token("app.terraform.io", {}, tmp_path) is None
    (tmp_path / ".terraform.d").mkdir()
    stored = {"credentials": {"app.terraform.io": {"token": "c"}}}
    (tmp_path / ".terraform.d" / "credentials.tfrc.json").write_text(json.dumps(stored))
    assert find_token("app.terraform.io", {}, tmp_path) == "c"
    with pytest.raises(UsageError, match="no token"):
        open_tfe(FOUND, environ={}, home=tmp_path)


@pytest.mark.parametrize(
    ("settings", "workspace", "shown"),
    [
        ({"organization": "acme", "workspaces.name": "prod"}, "default", "app.terraform.io/acme/prod"),
        ({"organization": "acme", "workspaces.prefix": "app-"}, "prod", "app.terraform.io/acme/app-prod"),
        ({"organization": "acme"}, "prod", "app.terraform.io/acme/prod"),
    ],
)
def test_the_workspace_is_named_as_terraform_names_it(settings: dict[str, str], workspace: str, shown: str) -> None:
    assert shown_address(Found(type="remote", settings=settings, workspace=workspace)) == shown


@pytest.mark.parametrize("settings", [{"organization": "acme"}, {"workspaces.name": "prod"}])
def test_an_incomplete_block_is_a_usage_error(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="not complete"):
        place_of(Found(type="cloud", settings=settings))
