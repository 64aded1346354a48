"""A home that somebody else could exchange is not believed, and what we make is nobody else's."""

import os
import pwd
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.cli.main import COMMANDS, main
from interlock.errors import UsageError
from interlock.home.embedded import read_settings
from interlock.settings.reading import load
from interlock.site.identity import default_state_name
from interlock.trust.ownership import check_home, make_folder

STRANGER = 4242
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a second Unix user can only be made up by root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def refused(home: Path, **environ: str) -> UsageError:
    with pytest.raises(UsageError, match="is not yours alone") as refusal:
        read_settings({"INTERLOCK_HOME": str(home), **environ}, home)
    assert refusal.value.exit_status == 3
    assert "INTERLOCK_TRUST_HOME=1" in refusal.value.fix
    return refusal.value


@pytest.mark.promise("P3")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_home_that_others_may_write_is_refused(home: Path, mode: int) -> None:
    os.chown(home, -1, 1 if os.geteuid() == 0 else -1)
    home.chmod(mode)
    if mode == 0o770 and os.geteuid() != 0:
        pytest.skip("only root can give a folder to a group that is not its own")
    assert f"chmod go-w {home}" in refused(home).fix


@pytest.mark.promise("P3")
def test_a_home_below_a_folder_in_which_others_may_rename_it_is_refused(tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    home = open_folder / "below" / "home"
    home.mkdir(parents=True, mode=0o700)
    open_folder.chmod(0o777)
    assert f"chmod go-w {open_folder}" in refused(home).fix
    assert f"chmod go-w {open_folder}" in refused(open_folder / "not" / "yet").fix
    open_folder.chmod(0o1777)
    read_settings({"INTERLOCK_HOME": str(home)}, home)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("name", ["interlock.db", "interlock.db-wal", "interlock.db-shm", "server-token"])
def test_a_file_of_the_home_that_others_may_write_is_refused(home: Path, name: str) -> None:
    (home / name).write_bytes(b"")
    (home / name).chmod(0o666)
    assert f"chmod go-w {home / name}" in refused(home).fix


@AS_ROOT
@pytest.mark.promise("P3")
@pytest.mark.parametrize("which", [".", "interlock.db", "interlock.db-wal", "server-token"])
def test_a_home_or_a_file_in_it_that_belongs_to_somebody_else_is_refused(home: Path, which: str) -> None:
    if which != ".":
        (home / which).write_bytes(b"")
    os.chown(home / which, STRANGER, STRANGER)
    assert f"uid {STRANGER}" in refused(home).why
    assert read_settings({"INTERLOCK_HOME": str(home), "INTERLOCK_TRUST_HOME": "1"}, home).home == home


@AS_ROOT
@pytest.mark.promise("P3")
def test_a_link_of_somebody_else_does_not_lead_to_a_home(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    read_settings({"INTERLOCK_HOME": str(link)}, home)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert str(link) in refused(link).why


@AS_ROOT
@pytest.mark.promise("P3")
def test_root_is_not_led_by_the_home_of_a_user(tmp_path: Path) -> None:
    users = tmp_path / "users"
    home = users / ".local" / "state" / "interlock"
    home.mkdir(parents=True)
    os.chown(users, STRANGER, STRANGER)
    assert f"{users} belongs to uid {STRANGER}" in refused(home).why


@pytest.mark.promise("P10")
def test_a_database_is_not_reached_through_a_link_in_a_folder_that_others_may_write(home: Path, tmp_path: Path) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    ours, open_to_all = tmp_path / "disk", tmp_path / "open"
    ours.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (ours / "real.db").touch(mode=0o600)
    (ours / "near.db").symlink_to("real.db")
    (home / "interlock.db").unlink(missing_ok=True)
    (home / "interlock.db").symlink_to(ours / "near.db")
    check_home(home, ["interlock.db"])
    (ours / "near.db").unlink()
    (ours / "near.db").symlink_to(open_to_all / "far.db")
    (open_to_all / "far.db").symlink_to(ours / "real.db")
    with pytest.raises(UsageError, match="is not yours alone"):
        check_home(home, ["interlock.db"])
    (ours / "near.db").unlink()
    (ours / "near.db").symlink_to(ours / "near.db")
    with pytest.raises(UsageError, match="is not yours alone"):
        check_home(home, ["interlock.db"])


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="is not yours alone"):
        read_settings({"INTERLOCK_HOME": str(tmp_path / "loop")}, tmp_path)


@pytest.mark.parametrize("umask", [0o000, 0o777, 0o002])
def test_what_is_made_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_new_home_holds_nothing_for_others_whatever_the_umask(tmp_path: Path) -> None:
    home = tmp_path / "state" / "interlock"
    words = ["queue", "pause", "s", "--reason", "r"]
    script = f"import os, sys; os.umask(0); from interlock.cli.main import main; sys.exit(main({words}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "INTERLOCK_HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [home.parent, home, *home.rglob("*")]
    assert len(made) >= 3
    assert [path for path in made if path.stat().st_mode & 0o077] == []


_LOOKING = [
    ("lock", "ls"),
    ("lock", "explain", "s"),
    ("force-unlock", "s"),
    ("queue", "ls"),
    ("queue", "pause", "s", "--reason", "r"),
    ("runs", "ls"),
    ("runs", "show", "r"),
    ("runs", "prune"),
    ("wait", "r"),
    ("state", "ls"),
    ("state", "show", "s"),
    ("state", "history", "s"),
    ("state", "quarantine", "ls", "s"),
    ("audit", "ls"),
    ("audit", "verify"),
    ("recover", "s"),
    ("doctor", "."),
    ("init", "."),
    ("plan", "."),
    ("serve", "--listen", "127.0.0.1:0"),
    ("drift", "."),
]


@pytest.fixture
def loose(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "main.tf").write_text('resource "terraform_data" "a" {}\n')
    monkeypatch.chdir(tmp_path / "module")
    monkeypatch.setenv("INTERLOCK_HOME", str(home))
    home.chmod(0o777)
    yield home
    home.chmod(0o700)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("words", _LOOKING, ids=" ".join)
def test_no_command_opens_a_home_that_others_may_write(
    loose: Path, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert words[0] in COMMANDS
    with pytest.raises(SystemExit) as end:
        main(list(words))
    told = "".join(capfd.readouterr())
    assert "is not yours alone" in told
    assert end.value.code in {1, 3} if words[0] == "doctor" else end.value.code == 3
    assert list(loose.iterdir()) == []


@AS_ROOT
@pytest.mark.promise("P10")
def test_a_stranger_names_no_state_of_ours_by_a_file_above_our_folder(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    module = shared / "infra"
    module.mkdir(parents=True)
    shared.chmod(0o1777)
    planted = shared / "interlock.yaml"
    planted.write_text("states:\n  theirs: {directory: infra, max_deletes: 900}\n")
    os.chown(planted, STRANGER, STRANGER)
    with pytest.raises(UsageError, match="is somebody else's") as refusal:
        load(module, {})
    subprocess.run(shlex.split(refusal.value.fix.partition("    ")[0]), check=True)
    assert load(module, {}).path == module / "interlock.yaml"


@AS_ROOT
def test_a_checkout_that_a_runner_made_for_the_user_of_a_container_is_read(tmp_path: Path) -> None:
    """GitLab's helper makes all of it 0777 and 0666, and Docker's workspaces belong to the runner."""
    module = tmp_path / "build" / "module"
    module.mkdir(parents=True)
    (module.parent / "interlock.yaml").write_text("states:\n  ours: {directory: module}\n")
    for each in (module.parent, module, module.parent / "interlock.yaml"):
        os.chown(each, STRANGER, STRANGER)
        each.chmod(0o777)
    assert load(module, {}).state_for(module) == "ours"


@AS_ROOT
@pytest.mark.promise("P3")
def test_a_container_job_of_github_keeps_its_home_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its HOME is mounted and belongs to the user of the machine; every command was refused."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    monkeypatch.setattr("interlock.settings.reading.GITHUB_CONTAINER_HOME", mounted)
    os.chown(mounted, STRANGER, STRANGER)
    own = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local" / "state" / "interlock"
    assert load(tmp_path, {"HOME": str(mounted), "GITHUB_ACTIONS": "true"}).home == own
    with pytest.raises(UsageError, match="is not yours alone"):
        read_settings({"HOME": str(mounted)}, tmp_path)
    os.chown(mounted, os.geteuid(), os.getegid())
    assert load(tmp_path, {"HOME": str(mounted), "GITHUB_ACTIONS": "true"}).home.is_relative_to(mounted)


@AS_ROOT
@pytest.mark.promise("P11")
def test_a_checkout_of_somebody_else_is_not_taken_for_another_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git tells root nothing of it, so the path named the state, and an apply would have made all once more."""
    checkout, home = tmp_path / "checkout", tmp_path / "config"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SUDO_UID", raising=False)
    subprocess.run(["git", "init", "--quiet", checkout], check=True)
    subprocess.run(["git", "-C", checkout, "remote", "add", "origin", "https://git.example.com/o/r"], check=True)
    (checkout / "m").mkdir()
    name = default_state_name(checkout / "m")
    for each in (checkout, *checkout.rglob("*")):
        os.chown(each, STRANGER, STRANGER)
    with pytest.raises(UsageError, match="cannot be named after its repository") as refusal:
        default_state_name(checkout / "m")
    subprocess.run(refusal.value.fix.partition("    ")[0], shell=True, check=True)  # noqa: S602 - the line as it is printed
    assert default_state_name(checkout / "m") == name
