"""A file that we write for a user goes where its name says: no link is followed, no owner and no mode is kept."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.cli import ci, deps, init
from interlock.errors import InterlockError, UsageError
from interlock.existing import Found
from interlock.existing.local import LocalBackend
from interlock.run import reviewed_plan
from interlock.run.planned_for import Label
from interlock.source.disk import replace_file, write_file
from interlock.terraform.lockinfo import LockInfo

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


def by_plan(path: Path) -> None:
    plan = path.parent.parent / f"{path.parent.name}.tfplan"
    plan.write_bytes(b"new")
    reviewed_plan.keep_plan(plan, path, Label(state="s"))


def by_deps(path: Path) -> None:
    deps._deliver("new", path)


def by_ci_generate(path: Path) -> None:
    ci._write(path.parent, {path.name: "new"}, {path.name: "create"}, force=True)


def by_ci_reviewed(path: Path) -> None:
    ci._replace(path, b"new")


def by_itself(path: Path) -> None:
    write_file(path, b"new")


WRITERS: list[Callable[[Path], None]] = [by_plan, by_deps, by_ci_generate, by_ci_reviewed, by_itself]


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def write(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    writer: Callable[[Path], None] = request.param
    return writer


@pytest.mark.promise("P10")
def test_a_link_that_somebody_left_does_not_lead_the_file_elsewhere(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("old")
    out.symlink_to(victim)
    write(out)
    assert victim.read_text() == "old"
    assert not out.is_symlink()
    assert out.read_bytes() == b"new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "victim"]


@pytest.mark.promise("P10")
def test_a_file_that_others_hold_open_does_not_get_the_content(tmp_path: Path, write: Callable[[Path], None]) -> None:
    out = tmp_path / "out"
    out.write_text("")
    out.chmod(0o666)
    os.link(out, tmp_path / "second")
    with out.open("rb") as theirs:
        write(out)
        assert theirs.read() == b""
    assert (tmp_path / "second").read_bytes() == b""
    assert out.stat().st_mode & 0o022 == 0


@AS_ROOT
@pytest.mark.promise("P10")
def test_the_owner_of_the_file_before_does_not_own_the_new_one(tmp_path: Path, write: Callable[[Path], None]) -> None:
    out = tmp_path / "out"
    out.write_text("")
    os.chown(out, 4242, 4242)
    write(out)
    assert out.stat().st_uid == 0


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InterlockError if write is not by_itself else OSError):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.write_text("old")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_file(out, b"new")
    assert out.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_a_private_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "out", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


@pytest.mark.promise("P10")
def test_a_link_of_a_checkout_does_not_lead_init_or_a_local_lock_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "interlock.yaml").symlink_to(victim)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError, match="exists"):
        init.init(folder, just_print=False, schema=False, force=False)
    init.init(folder, just_print=False, schema=False, force=True)
    assert not victim.exists()
    backend = LocalBackend(folder / "terraform.tfstate", found=Found(type="local"))
    backend.info_path.symlink_to(victim)
    lock = asyncio.run(backend.take_lock(LockInfo(id="7c0e", operation="apply", who="me@here")))
    asyncio.run(backend.give_lock(lock))
    assert not victim.exists()


@pytest.mark.promise("P10")
def test_a_fix_does_not_follow_a_link_out_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    (tmp_path / "victim.tf").write_text("old")
    (folder / "own.tf").write_text("old")
    (folder / "out.tf").symlink_to(tmp_path / "victim.tf")
    (folder / "in.tf").symlink_to("own.tf")
    monkeypatch.chdir(folder)
    replace_file("in.tf", b"new")
    assert ((folder / "own.tf").read_text(), (folder / "in.tf").is_symlink()) == ("new", True)
    with pytest.raises(InterlockError, match=r"out\.tf could not be written"):
        replace_file("out.tf", b"new")
    assert (tmp_path / "victim.tf").read_text() == "old"
