"""The folder that Terraform works in, made without changing the user's tree.

A root module without a backend block of our kind is run from a *tree*: a folder in Interlock's home whose entries are
links to the user's files, plus one override file that says `backend "http" {}`. The folders above are mirrored as links
too, so `../modules/x` means the same. `path.cwd` is the user's folder, since Terraform is started there with `-chdir`.
Trees are numbered per root module and one process at a time uses a number, so runs one after the other see the same
absolute path. Each run has a TF_DATA_DIR of its own, filled from an earlier initialisation when nothing that matters
for `terraform init` changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interlock.bounded import read_json
from interlock.errors import UsageError, command
from interlock.late_pattern import late_bytes
from interlock.run.private_file import open_private
from interlock.secrecy import PartlyShown
from interlock.source.tree import is_configuration
from interlock.trust.ownership import make_folder

OVERRIDE_NAME = "interlock_override.tf"
IMPORTS_NAME = "interlock_imports.tf"  # blocks for which Terraform generates configuration, for one command of a scan
HEADING = "# Written by Interlock for one run; the user's own files are not touched.\n"
OVERRIDE = HEADING + 'terraform {\n  backend "http" {}\n}\n'
OVERRIDE_IN_SPACE = HEADING + 'terraform {\n  backend "local" {}\n}\n'
"""For a workspace of a state of ours, of which Terraform's HTTP backend knows none; see ADR 402."""
SPACES = "terraform.tfstate.d"
"""Where Terraform's local backend keeps workspaces; the state of a run in one is there while it works."""
ERRORED = "errored.tfstate"
LOCK_FILE = ".terraform.lock.hcl"
_SEED_FORMAT = 2  # of what is kept of an initialisation; 1 had no lock file, so nothing of it can be used
_DATA = Path(".terraform")  # what Terraform calls its data folder when nobody says otherwise
_HIDDEN = frozenset(
    {
        ".terraform",
        f"{LOCK_FILE}.new",
        ERRORED,
        OVERRIDE_NAME,
        IMPORTS_NAME,
        SPACES,
        "terraform.tfstate",
        "terraform.tfstate.backup",
    }
)
_MODULE_CALL = late_bytes(rb'(?<![.\w])module["\s]')
_MIRROR_LIMIT = 5000  # entries of one folder above the root module; a fuller one is not mirrored
_TREES = 10_000  # runs of one root module at once on one machine
_INPUT_BYTES = 64 << 20  # of .tf files hashed for the key of an initialisation


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Workspace:
    """Where one run's Terraform works.

    Attributes:
        directory: The user's root module; Terraform's working directory when it starts.
        folder: What `-chdir` names; `directory` itself when no override is needed.
        data_dir: TF_DATA_DIR of this run.
        seed: Where the initialisation is kept for later runs.
        held: Open file whose lock reserves the tree; None when there is no tree.
        recorded: What an earlier `terraform init` of the user's recorded of the backend; empty when that is ours.
        backend: Type of the backend that Terraform must find in the configuration.
        place: Settings of it that Terraform must record, by name; None for one that must not be set.
        base: What the override file of the tree says without a gateway.
        init_flags: Flags for `init` beside the user's: they say where the backend's files are, seen from any folder.
    """

    directory: Path
    folder: Path
    data_dir: Path
    seed: Path
    held: int | None = field(default=None, repr=False)
    recorded: bytes = field(default=b"", repr=False)
    backend: str = "http"
    place: Mapping[str, str | None] = field(default_factory=lambda: {"address": None})
    base: str = OVERRIDE
    init_flags: tuple[str, ...] = ()

    @property
    def errored(self) -> Path:
        """Where Terraform leaves a state that it could not save."""
        return self.folder / ERRORED

    @property
    def is_seeded(self) -> bool:
        """Whether there is an earlier initialisation; it may be gone when it is needed."""
        return (self.seed / "complete").exists()

    def seeded(self) -> bool:
        """Fill the data folder from an earlier initialisation; False when there is none."""
        if self.is_seeded and self._copied():
            return True
        if self.recorded:  # partial configuration: init completes it from here, as it does by hand
            record = self.data_dir / "terraform.tfstate"
            record.touch(mode=0o600)
            record.write_bytes(self.recorded)
        return False

    def check_backend(self) -> None:
        """Refuse to go on with another backend than the one for which the run was made.

        What Terraform itself recorded is asked, so a declaration that our own reader overlooked never leads to a plan
        against an empty state (P11).

        Raises:
            UsageError: Terraform would read and write the state somewhere else.
        """
        recorded = _recorded(self.data_dir / "terraform.tfstate")
        config = recorded.get("config")
        told = config if isinstance(config, dict) else {}
        wrong = [name for name, value in self.place.items() if (told.get(name) or None) != value]
        if recorded.get("type") != self.backend or wrong:
            kind = recorded.get("type") or "none"
            raise UsageError(
                f'Terraform found another backend in {self.directory} than Interlock: "{kind}", not "{self.backend}"',
                why=f"nothing was planned; what differs: {', '.join(wrong) or 'the type'}",
                fix=command("doctor", self.directory),
            )

    def _copied(self) -> bool:
        try:
            os.utime(self.seed / "complete")  # it is used, so it stays; see retention.py
            self._seed_lock_file()
            shutil.copytree(self.seed / "data", self.data_dir, symlinks=True, dirs_exist_ok=True)
            modules = _moved_modules(self.data_dir, self.seed / "data", self.data_dir)
            self._relative_modules()
            if not all(self.module_folder(module["Dir"]).is_dir() for module in modules):
                raise FileNotFoundError("modules")
        except OSError:  # it was removed at this very moment
            shutil.rmtree(self.data_dir, ignore_errors=True)
            self.data_dir.mkdir(mode=0o700)
            return False
        return True

    def initialised(self) -> None:
        """Keep what a successful `terraform init` made for later runs; make module paths relative again."""
        self._relative_modules()
        if (self.seed / "complete").exists():
            return
        fresh = self.seed.with_name(f"{self.seed.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        make_folder(fresh)
        if (self.data_dir / "providers").is_dir() and not (self.data_dir / "providers").is_symlink():
            (self.data_dir / "providers").rename(fresh / "providers")  # hundreds of megabytes: moved once, linked after
            (self.data_dir / "providers").symlink_to(self.seed / "providers")
        shutil.copytree(self.data_dir, fresh / "data", symlinks=True)
        _moved_modules(fresh / "data", self.data_dir, self.seed / "data")
        if lock := self.selected():
            shutil.copyfile(lock, fresh / LOCK_FILE)
        (fresh / "complete").write_text(
            str(self.directory), encoding="utf-8"
        )  # whose it is: few of one module are kept
        self._publish(fresh)

    def selected(self) -> Path | None:
        """Return the lock file that `init` wrote into the tree; None where it changed nothing, or there is no tree."""
        lock = self.folder / LOCK_FILE
        return lock if self.folder != self.directory and lock.is_file() and not lock.is_symlink() else None

    def _seed_lock_file(self) -> None:
        """Put back the lock file of the earlier initialisation: a plan names the providers that it selects.

        Without it Terraform knows the provider's files and no version of it, and no saved plan can be applied.
        """
        kept = self.seed / LOCK_FILE
        if self.folder != self.directory and kept.is_file():
            # In one step: on a full disk the user's own would be gone, and `init` would select other versions.
            fresh = self.folder / f"{LOCK_FILE}.new"
            shutil.copyfile(kept, fresh)
            fresh.replace(self.folder / LOCK_FILE)

    def _publish(self, fresh: Path) -> None:
        """Put the new initialisation in its place. When another run was first, ours is used by us alone."""
        try:
            fresh.rename(self.seed)
        except OSError:
            link = self.data_dir / "providers"
            if link.is_symlink() and not link.exists():
                link.unlink()
                link.symlink_to(fresh / "providers")

    def module_folder(self, written: str) -> Path:
        """Return where the files of a module are which Terraform's list of modules names so."""
        downloaded = self.folder != self.directory and written.startswith(f"{_DATA}/")
        return self.data_dir / written.removeprefix(f"{_DATA}/") if downloaded else self.directory / written

    def _relative_modules(self) -> None:
        """Name modules as plain Terraform does: relative to the root module.

        Terraform records absolute paths of those reached through links, and of downloaded ones in our data folder,
        which is another one in each run. Every attribute built from `path.module` would change.
        """
        manifest = self.data_dir / "modules" / "modules.json"
        if self.folder == self.directory or not manifest.exists():
            return
        document = read_json(manifest.read_bytes())
        for module in document.get("Modules", []):
            if Path(module["Dir"]).is_absolute():
                module["Dir"] = self._relative(Path(module["Dir"]))
        manifest.write_text(json.dumps(document), encoding="utf-8")
        if any(module["Dir"].startswith(f"{_DATA}/") for module in document.get("Modules", [])):
            self._link_modules()

    def _relative(self, folder: Path) -> str:
        for data_dir in (self.data_dir, self.data_dir.resolve()):
            if folder.is_relative_to(data_dir):
                return str(_DATA / folder.relative_to(data_dir))
        return os.path.relpath(folder, self.directory)

    def _link_modules(self) -> None:
        """Let downloaded modules be found in the tree, and nothing else of our data: a provider may pack its folder."""
        (self.folder / _DATA).mkdir(mode=0o700, exist_ok=True)
        link = self.folder / _DATA / "modules"
        link.unlink(missing_ok=True)
        link.symlink_to(self.data_dir / "modules")

    def give_back(self) -> list[str]:
        """Move what was created beside the configuration to the user's folder, where it would be without a tree."""
        return [] if self.folder == self.directory else _give_back(self.folder, self.directory)

    def close(self) -> None:
        """Free the tree for the next run."""
        if self.held is not None:
            with suppress(OSError):
                os.close(self.held)
            self.held = None


def space_of(folder: Path, workspace: str) -> Path:
    """Return where the state of a workspace is while a run in it works."""
    return folder / SPACES / workspace / "terraform.tfstate"


class OwnBackend(PartlyShown, frozen=True, kw_only=True):
    """The configuration's own backend, which a run uses as it is.

    Attributes:
        type: Terraform's word for it.
        place: The settings that say where the state is, as Terraform must record them.
        recorded: The user's `.terraform/terraform.tfstate`; empty when there is none.
        mark: Everything else that decides what `terraform init` records: flags, files, workspace, credentials.
        init_flags: See `Workspace.init_flags`.
        override: What the tree's override says.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"recorded", "mark"})

    type: str
    place: Mapping[str, str | None]
    recorded: bytes = b""
    mark: bytes = b""
    init_flags: tuple[str, ...] = ()
    override: str = HEADING


def open_workspace(
    directory: Path,
    *,
    home: Path,
    run_folder: Path,
    in_place: bool,
    binary_mark: str,
    environ: Mapping[str, str],
    own: OwnBackend | None = None,
) -> Workspace:
    """Make the workspace of one run.

    Args:
        directory: The user's root module, absolute.
        home: Interlock's home.
        run_folder: The run's own folder.
        in_place: The configuration declares an empty `backend "http" {}` itself, so no tree is needed unless modules
            may be downloaded: only a tree can name them as plain Terraform does.
        binary_mark: Identity of the Terraform binary.
        environ: The environment; TF_CLI_CONFIG_FILE and TF_PLUGIN_CACHE_DIR matter for initialisations.
        own: The configuration's own backend, when the run uses that; then the tree's override leaves it alone.
    """
    in_place = in_place and not _may_download(directory)
    key = initialisation_key(directory, binary_mark, environ, in_place=in_place, own=own)
    data_dir = run_folder / "data"
    data_dir.mkdir(parents=True, exist_ok=True)
    folder, held = (directory, None) if in_place else _take_tree(directory, home)
    if own is not None and held is not None:
        write_override(folder, own.override)
    return Workspace(
        directory=directory,
        folder=folder,
        data_dir=data_dir,
        seed=home / "cache" / "init" / key,
        held=held,
        recorded=own.recorded if own is not None else b"",
        backend=own.type if own is not None else "http",
        place=own.place if own is not None else {"address": None},
        base=own.override if own is not None else OVERRIDE,
        init_flags=own.init_flags if own is not None else (),
    )


def _may_download(directory: Path) -> bool:
    """Say whether any module is called: what is in the user's folder may call others that are downloaded."""
    files = (path for path in directory.iterdir() if is_configuration(path.name))
    return any(_MODULE_CALL.search(path.read_bytes()) for path in files if path.is_file())


def _moved_modules(data_dir: Path, before: Path, now: Path) -> list[dict[str, str]]:
    """Let Terraform's list of modules name downloaded ones in the folder where they are now; return the list.

    Terraform records absolute paths. Those of an ended run made every later one fail: its folder is gone.
    """
    manifest = data_dir / "modules" / "modules.json"
    if not manifest.exists():
        return []
    document = read_json(manifest.read_bytes())
    modules: list[dict[str, str]] = document.get("Modules", [])
    for module in modules:
        if Path(module["Dir"]).is_relative_to(before):
            module["Dir"] = str(now / Path(module["Dir"]).relative_to(before))
    manifest.write_text(json.dumps(document), encoding="utf-8")
    return modules


def _recorded(path: Path) -> Mapping[str, object]:
    """Return what `terraform init` recorded of the backend; empty when it recorded nothing that can be read."""
    try:
        document = read_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    backend = document.get("backend") if isinstance(document, dict) else None
    return backend if isinstance(backend, dict) else {}


def write_override(folder: Path, text: str) -> None:
    """Write the override of a tree. Only its owner may read it: it may name the run's way through the gateway."""
    path = folder / OVERRIDE_NAME
    path.unlink(missing_ok=True)
    with open_private(path) as file:
        file.write(text.encode())


def initialisation_key(
    directory: Path, binary_mark: str, environ: Mapping[str, str], *, in_place: bool, own: OwnBackend | None = None
) -> str:
    """Return a digest of everything that decides what `terraform init` does in `directory`."""
    digest = hashlib.sha256(repr((_SEED_FORMAT, str(directory), binary_mark, in_place)).encode())
    if own is not None:
        digest.update(own.recorded + b"\0" + own.mark + repr(own.init_flags).encode())
    left = _INPUT_BYTES
    config = environ.get("TF_CLI_CONFIG_FILE") or str(Path(environ.get("HOME", "/")) / ".terraformrc")
    for path in [
        *sorted(path for path in directory.iterdir() if is_configuration(path.name)),
        directory / LOCK_FILE,
        Path(config),
    ]:
        with suppress(OSError):
            content = path.read_bytes()
            left -= len(content)
            digest.update(repr((path.name, len(content))).encode() + content)
        if left < 0:
            raise UsageError(f"{directory} holds more than 64 MiB of .tf files", fix="name the root module itself")
    return digest.hexdigest()[:32]


def _take_tree(directory: Path, home: Path) -> tuple[Path, int]:
    trees = home / "trees" / hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    make_folder(trees)
    for number in range(_TREES):
        held = _reserve(trees / f"{number}.lock")
        if held is None:
            continue
        root = trees / str(number)
        folder = _mirror(directory, root)
        if folder is not None:
            return folder, held
        os.close(held)
    raise UsageError(f"{_TREES} runs of {directory} at once", fix="wait for some of them")


def _reserve(path: Path) -> int | None:
    """Lock a tree for this process and its children; None when somebody else has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _mirror(directory: Path, root: Path) -> Path | None:
    """Make or renew the links of one tree.

    Returns:
        The folder that stands for `directory`; None when a crashed run left a state in it, which recovery needs.
    """
    top = _top(directory)
    folder = root / directory.relative_to(top)
    if (folder / ERRORED).exists() or any((folder / SPACES).glob("*/terraform.tfstate")):
        return None
    try:
        if folder.is_dir():
            _give_back(folder, directory)
    except OSError:
        return (
            None  # what a killed run's Terraform created cannot be moved to the user's folder, and is not thrown away
        )
    try:
        _link_all(directory, top, root)
    except OSError:  # something else is in the way: anew
        shutil.rmtree(root, ignore_errors=True)
        _link_all(directory, top, root)
    write_override(folder, OVERRIDE)
    return folder


def _link_all(directory: Path, top: Path, root: Path) -> None:
    folder = root
    for part in ("", *directory.relative_to(top).parts):
        folder /= part
        if folder.is_symlink() or not folder.is_dir():
            # A link here, of a time when the tree began elsewhere, would lead us into the user's files to tidy them.
            folder.unlink(missing_ok=True)
            folder.mkdir()
    for above in _between(top, directory):
        towards = (directory.relative_to(above)).parts[0]
        _link_entries(above, root / above.relative_to(top), towards={towards}, limit=_MIRROR_LIMIT)
    _link_entries(directory, root / directory.relative_to(top), without=_HIDDEN, limit=None)


def _give_back(folder: Path, directory: Path) -> list[str]:
    """Move everything in `folder` that is neither a link nor ours to `directory`; return the names."""
    moved = []
    for entry in sorted(folder.iterdir()):
        if not entry.is_symlink() and entry.name not in _HIDDEN and entry.name != LOCK_FILE:
            _move_over(entry, directory / entry.name)
            moved.append(entry.name)
    return moved


def _move_over(source: Path, target: Path) -> None:
    """Move a file or folder; a folder that exists already is filled up."""
    if source.is_dir() and target.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(source)
    else:
        shutil.move(str(source), target)


def _top(directory: Path) -> Path:
    """Return how far up the tree is mirrored: the repository root, or the root of the file system without one."""
    for folder in (directory, *directory.parents):
        if (folder / ".git").exists():
            return folder
    return Path(directory.anchor)


def _between(top: Path, directory: Path) -> Iterator[Path]:
    """Yield the folders from `top` down to the parent of `directory`."""
    for folder in reversed(directory.parents):
        if folder.is_relative_to(top):
            yield folder


def _link_entries(
    source: Path,
    target: Path,
    *,
    towards: AbstractSet[str] = frozenset(),
    without: AbstractSet[str] = frozenset(),
    limit: int | None,
) -> None:
    """Let `target` have a link to each entry of `source`, and nothing else but the folders `towards` the root module.

    Links that are right stay as they are: above a root module there may be thousands, and each run would write all.
    """
    wanted = _names_in(source, limit) - towards - without
    for name in os.listdir(target):  # noqa: PTH208 - names alone, of possibly thousands
        if name in wanted and _leads_to(target / name, source / name):
            wanted.remove(name)
        elif name not in towards:
            _remove(target / name)
    for name in wanted:
        (target / name).symlink_to(source / name)


def _names_in(folder: Path, limit: int | None) -> set[str]:
    try:
        names = set(os.listdir(folder))  # noqa: PTH208 - as above
    except PermissionError:
        return set()
    return names if limit is None or len(names) <= limit else set()


def _leads_to(link: Path, place: Path) -> bool:
    try:
        return os.readlink(link) == str(place)  # noqa: PTH115 - a thousand times
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
