"""Which state is meant: every form of words, and the same answer to each of them (promise P11)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import UsageError
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.home.known import KnownState
from interlock.lock import Requested
from interlock.run.summary import SUMMARY
from interlock.settings.reading import load
from interlock.settings.values import Settings
from interlock.site.opening import remember
from interlock.site.ref import Existing, StateRef
from interlock.site.which import ref_of_run, resolve

pytestmark = pytest.mark.promise("P11")

S3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key = "app.tfstate"\n    region = "eu-west-1"\n  }\n}\n'
PARTIAL = 'terraform {\n  backend "s3" {\n    region = "eu-west-1"\n  }\n}\n'
HTTP = 'terraform {\n  backend "http" {}\n}\n'
NONE = 'resource "terraform_data" "a" {}\n'
QUEUE = "s3/states/app.tfstate"
ADDRESS = "s3://states/app.tfstate"
LOCK = "6f1c0d1e-7a35-4b0f-9d52-0a7d5e7f1c11"
RUN = "1kdc7q2m50123abc"


class House:
    """A folder with interlock.yaml in it, where commands are typed, and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {"INTERLOCK_HOME": str(folder / "home"), "HOME": str(folder)}
        (folder / ".git").mkdir()

    def module(self, name: str, text: str) -> Path:
        where = self.folder / name
        where.mkdir(parents=True, exist_ok=True)
        (where / "main.tf").write_text(text)
        return where.resolve()

    def settings(self) -> Settings:
        return load(self.folder, self.environ)

    def ask(self, subject: str, environ: Mapping[str, str] | None = None, *acts: Any) -> StateRef:
        """Return what is meant, after `acts` on the home."""

        async def answer() -> StateRef:
            async with open_home(self.settings()) as home:
                for act in acts:
                    await act(home)
                return await resolve(subject, home, {**self.environ, **(environ or {})})

        return asyncio.run(answer())


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House(tmp_path)


def held(state: str, lock_id: str | None = None) -> Any:
    async def act(home: EmbeddedHome) -> None:
        request = Requested(
            ticket=home.coordinator.new_ticket(), who="ann@ci", lease_s=60.0, patience_s=60.0, lock_id=lock_id
        )
        await home.coordinator.request(state, request)

    return act


def used(house: House, folder: Path, *flags: str, environ: Mapping[str, str] | None = None) -> Any:
    """Work with the state of a folder, as a run does."""

    async def act(home: EmbeddedHome) -> None:
        surroundings = {**house.environ, **(environ or {})}
        await remember(ref_of_run(folder, load(folder, surroundings), surroundings, flags), home)

    return act


def yaml(house: House, text: str) -> None:
    (house.folder / "interlock.yaml").write_text(f"version: 1\nstates:\n{text}")


def test_a_name_that_nobody_used_is_a_state_of_our_own(house: House) -> None:
    ref = house.ask("prod/routing")
    assert (ref.queue, ref.address, ref.is_own, ref.directory) == ("prod/routing", "interlock:prod/routing", True, None)


FORMS = ["prod", "./s3mod", "s3mod", "s3mod/", QUEUE, ADDRESS]


@pytest.mark.parametrize("subject", [*FORMS, "ABSOLUTE", RUN])
def test_every_form_of_words_for_a_state_elsewhere_means_that_state(house: House, subject: str) -> None:
    folder = house.module("s3mod", S3)
    yaml(house, "  prod: {directory: s3mod}\n")
    (house.folder / "home/runs" / RUN).mkdir(parents=True)
    started = datetime(2026, 11, 30, tzinfo=UTC).isoformat()
    (house.folder / "home/runs" / RUN / SUMMARY).write_text(
        f'{{"run": "{RUN}", "state": "{QUEUE}", "operation": "apply", "who": "a", "directory": "{folder}",'
        f' "phase": "done", "started_at": "{started}"}}'
    )
    ref = house.ask(str(folder) if subject == "ABSOLUTE" else subject, None, used(house, folder))
    assert (ref.queue, ref.address, ref.directory) == (QUEUE, ADDRESS, folder)
    assert isinstance(ref.where, Existing)
    assert ref.for_runs() is ref


@pytest.mark.parametrize("subject", ["prod", "./own", "own", "own/", "interlock:prod", LOCK])
def test_every_form_of_words_for_a_state_of_our_own_means_that_state(house: House, subject: str) -> None:
    house.module("own", NONE)
    yaml(house, "  prod: {directory: own}\n")
    ref = house.ask(subject, None, held("prod", LOCK))
    assert (ref.queue, ref.address, ref.is_own) == ("prod", "interlock:prod", True)


