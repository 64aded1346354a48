import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from interlock.errors import UsageError
from interlock.run import workspace as room
from interlock.run.workspace import LOCK_FILE, OVERRIDE_NAME, Workspace, open_workspace

Opener: TypeAlias = Callable[..., Workspace]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    module = root / "envs" / "prod"
    module.mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "modules").mkdir()
    (root / "modules" / "a.txt").write_text("shared")
    (module / "main.tf").write_text('resource "terraform_data" "x" {}\n')
    (module / "prod.tfvars").write_text("x = 1\n")
    return module


@pytest.fixture
def opened(tmp_path: Path, repository: Path) -> Iterator[Opener]:
    made: list[Workspace] = []

    def make(number: int = 0, **changes: Any) -> Workspace:
        values: dict[str, Any] = {
            "home": tmp_path / "home",
            "in_place": False,
            "binary_mark": "b",
            "environ": {"HOME": str(tmp_path)},
        }
        space = open_workspace(repository, run_folder=tmp_path / "home" / "runs" / str(number), **{**values, **changes})
        made.append(space)
        return space

    yield make
    for space in made:
        space.close()


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_users_folder_is_not_touched(opened: Opener, repository: Path) -> None:
    before = listing(repository)
    opened()
    assert listing(repository) == before


def test_the_tree_links_every_file_and_adds_one_override(opened: Opener, repository: Path) -> None:
    space = opened()
    assert listing(space.folder) == [OVERRIDE_NAME, "main.tf", "prod.tfvars"]
    assert (space.folder / "main.tf").read_text() == (repository / "main.tf").read_text()
    assert 'backend "http" {}' in (space.folder / OVERRIDE_NAME).read_text()


def test_relative_paths_out_of_the_module_mean_the_same(opened: Opener) -> None:
    assert (opened().folder / ".." / ".." / "modules" / "a.txt").read_text() == "shared"


def test_a_module_with_its_own_http_backend_is_run_in_place(opened: Opener, repository: Path) -> None:
    space = opened(in_place=True)
    assert space.folder == repository
    assert space.give_back() == []


def test_runs_one_after_the_other_see_the_same_path_and_runs_at_once_do_not(opened: Opener) -> None:
    first = opened(1)
    beside = opened(2)
    first.close()
    after = opened(3)
    assert beside.folder != first.folder
    assert after.folder == first.folder


def test_the_next_run_renews_only_the_links_that_are_not_right_any_more(opened: Opener, repository: Path) -> None:
    top = repository.parents[1]
    first = opened()
    first.close()
    kept, above = first.folder / "main.tf", first.folder.parents[1]
    before = kept.lstat().st_ino
    (repository / "prod.tfvars").unlink()
    (repository / "new.tf").write_text("")
    (top / "tools").mkdir()
    (above / "left").mkdir()
    (above / "modules").unlink()
    (above / "modules").symlink_to(top / "envs")
    second = opened(1)
    assert second.folder == first.folder
    assert kept.lstat().st_ino == before
    assert listing(second.folder) == [OVERRIDE_NAME, "main.tf", "new.tf"]
    assert listing(above) == [".git", "envs", "modules", "tools"]
    assert (above / "modules").readlink() == top / "modules"


@pytest.mark.promise("P3")
def test_a_link_on_the_way_of_a_tree_never_leads_the_tidying_into_the_users_files(
    opened: Opener, repository: Path
) -> None:
    first = opened()
    first.close()
    on_the_way = first.folder.parent
    shutil.rmtree(on_the_way)
    on_the_way.symlink_to(repository.parent)
    second = opened(1)
    assert second.folder == first.folder
    assert not on_the_way.is_symlink()
    assert listing(repository) == ["main.tf", "prod.tfvars"]
    assert listing(second.folder) == [OVERRIDE_NAME, "main.tf", "prod.tfvars"]


def test_a_tree_with_a_state_that_was_not_saved_is_left_for_recovery(opened: Opener) -> None:
    first = opened(1)
    first.errored.write_text("{}")
    first.close()
    second = opened(2)
    assert second.folder != first.folder
    assert first.errored.exists()


def test_files_created_by_a_crashed_run_are_given_back_not_lost(opened: Opener, repository: Path) -> None:
    first = opened(1)
    (first.folder / "made.txt").write_text("x")
    first.close()
    opened(2)
    assert (repository / "made.txt").read_text() == "x"


def test_files_created_beside_the_configuration_go_to_the_users_folder(opened: Opener, repository: Path) -> None:
    space = opened()
    (space.folder / "made.txt").write_text("x")
    (space.folder / "out").mkdir()
    (space.folder / "out" / "deep.txt").write_text("y")
    (space.folder / ".terraform.lock.hcl").write_text("lock")
    assert space.give_back() == ["made.txt", "out"]
    assert (repository / "out" / "deep.txt").read_text() == "y"
    assert not (repository / ".terraform.lock.hcl").exists()


def test_an_initialisation_is_reused_until_something_that_matters_changes(opened: Opener, repository: Path) -> None:
    first = opened(1)
    assert not first.seeded()
    (first.data_dir / "terraform.tfstate").write_text("{}")
    first.initialised()
    assert opened(2).seeded()
    (repository / "main.tf").write_text('resource "terraform_data" "y" {}\n')
    assert not opened(3).seeded()
    assert not opened(4, binary_mark="newer").seeded()


