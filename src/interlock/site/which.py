"""Which state is meant: the only place that turns what a person typed, or what a run was ordered for, into a state.

Every command asks here, so no two of them can mean different states by one word (promise P11). A hand: it reads
folders, and asks what this home remembers.

What a person may type, in the order in which it is tried:

1. a path (with `/` at its beginning, `.`, `~`): the folder of a root module;
2. an address: `interlock:NAME`, `s3://bucket/key`;
3. a name that interlock.yaml gives: the state of its directory, wherever that is;
4. the name of a state that is kept here, or of the queue of one that stays elsewhere;
5. a folder without such a path: the state of its root module;
6. the id of a run, or of a lock: the state that it is for;
7. any other name: a state of Interlock's own backend that does not exist yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.coordinator.names import DEFAULT_WORKSPACE, check_state_name, in_workspace, root_and_workspace
from interlock.errors import UsageError, command
from interlock.settings.values import Settings
from interlock.site.identity import default_state_names
from interlock.site.in_sight import may_be_elsewhere, tool_for
from interlock.site.ref import Existing, Own, StateRef, is_lock_id, is_run_id, own_address
from interlock.source.tree import Tool, is_configuration

if TYPE_CHECKING:
    from interlock.existing import Found
    from interlock.home.interface import Home
    from interlock.home.known import KnownState
    from interlock.site.finding import Located

_LISTED = 5  # states that are named where one has to be chosen


async def resolve(subject: str, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state that a person means.

    One on which runs cannot work can be looked at and repaired all the same, as long as it is certain where it is; see
    `StateRef.for_runs`.

    Raises:
        UsageError: The name is not a state name, the folder cannot be read, it is uncertain where its state is, or more
            than one state may be meant.
    """
    folder = find_root_module(subject)
    if folder is not None and (is_path(subject) or not is_state_name(subject)):
        return await _of_folder(folder, home, environ)
    if is_path(subject):
        raise UsageError(
            f"{subject[:200]} is not the folder of a root module",
            why="there is no such folder, or no configuration in it",
            fix="name the folder that holds the .tf files, or a state: interlock state ls",
        )
    if ":" in subject:
        return await _of_address(subject, home, environ)
    return await _of_name(subject, folder, home, environ)


async def check_heard_of(ref: StateRef, home: Home) -> None:
    """Refuse a name under which nothing ever was: of a typo everything could be said, also that it is whole.

    Raises:
        UsageError: Nobody ever queued or stored anything under it, and no root module is known for it.
    """
    declared = ref.queue.partition("@")[0] in home.settings.states
    if ref.is_own and ref.directory is None and not declared and not await home.keeps(ref.queue):
        raise UsageError(
            f"there is no state {ref.queue}",
            why="nothing was ever queued or stored under this name",
            fix=command("state", "ls"),
        )