def test_a_state_of_exactly_this_name_goes_before_a_folder_and_a_path_means_the_folder(house: House) -> None:
    house.module("cc", S3)
    assert house.ask("cc").queue == QUEUE
    assert house.ask("cc", None, held("cc")).queue == "cc"
    assert house.ask("./cc").queue == QUEUE


def test_two_names_of_one_folder_stay_two_states(house: House) -> None:
    house.module("own", NONE)
    yaml(house, "  a: {directory: own}\n  b: {directory: own}\n")
    assert [house.ask(each).queue for each in ("a", "b", "own")] == ["a", "b", "a"]


def test_the_settings_of_a_folder_name_its_state_wherever_the_command_is_typed(house: House) -> None:
    other = house.folder / "other"
    folder = house.module("other/cc", NONE)
    (other / "interlock.yaml").write_text("version: 1\nstates:\n  theirs: {directory: cc}\n")
    assert house.ask(str(folder)).queue == "theirs"
    assert ref_of_run(folder, load(folder, house.environ), house.environ).queue == "theirs"


def test_a_backend_that_is_completed_by_flags_is_found_again_without_them(house: House) -> None:
    folder = house.module("cc", PARTIAL)
    flags = ("-backend-config=bucket=states", "-backend-config=key=app.tfstate", "-backend-config=secret_key=hush")
    with pytest.raises(UsageError):
        house.ask("./cc")
    assert house.ask("./cc", None, used(house, folder, *flags)).queue == QUEUE
    known = _known(house)
    assert "hush" not in repr(known)
    assert house.ask(QUEUE).queue == QUEUE
    more = ("-backend-config=bucket=states", "-backend-config=key=two.tfstate")
    with pytest.raises(UsageError, match="root module of 2 states"):
        house.ask("./cc", None, used(house, folder, *more))
    assert house.ask("s3/states/two.tfstate").address == "s3://states/two.tfstate"


def test_a_workspace_is_part_of_which_state_is_meant_and_is_remembered(house: House) -> None:
    folder = house.module("cc", S3)
    green = {"TF_WORKSPACE": "green"}
    queue = house.ask("./cc", green, used(house, folder, environ=green)).queue
    assert queue.startswith("s3/states/env-/green/app.tfstate-")
    assert house.ask(queue).address == "s3://states/env:/green/app.tfstate"


def test_a_queue_whose_folder_went_or_says_another_place_is_told_and_never_answered_with_an_empty_state(
    house: House,
) -> None:
    folder = house.module("cc", S3)
    house.ask("./cc", None, used(house, folder))
    (folder / "main.tf").write_text(S3.replace("app.tfstate", "other.tfstate"))
    with pytest.raises(UsageError, match="cannot be reached from here") as moved:
        house.ask(QUEUE)
    assert str(folder) in moved.value.why
    (folder / "main.tf").unlink()
    folder.rmdir()
    with pytest.raises(UsageError, match="cannot be reached from here"):
        house.ask(ADDRESS)


@pytest.mark.parametrize(
    "subject", ["./nothing", "/nowhere/at/all", "s3://states/unknown", LOCK, "a b", "a" * 300, "interlock:"]
)
def test_what_means_no_state_is_refused_with_a_way_on(house: House, subject: str) -> None:
    with pytest.raises(UsageError) as refused:
        house.ask(subject)
    assert refused.value.fix


def test_a_name_whose_directory_is_not_here_is_refused_unless_its_state_is_here(house: House) -> None:
    yaml(house, "  prod: {directory: gone}\n")
    with pytest.raises(UsageError, match="holds no configuration here"):
        house.ask("prod")
    assert house.ask("prod", None, held("prod")).queue == "prod"


def test_state_on_the_command_line_may_not_name_another_state_than_the_backend_does(house: House) -> None:
    folder = house.module("cc", S3)
    settings = load(folder, house.environ)
    assert ref_of_run(folder, settings, house.environ, named=QUEUE).queue == QUEUE
    with pytest.raises(UsageError, match="does not name this state"):
        ref_of_run(folder, settings, house.environ, named="prod")


def test_state_on_the_command_line_may_be_the_name_that_interlock_yaml_gives_the_root(house: House) -> None:
    folder = house.module("cc", S3)
    yaml(house, "  prod/routing: {directory: cc}\n")
    settings = load(folder, house.environ)
    assert ref_of_run(folder, settings, house.environ, named="prod/routing").queue == QUEUE
    with pytest.raises(UsageError, match="does not name this state"):
        ref_of_run(folder, settings, house.environ, named="prod/users")


def test_a_state_on_which_no_run_can_work_can_be_looked_at_all_the_same(house: House) -> None:
    house.module("pg", 'terraform {\n  backend "pg" {\n    conn_str = "postgres://u:p@db.example/x"\n  }\n}\n')
    ref = house.ask("./pg")
    assert not ref.is_own
    assert "u:p" not in repr((ref.queue, ref.address))
    assert ref.for_runs() == ref
    house.module("http", 'terraform {\n  backend "http" {\n    address = "https://h/state"\n  }\n}\n')
    other = house.ask("./http", {"TF_WORKSPACE": "staging"})
    with pytest.raises(UsageError, match="runs cannot use"):
        other.for_runs()