def test_providers_are_moved_once_and_linked_afterwards(opened: Opener) -> None:
    first = opened(1)
    (first.data_dir / "providers" / "p").mkdir(parents=True)
    (first.data_dir / "providers" / "p" / "binary").write_text("big")
    first.initialised()
    assert (first.data_dir / "providers" / "p" / "binary").read_text() == "big"
    second = opened(2)
    assert second.seeded()
    assert (second.data_dir / "providers").is_symlink()
    assert (second.data_dir / "providers" / "p" / "binary").read_text() == "big"


def test_a_second_initialisation_of_the_same_kind_keeps_its_providers(opened: Opener) -> None:
    first, second = opened(1), opened(2)
    for space in (first, second):
        (space.data_dir / "providers").mkdir()
        (space.data_dir / "providers" / "binary").write_text("big")
    first.initialised()
    second.initialised()
    assert (second.data_dir / "providers" / "binary").read_text() == "big"


def test_module_paths_that_terraform_made_absolute_are_relative_again(opened: Opener, repository: Path) -> None:
    space = opened()
    manifest = space.data_dir / "modules" / "modules.json"
    manifest.parent.mkdir()
    shared = str(repository.parent.parent / "modules")
    fetched = str(space.data_dir / "modules" / "remote")
    manifest.write_text(json.dumps({"Modules": [{"Dir": "."}, {"Dir": shared}, {"Dir": fetched}]}))
    (space.data_dir / "modules" / "remote").mkdir()
    space.initialised()
    names = [".", "../../modules", ".terraform/modules/remote"]
    assert [row["Dir"] for row in json.loads(manifest.read_text())["Modules"]] == names
    assert (space.folder / names[2]).samefile(fetched)


@pytest.mark.parametrize(
    ("name", "text", "is_tree"),
    [
        ("m.tf", 'module "m" {\n  source = "git::https://example.com/m"\n}\n', True),
        ("m.tf.json", '{"module": {"m": {"source": "x/y/z"}}}', True),
        ("m.tf", 'output "o" {\n  value = path.module\n}\n', False),
    ],
)
def test_a_module_that_calls_others_is_run_from_a_tree(
    opened: Opener, repository: Path, name: str, text: str, *, is_tree: bool
) -> None:
    (repository / name).write_text(text)
    assert (opened(in_place=True).folder != repository) is is_tree


def test_a_downloaded_module_has_the_same_name_in_every_run(opened: Opener) -> None:
    for number in (1, 2):
        space = opened(number)
        manifest = space.data_dir / "modules" / "modules.json"
        if not space.seeded():
            (space.data_dir / "modules" / "remote").mkdir(parents=True)
            manifest.write_text(json.dumps({"Modules": [{"Dir": str(space.data_dir / "modules" / "remote")}]}))
            space.initialised()
        assert json.loads(manifest.read_text())["Modules"] == [{"Dir": ".terraform/modules/remote"}]
        assert (space.folder / ".terraform/modules/remote").samefile(space.data_dir / "modules" / "remote")
        assert space.give_back() == []
        space.close()


@pytest.mark.promise("P11")
def test_an_initialisation_is_made_anew_when_a_file_of_opentofu_changes(opened: Opener, repository: Path) -> None:
    first = opened(1)
    (first.data_dir / "terraform.tfstate").write_text("{}")
    first.initialised()
    (repository / "more.tofu.json").write_text("{}")
    assert not opened(2).seeded()


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("recorded", "is_ours"),
    [
        ('{"backend": {"type": "http", "config": {"address": null}}}', True),
        ('{"backend": {"type": "http", "config": {"address": "https://gitlab.example/state"}}}', False),
        ('{"backend": {"type": "s3", "config": {"bucket": "b"}}}', False),
        ('{"state_store": {"type": "x"}}', False),
        ("{}", False),
        (None, False),
    ],
)
def test_what_terraform_itself_found_must_be_the_backend_of_the_run(
    opened: Opener, recorded: str | None, is_ours: bool
) -> None:
    space = opened()
    if recorded is not None:
        (space.data_dir / "terraform.tfstate").write_text(recorded)
    if is_ours:
        space.check_backend()
        return
    with pytest.raises(UsageError, match="another backend"):
        space.check_backend()


def test_a_folder_above_with_too_many_entries_is_not_mirrored(
    opened: Opener, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MIRROR_LIMIT", 0)
    space = opened()
    assert listing(space.folder.parent) == ["prod"]


def test_the_users_own_lock_file_is_still_there_when_that_of_an_initialisation_cannot_be_copied(
    opened: Opener, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / LOCK_FILE).write_text("theirs")
    first = opened(1)
    assert not first.seeded()
    (first.folder / LOCK_FILE).unlink()
    (first.folder / LOCK_FILE).write_text("selected")
    first.initialised()
    second = opened(2)

    def full(_source: Path, target: Path) -> None:
        target.write_text("sel")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    assert not second.seeded()
    assert (second.folder / LOCK_FILE).read_text() == "theirs"
    monkeypatch.undo()
    third = opened(3)
    assert third.seeded()
    assert (third.folder / LOCK_FILE).read_text() == "selected"
    assert (repository / LOCK_FILE).read_text() == "theirs"
    assert third.give_back() == []