async def names_of(subject: str, home: Home, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return queue and address of the state that a person means, for what is only looked up by them.

    What was done to a state is told also when its folder is gone by now.

    Raises:
        UsageError: See `resolve`.
    """
    try:
        ref = await resolve(subject, home, environ)
    except UsageError:
        queue = home.state_of_run(subject) if is_run_id(subject) else None
        known = await home.known(queue or subject)
        if known is None:
            raise
        return known.queue, known.address
    return ref.queue, ref.address


def ref_of_run(
    directory: Path,
    settings: Settings,
    environ: Mapping[str, str],
    extra: Sequence[str] = (),
    *,
    tool: Tool | None = None,
    named: str | None = None,
) -> StateRef:
    """Return the state on which a run in `directory` works.

    Args:
        directory: The root module, absolute.
        settings: Those that hold there.
        environ: The environment in which Terraform would run.
        extra: The user's flags for Terraform.
        tool: The program that would run; None to look which one that is.
        named: The state as given by `--state`.

    Raises:
        UsageError: It is not certain where the state is, or `--state` names another one than the configuration does.
    """
    usual = named or settings.state_for(directory)
    match _locate(directory, environ, extra, tool=tool, terraform=settings.terraform, state=usual):
        case None:
            return _own_of(directory, settings, named, in_place=False, workspace=DEFAULT_WORKSPACE)
        case located:
            return _of_located(located, directory, settings, named, tuple(extra))


def _of_located(
    located: Located, directory: Path, settings: Settings, named: str | None, extra: tuple[str, ...]
) -> StateRef:
    from interlock.site import finding

    if isinstance(located, finding.KeptByUs):
        return _own_of(directory, settings, named, in_place=located.in_place, workspace=located.workspace)
    if isinstance(located, finding.Refused) and not located.is_certain:
        raise located.error
    refusal = located.error if isinstance(located, finding.Refused) else None
    ref = _existing_ref(located.found, directory, refusal=refusal, flags=_flags_in(extra))
    if named not in (None, ref.queue, settings.state_for(directory)):  # generated jobs use the name of interlock.yaml
        if refusal is not None:  # no run works on it by any name; this says how the state gets the one meant
            raise refusal
        raise UsageError(
            f"--state {named} does not name this state",
            why=f"the configuration's own backend decides which one it is: {ref.queue}",
            fix="leave out --state",
        )
    return ref


def own_ref(state: str, *, directory: Path | None = None) -> StateRef:
    """Return a state of Interlock's own backend by its name.

    Raises:
        UsageError: It is not a state name.
    """
    where = Own(workspace=root_and_workspace(check_state_name(state))[1])
    return StateRef(queue=state, address=own_address(state), where=where, directory=directory)


def _own_of(
    directory: Path, settings: Settings, named: str | None, *, in_place: bool, workspace: str = DEFAULT_WORKSPACE
) -> StateRef:
    """Return the state of a root module in a workspace; `NAME@WORKSPACE` names both."""
    usual = default_state_names(directory) if named is None else ()
    root, meant = root_and_workspace(check_state_name(named or settings.state_for(directory) or usual[0]))
    if meant != DEFAULT_WORKSPACE and workspace not in {meant, DEFAULT_WORKSPACE}:
        raise UsageError(
            f"--state {named} names workspace {meant}, and {workspace} is chosen",
            why="TF_WORKSPACE or an earlier `workspace select` chose it",
            fix=f"leave out --state, or set TF_WORKSPACE={meant}",
        )
    space = workspace if meant == DEFAULT_WORKSPACE else meant
    name = in_workspace(root, space)
    former = tuple(in_workspace(each, space) for each in usual if each != root)
    where = Own(in_place=in_place, former=former, workspace=space)
    return StateRef(queue=name, address=own_address(name), where=where, directory=directory)


def _existing_ref(found: Found, directory: Path, *, refusal: UsageError | None, flags: tuple[str, ...]) -> StateRef:
    from interlock.existing.opening import address_of
    from interlock.site.naming import name_of_address

    address = address_of(found, directory)
    if address is None:
        if refusal is not None:
            raise refusal
        raise UsageError(f"where the state of {directory} is cannot be told", fix=command("doctor", directory))
    return StateRef(
        queue=name_of_address(found.type, address),
        address=address,
        where=Existing(found=found, refusal=refusal, flags=flags),
        directory=directory,
    )


# -- folders ----------------------------------------------------------------------------------------------------------


async def _of_folder(folder: Path, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state of a root module as a run in it would find it; with the flags of an earlier run if it must."""
    directory = folder.resolve()
    settings = home.settings_in(directory, environ)
    ref = await declared_in(directory, home, environ)
    if isinstance(ref.where, Existing) and _is_left_over(ref.where.found):
        own = _own_of(directory, settings, None, in_place=False)
        if _local_state_is_empty(directory) or await home.has_version(own.queue):
            return own
    return ref


async def declared_in(directory: Path, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state that the configuration in a folder leads to, with the flags of an earlier run if it must.

    Raises:
        UsageError: It is not certain which one that is.
    """
    settings = home.settings_in(directory, environ)  # those of the folder: a run in it reads the same
    try:
        return ref_of_run(directory, settings, environ)
    except UsageError as error:
        return await _as_before(directory, home, environ, error)


async def _as_before(directory: Path, home: Home, environ: Mapping[str, str], error: UsageError) -> StateRef:
    """Return the state that earlier runs in a folder worked on with flags that were typed for them.

    Raises:
        UsageError: There is none, or more than one.
    """
    known = [each for each in await home.known_in(directory) if each.flags]
    if not known:
        raise error
    if len(known) > 1:
        names = [each.queue for each in known[:_LISTED]]
        raise UsageError(
            f"{directory} is the root module of {len(known)} states",
            why=f"its backend is completed by flags, and runs here used {', '.join(names)}",
            fix=f"name the state, such as {names[0]}",
        )
    return reopened(known[0], home, environ)


def _is_left_over(found: Found) -> bool:
    """Say whether only a file of an undeclared local backend lies in the folder."""
    return found.type == "local" and not found.is_declared


def _local_state_is_empty(directory: Path) -> bool:
    left = directory / "terraform.tfstate"
    return not left.is_file() or not left.stat().st_size


def _own_folder(state: str, folder: Path, home: Home, environ: Mapping[str, str]) -> Path | None:
    """Return the folder when it is the root module of this very state of ours, and not merely of the same name."""
    directory = folder.resolve()
    with suppress(UsageError):
        ref = ref_of_run(directory, home.settings_in(directory, environ), environ)
        if ref.is_own and ref.queue == state:
            return directory
    return None


# -- names ------------------------------------------------------------------------------------------------------------


async def _of_name(name: str, folder: Path | None, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state with a name; a folder of that name comes after the states that are there."""
    declared = home.settings.states.get(name.partition("@")[0])
    if declared is not None and declared.directory is not None:
        return await _of_declared(name, declared.directory, home, environ)
    check_state_name(name)
    if declared is not None or await home.keeps(name):
        return own_ref(name, directory=None if folder is None else _own_folder(name, folder, home, environ))
    if (known := await home.known(name)) is not None:
        return reopened(known, home, environ)
    if folder is not None:
        return await _of_folder(folder, home, environ)
    return await _of_id(name, home, environ)


async def _of_declared(name: str, folder: Path, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state to which interlock.yaml gives a name: that of its directory, wherever it is."""
    if folder.is_dir() and holds_configuration(folder):
        ref = await _of_folder(folder, home, environ)
        return ref if not ref.is_own else replace(own_ref(name, directory=ref.directory), where=_in_space(ref, name))
    if await home.keeps(name):
        return own_ref(name)
    raise UsageError(
        f"the directory of state {name} holds no configuration here: {folder}",
        why="interlock.yaml says that it is the state's root module, and only that says where the state is",
        fix="run the command in a checkout that has it, or correct `directory` in interlock.yaml",
    )


def _in_space(ref: StateRef, name: str) -> Own:
    """Return where a state of ours is by what was found of its folder, in the workspace that its name says."""
    assert isinstance(ref.where, Own)
    return replace(ref.where, workspace=root_and_workspace(name)[1])


async def _of_address(address: str, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state with an address, as commands print it."""
    kind, _, rest = address.partition(":")
    if f"{kind}:" == own_address("") and not rest.startswith("//"):
        return own_ref(rest)
    if (known := await home.known(address)) is not None:
        return reopened(known, home, environ)
    if "://" not in address:
        check_state_name(address)
    raise UsageError(
        f"no state at {address[:200]} is known here",
        why="a state on another backend is reached through the configuration that declares it",
        fix="name the folder of its root module",
    )


def reopened(known: KnownState, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return a state elsewhere that was worked with, found again from one of the folders that it was found from.

    Raises:
        UsageError: None of them leads to it any more; or they lead to states of one address on several servers.
    """
    if not known.type:
        return own_ref(known.queue)
    there = [Path(folder) for folder in known.folders if _is_folder(folder)]
    by_store: dict[str, StateRef] = {}
    for directory in there:
        with suppress(UsageError, OSError):
            settings = home.settings_in(directory, environ)
            ref = ref_of_run(directory, settings, _of_workspace(environ, known), known.flags)
            if ref.address == known.address and (not known.stores or ref.store in known.stores):
                by_store.setdefault(ref.store, ref)
        if by_store and len(known.stores) <= 1:
            break
    if len(by_store) > 1:
        raise _on_several(known, by_store)
    if by_store:
        return next(iter(by_store.values()))
    why = "none of these folders is there any more" if not there else "the configuration there says another place now"
    raise UsageError(
        f"state {known.queue} cannot be reached from here",
        why=f"it was used from {', '.join(known.folders[:_LISTED])}; {why}",
        fix="name the folder of its root module",
    )


def _on_several(known: KnownState, by_store: Mapping[str, StateRef]) -> UsageError:
    """Say that a name means more than one state: what is done to one of them would be taken for done to the other."""
    first = next(iter(by_store.values())).root_module
    places = [f"{ref.store or 'AWS'} ({ref.root_module})" for ref in by_store.values()]
    return UsageError(
        f"{known.queue} is the name of {len(by_store)} states",
        why=f"bucket and key are the same on {', '.join(places[:_LISTED])}",
        fix=f"name the folder of its root module: {command('lock', 'show', first)}",
    )


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # too long, or in a folder that we may not look into
        return False


def _of_workspace(environ: Mapping[str, str], known: KnownState) -> Mapping[str, str]:
    """Return the environment in which the state's workspace is chosen, whatever `.terraform` says by now."""
    return {**environ, "TF_WORKSPACE": known.workspace}


async def _of_id(text: str, home: Home, environ: Mapping[str, str]) -> StateRef:
    """Return the state of a run or of a lock; else the state of this name that is to be."""
    if is_run_id(text) and (queue := home.state_of_run(text)) is not None:
        return await resolve(queue, home, environ)
    if is_lock_id(text):
        state = await home.state_of_lock(text)
        if state is None:
            raise UsageError(
                f"no lock {text} is here",
                why="a lock of a state on another backend is found through its root module",
                fix="interlock lock ls    or name the folder of the root module",
            )
        return own_ref(state)
    return own_ref(text)


# -- words ------------------------------------------------------------------------------------------------------------


def is_path(text: str) -> bool:
    """Say whether a text is spelled as a path, so that no state can be meant: `./name`, `/x`, `..`, `~/x`, `x/`."""
    return text in {".", ".."} or text.startswith(("/", "./", "../", "~")) or text.endswith("/")


def is_state_name(text: str) -> bool:
    """Say whether a state may have this name."""
    try:
        check_state_name(text)
    except UsageError:
        return False
    return True


def find_root_module(text: str) -> Path | None:
    """Return the folder that a person names in the place of a state; None when it is the name of a state."""
    folder = Path(text)
    try:
        if not text or not folder.is_dir():
            return None
        return folder if text in {".", ".."} or holds_configuration(folder) else None
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return None


def holds_configuration(folder: Path) -> bool:
    """Say whether a folder holds Terraform or OpenTofu files."""
    return any(is_configuration(entry.name) for entry in folder.iterdir())


def _locate(
    directory: Path,
    environ: Mapping[str, str],
    extra: Sequence[str],
    *,
    tool: Tool | None,
    terraform: str | None,
    state: str | None,
) -> Located | None:
    """Return what the configuration says; None where nothing in sight speaks of a state elsewhere.

    Then it is Interlock's own, and the HCL reader need not be imported.
    """
    if not may_be_elsewhere(directory, environ, extra):
        return None
    from interlock.site.finding import locate_state

    return locate_state(directory, environ, extra, tool=tool or tool_for(directory, environ, terraform), state=state)


def _flags_in(extra: tuple[str, ...]) -> tuple[str, ...]:
    """Return the `-backend-config` flags that may be remembered: files and settings, no secrets."""
    if not extra:
        return ()
    from interlock.existing.discovery import backend_configs
    from interlock.existing.vocabulary import is_credential

    given = ((text, *text.partition("=")[::2]) for text in backend_configs(extra))
    return tuple(f"-backend-config={text}" for text, name, value in given if not is_credential(name.strip(), value))