def test_a_local_state_that_we_do_not_know_is_not_ours_until_we_have_one(house: House) -> None:
    folder = house.module("cc", NONE)
    (folder / "terraform.tfstate").write_text("{}")
    assert house.ask("./cc").address == str(folder / "terraform.tfstate")
    (folder / "terraform.tfstate").write_text("")  # what init -migrate-state leaves
    assert house.ask("./cc").is_own


def test_an_empty_http_backend_is_our_own_unless_the_environment_says_where(house: House) -> None:
    house.module("cc", HTTP)
    assert house.ask("./cc").is_own
    ref = house.ask("./cc", {"TF_HTTP_ADDRESS": "https://u:p@h/state/x?t=s"})
    assert ref.address == "https://h/state/x"


@pytest.mark.parametrize("environ", [{}, {"TF_DATA_DIR": "dd"}])
def test_a_backend_that_an_earlier_init_recorded_is_never_answered_with_our_own_empty_state(
    house: House, environ: dict[str, str]
) -> None:
    folder = house.module("cc", NONE)
    record = folder / environ.get("TF_DATA_DIR", ".terraform") / "terraform.tfstate"
    record.parent.mkdir()
    record.write_text('{"version": 3, "backend": {"type": "http", "config": {"address": "https://x.example/s"}}}')
    with pytest.raises(UsageError, match="recorded backend") as refused:
        house.ask("./cc", environ)
    assert "init -migrate-state -force-copy; interlock state push --state" in (refused.value.fix or "")


@pytest.mark.promise("P11")
def test_a_chosen_workspace_is_another_state_of_the_same_root_module(house: House) -> None:
    house.module("cc", NONE)
    plain = house.ask("./cc").queue
    assert house.ask("./cc", {"TF_WORKSPACE": "green"}).queue == f"{plain}@green"
    (house.folder / "cc" / ".terraform").mkdir()
    (house.folder / "cc" / ".terraform" / "environment").write_text("blue")
    assert house.ask("./cc").queue == f"{plain}@blue"
    assert house.ask("./cc", {"TF_WORKSPACE": "default"}).queue == plain
    with pytest.raises(UsageError, match="not a state name"):
        house.ask("./cc", {"TF_WORKSPACE": "../x"})


def _known(house: House) -> list[KnownState]:
    async def answer() -> list[KnownState]:
        async with open_home(house.settings()) as home:
            return await home.states.all()

    return asyncio.run(answer())


def test_a_remembered_folder_that_cannot_be_looked_at_is_told_like_one_that_is_gone(house: House) -> None:
    async def strange(home: EmbeddedHome) -> None:
        seen_at = datetime(2026, 3, 1, tzinfo=UTC)
        await home.states.remember(
            KnownState(queue=QUEUE, address=ADDRESS, type="s3", folders=("/" + "x" * 5000,), seen_at=seen_at)
        )

    with pytest.raises(UsageError, match="cannot be reached"):
        house.ask(QUEUE, None, strange)


def at(url: str) -> str:
    return S3.replace('region = "eu-west-1"', f'region = "eu-west-1"\n    endpoints = {{ s3 = "{url}" }}')


def test_one_address_on_two_servers_is_two_states_and_the_name_alone_means_neither(house: House) -> None:
    first = house.module("first", at("http://one.example:9000"))
    second = house.module("second", at("http://two.example:9000"))
    with pytest.raises(UsageError, match="is the name of 2 states") as told:
        house.ask(QUEUE, None, used(house, first), used(house, second))
    assert "one.example:9000" in told.value.why
    assert house.ask("./first").directory == first
    assert house.ask("./second").directory == second


def test_a_remembered_folder_that_leads_to_another_server_now_is_told(house: House) -> None:
    folder = house.module("cc", S3)
    assert house.ask(QUEUE, None, used(house, folder)).directory == folder
    house.module("cc", at("http://attacker.example"))
    with pytest.raises(UsageError, match="cannot be reached"):
        house.ask(QUEUE)


def test_a_record_without_stores_is_believed_as_before(house: House) -> None:
    folder = house.module("cc", at("http://one.example"))

    async def older(home: EmbeddedHome) -> None:
        seen_at = datetime(2026, 3, 1, tzinfo=UTC)
        await home.states.remember(
            KnownState(queue=QUEUE, address=ADDRESS, type="s3", folders=(str(folder),), seen_at=seen_at)
        )

    assert house.ask(QUEUE, None, older).directory == folder
