"""The configuration on disk as a plan would hold it, and the folders that a plan names."""

import json
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.run.plan_comparison import find_foreign_folder, read_checkout
from interlock.run.planned_files import HeldFiles, HeldModule
from interlock.run.workspace import LOCK_FILE, Workspace, open_workspace
from interlock.source.tree import Tool


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    module, run = tmp_path / "module", tmp_path / "home" / "runs" / "r"
    module.mkdir()
    run.mkdir(parents=True)
    (module / "main.tf").write_text("# root\n")
    return open_workspace(module, home=tmp_path / "home", run_folder=run, in_place=True, binary_mark="fake", environ={})


def download(workspace: Workspace, name: str, text: str) -> None:
    """Put a module where `terraform init` would, and name it in its list."""
    folder = workspace.data_dir / "modules" / name
    folder.mkdir(parents=True)
    (folder / "main.tf").write_text(text)
    entries = [
        {"Key": "", "Source": "", "Dir": "."},
        {"Key": name, "Source": f"team/{name}/x", "Version": "1.0.0", "Dir": str(folder)},
    ]
    (workspace.data_dir / "modules" / "modules.json").write_text(json.dumps({"Modules": entries}))


def held(**folders: str) -> HeldFiles:
    return HeldFiles(modules={name: HeldModule(folder=folder, files={}) for name, folder in folders.items()}, lock=None)


def test_a_checkout_is_its_root_module_its_downloaded_modules_and_its_lock(workspace: Workspace) -> None:
    download(workspace, "users", "# users\n")
    (workspace.directory / LOCK_FILE).write_text("# lock\n")
    (workspace.directory / "notes.md").write_text("no configuration\n")
    found = read_checkout(workspace, Tool.TERRAFORM)
    assert {name: dict(module.files) for name, module in found.modules.items()} == {
        "": {"main.tf": b"# root\n"},
        "users": {"main.tf": b"# users\n"},
    }
    assert (found.modules["users"].source, found.modules["users"].version) == ("team/users/x", "1.0.0")
    assert found.lock == b"# lock\n"


def test_each_tool_reads_its_own_files(workspace: Workspace) -> None:
    (workspace.directory / "main.tofu").write_text("# for tofu\n")
    assert set(read_checkout(workspace, Tool.TERRAFORM).modules[""].files) == {"main.tf"}
    assert set(read_checkout(workspace, Tool.TOFU).modules[""].files) == {"main.tofu"}


def test_what_cannot_be_read_is_not_taken_for_absent(workspace: Workspace) -> None:
    (workspace.directory / "gone.tf").symlink_to("nowhere")
    with pytest.raises(UsageError):
        read_checkout(workspace, Tool.TERRAFORM)


@pytest.mark.promise("P10", "P11")
@pytest.mark.parametrize(
    ("theirs", "text", "harmless"),
    [
        ("{own}", None, True),
        ("/elsewhere/r0/data/modules/users", None, True),
        ("{tmp}/modules/users", "# users\n", True),
        ("{tmp}/modules/users", "# other\n", False),
        ("{tmp}/evil/users", "# users\n", False),
        ("/elsewhere/evil/users", None, False),
    ],
    ids=["ours", "of a run that is gone", "same files", "other files", "other place", "other place, gone"],
)
def test_a_module_may_come_from_another_runs_download_with_the_same_files_and_from_nowhere_else(
    workspace: Workspace, tmp_path: Path, theirs: str, text: str | None, harmless: bool
) -> None:
    download(workspace, "users", "# users\n")
    here = read_checkout(workspace, Tool.TERRAFORM)
    folder = theirs.format(own=here.modules["users"].folder, tmp=tmp_path)
    if text is not None:
        Path(folder).mkdir(parents=True)
        (Path(folder) / "main.tf").write_text(text)
    found = find_foreign_folder(held(users=folder), here, workspace)
    assert (found is None) is harmless
    if found is not None:
        assert found.subject == "module users"
