"""What stands in the way of a safe run."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.errors import BackendUnavailable, UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.home.interface import Home
from interlock.operate.doctor import check_folder, examine_surroundings
from interlock.operate.mending import mend
from interlock.rights import Right, Role
from interlock.rights.token import Forbidden, token_for
from interlock.settings.values import Settings
from interlock.testing.home import memory_home


@asynccontextmanager
async def broken(*, make: bool) -> AsyncIterator[Home]:
    raise BackendUnavailable("the database cannot be read")
    yield  # type: ignore[unreachable] # what makes it a generator


async def test_a_home_that_cannot_be_opened_is_one_problem_among_what_was_examined(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("")
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    settings.database.touch()
    rows = {row.name: row for row in await examine_surroundings(tmp_path, settings, broken, {"PATH": ""})}
    assert (rows["store"].result, rows["store"].text) == ("problem", "the database cannot be read")
    assert rows["settings"].result == "ok"


async def test_a_state_that_could_not_be_saved_is_named_with_what_stores_it(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("")
    home = memory_home(tmp_path / "home")
    left = home.runs / "0aaa" / "errored.tfstate"
    left.parent.mkdir(parents=True)
    left.write_text("{}")

    @asynccontextmanager
    async def opened(*, make: bool) -> AsyncIterator[EmbeddedHome]:
        yield home

    rows = await examine_surroundings(tmp_path, home.settings, opened, {"PATH": ""})
    (unsaved,) = [row for row in rows if row.name == "unsaved state"]
    assert (unsaved.result, unsaved.text) == ("problem", str(left))
    assert f"interlock state push {left}" in unsaved.fix


def test_what_is_not_a_folder_is_not_examined(tmp_path: Path) -> None:
    check_folder(tmp_path)
    with pytest.raises(UsageError):
        check_folder(tmp_path / "none")


GENESYS = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
provider "genesyscloud" {}
"""


@pytest.mark.parametrize(
    ("environ", "result"),
    [
        ({}, "problem"),
        ({"GENESYSCLOUD_OAUTHCLIENT_ID": "id"}, "problem"),
        ({"GENESYSCLOUD_ACCESS_TOKEN": "token"}, None),
    ],
)
async def test_a_genesys_root_without_a_login_is_a_problem(
    tmp_path: Path, environ: dict[str, str], result: str | None
) -> None:
    (tmp_path / "main.tf").write_text(GENESYS)
    rows = await examine_surroundings(tmp_path, Settings(home=tmp_path / "home"), broken, {"PATH": "", **environ})
    assert [row.result for row in rows if row.name == "credentials"] == ([result] if result else [])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


async def test_what_needs_no_decision_is_done_and_then_no_longer_found(checkout: Path) -> None:
    tmp_path = checkout
    (tmp_path / "main.tf").write_text("")
    (tmp_path / ".gitignore").write_text("*.log")
    home = memory_home(tmp_path / "home")
    settings = Settings(home=tmp_path / "home")

    @asynccontextmanager
    async def opened(*, make: bool) -> AsyncIterator[EmbeddedHome]:
        settings.home.mkdir(exist_ok=make)
        settings.database.touch()
        yield home

    rows = await examine_surroundings(tmp_path, settings, opened, {"PATH": ""})
    assert {row.name: row.mend for row in rows if row.mend} == {"store": "home", "git": "ignores"}
    done = await mend(rows, tmp_path, settings, opened)
    assert len(done) == 2
    assert (tmp_path / ".gitignore").read_text().splitlines()[0] == "*.log", "what stood there stays"
    again = await examine_surroundings(tmp_path, settings, opened, {"PATH": ""})
    assert not [row for row in again if row.mend]
    assert await mend(again, tmp_path, settings, opened) == []


class AtServer(EmbeddedHome):
    """A home whose server lets its token do only some things."""

    rights: frozenset[Right] = frozenset()

    async def check_may(self, right: Right, state: str) -> None:
        if right not in self.rights:
            raise Forbidden(f"ann may not {right.value} {state}", fix=token_for(Role.PLANNER, state))


@pytest.mark.parametrize(
    ("rights", "notes"),
    [
        ({Right.READ_STATE}, ["ann may not plan", "role admin"]),
        ({Right.PLAN}, ["ann may not apply", "role admin"]),
        ({Right.PLAN, Right.APPLY}, ["role admin"]),
        (set(Right), []),
    ],
)
async def test_at_a_server_it_is_said_what_the_token_may_not_do(
    tmp_path: Path, rights: set[Right], notes: list[str]
) -> None:
    (tmp_path / "main.tf").write_text("")
    near = memory_home(tmp_path / "home")
    settings = replace(near.settings, server="https://interlock.example.com")
    home = AtServer(near.settings, near.store, near.coordinator, clock=near.clock, ids=near.ids)
    home.rights = frozenset(rights)

    @asynccontextmanager
    async def opened(*, make: bool) -> AsyncIterator[EmbeddedHome]:
        yield home

    rows = await examine_surroundings(tmp_path, settings, opened, {"PATH": ""})
    said = [row.text for row in rows if row.result == "note" and row.name in {"token", "store"}]
    assert len(said) == len(notes)
    assert all(note in text for note, text in zip(notes, said, strict=True))
