"""A root module under a new name: asked about when its state has another name, and only then (promise P11)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.coordinator.archive import Writer
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.home.known import KnownState
from interlock.lock import Requested
from interlock.rights.token import Forbidden
from interlock.settings.reading import load
from interlock.site.earlier import Earlier, find_earlier
from interlock.site.identity import default_state_names
from interlock.site.opening import remember
from interlock.site.which import own_ref

pytestmark = pytest.mark.promise("P11")
KEPT = 'resource "terraform_data" "kept" {\n  input = "kept"\n}\n'


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def module(folder: Path, text: str = KEPT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.tf").write_text(text)
    return folder.resolve()


def repository(folder: Path, *modules: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "remote", "add", "origin", "https://example.org/team/cc.git")
    for name in modules:
        module(folder / name)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def document(resources: Iterable[str], serial: int = 1) -> bytes:
    found = [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": name,
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [{"schema_version": 0, "attributes": {"id": name}}],
        }
        for name in resources
    ]
    text = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": serial,
        "lineage": "6f1c0d1e-7a35-4b0f-9d52-0a7d5e7f1c11",
        "outputs": {},
        "resources": found,
        "check_results": None,
    }
    return json.dumps(text).encode()


async def store(home: EmbeddedHome, state: str, *bodies: bytes) -> None:
    """Store versions of a state as a run does."""
    request = Requested(ticket=home.coordinator.new_ticket(), who="ann@ci", lease_s=60.0, patience_s=60.0)
    grant = await home.coordinator.acquire(state, request, timeout_s=5.0)
    writer = Writer(
        who="ann@ci", ticket=grant.ticket, token=grant.token, allowed_deletions=frozenset({"terraform_data.kept"})
    )
    for body in bodies:
        await home.archive.write(state, body, writer=writer)
    await home.coordinator.release(state, ticket=grant.ticket, token=grant.token)


def earlier(tmp_path: Path, directory: Path, *acts: Any, state: str = "now") -> Earlier | None:
    """Return which state `directory` had before, in a home after `acts`."""

    async def answer() -> Earlier | None:
        settings = load(tmp_path, {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)})
        async with open_home(settings) as home:
            for act in acts:
                await act(home)
            return await find_earlier(home, directory, default_state_names(directory), state=state)

    return asyncio.run(answer())


def used(state: str, directory: Path, *bodies: bytes) -> Any:
    async def act(home: EmbeddedHome) -> None:
        await store(home, state, *(bodies or (document(["kept"]),)))
        await remember(own_ref(state, directory=directory), home)

    return act


def test_a_module_beside_its_original_is_a_state_of_its_own_also_when_each_job_checks_out_anew(tmp_path: Path) -> None:
    amer = used("amer", repository(tmp_path / "job-1", "amer") / "amer")
    earlier(tmp_path, tmp_path, amer)
    shutil.rmtree(tmp_path / "job-1")
    checkout = repository(tmp_path / "job-2", "amer", "emea")
    assert earlier(tmp_path, checkout / "emea") is None


def test_a_module_that_was_moved_in_its_repository_is_asked_about(tmp_path: Path) -> None:
    amer = used("amer", repository(tmp_path / "job-1", "amer") / "amer")
    earlier(tmp_path, tmp_path, amer)
    shutil.rmtree(tmp_path / "job-1")
    checkout = repository(tmp_path / "job-2", "america")
    found = earlier(tmp_path, checkout / "america")
    assert found is not None
    assert found.state == "amer"


def test_a_state_that_was_emptied_by_destroy_is_not_asked_about(tmp_path: Path) -> None:
    folder = module(tmp_path / "cc")
    emptied = used("before", folder, document(["kept"]), document([], serial=2))
    assert earlier(tmp_path, folder, emptied) is None


def test_a_damaged_state_is_asked_about_as_one_with_content(tmp_path: Path) -> None:
    folder = module(tmp_path / "cc")

    async def damage(home: EmbeddedHome) -> None:
        home.archive.current = unreadable  # type: ignore[method-assign]

    async def unreadable(state: str) -> None:
        from interlock.errors import StateInvalid

        raise StateInvalid(f"state {state} is damaged")

    found = earlier(tmp_path, folder, used("before", folder), damage)
    assert found is not None
    assert found.state == "before"


def test_a_name_that_a_token_of_a_server_may_not_read_keeps_nobody_from_the_state_that_it_is_for(
    tmp_path: Path,
) -> None:
    """With interlock.yaml a module had another name before; a token for `prod/**` is for none that a folder gives."""
    folder = module(tmp_path / "cc")

    async def forbid(home: EmbeddedHome) -> None:
        home.has_version = forbidden  # type: ignore[method-assign]

    async def forbidden(state: str) -> bool:
        raise Forbidden(f"token t may not read-state {state}", why="it has the role runner for the states prod/**")

    assert default_state_names(folder), "there is a name to look for"
    assert earlier(tmp_path, folder, forbid, state="prod/routing") is None


@pytest.mark.parametrize("folders", [(), ("",), ("\0",), ("/" + "x" * 5000,), ("\n\x1b[31m/gone",)])
def test_a_record_without_a_folder_that_can_be_looked_at_breaks_nothing(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    checkout = repository(tmp_path / "checkout", "cc")

    async def strange(home: EmbeddedHome) -> None:
        await store(home, "before", document(["kept"]))
        record = KnownState(
            queue="before",
            address="interlock:before",
            folders=folders,
            module="cc",
            seen_at=SystemClock().now(),
            repositories=("origin:example.org/team/cc",),
        )
        await home.states.remember(record)

    found = earlier(tmp_path, checkout / "cc", strange)
    assert found is not None
    assert found.state == "before"
    assert found.why.isprintable()


def test_a_folder_that_cannot_be_looked_at_does_not_stop_the_question(tmp_path: Path) -> None:
    here = module(tmp_path / "moved")

    async def strange(home: EmbeddedHome) -> None:
        await store(home, "before", document(["kept"]))
        await home.states.remember(
            KnownState(
                queue="before",
                address="interlock:before",
                folders=("/" + "x" * 5000,),
                seen_at=SystemClock().now(),
            )
        )

    found = earlier(tmp_path, here, strange)
    assert found is not None


def test_another_repository_at_the_path_where_every_job_checks_out_is_a_state_of_its_own(tmp_path: Path) -> None:
    mount = tmp_path / "src"
    earlier(tmp_path, tmp_path, used("routing", repository(mount, "cc") / "cc"))
    shutil.rmtree(mount)
    repository(mount, "cc")
    git(mount, "remote", "set-url", "origin", "https://example.org/team/telephony.git")
    (mount / "cc" / "main.tf").write_text('resource "terraform_data" "line" {}\n')
    git(mount, "commit", "-q", "-a", "--amend", "-m", "another")
    assert earlier(tmp_path, (mount / "cc").resolve()) is None


def test_a_repository_that_was_renamed_in_place_is_asked_about(tmp_path: Path) -> None:
    mount = tmp_path / "src"
    earlier(tmp_path, tmp_path, used("routing", repository(mount, "cc") / "cc"))
    git(mount, "remote", "set-url", "origin", "https://example.org/team/renamed.git")
    found = earlier(tmp_path, (mount / "cc").resolve())
    assert found is not None
    assert found.state == "routing"
