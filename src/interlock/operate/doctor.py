"""Everything around a run, looked at before it: what `interlock doctor` reports."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, Protocol
from urllib.parse import unquote

from interlock.amounts import amount
from interlock.coordinator import Coordinator
from interlock.coordinator.names import key_prefix, state_of
from interlock.errors import InterlockError, UsageError, command, fill_in, fill_in_program
from interlock.hcl import read_module
from interlock.settings.values import Settings
from interlock.site.in_sight import check_reads, find_encryption, tool_for
from interlock.site.kinds import has_queue, is_queue_near
from interlock.site.opening import open_site, queue_of
from interlock.site.ref import Own, StateRef
from interlock.site.which import holds_configuration, ref_of_run
from interlock.source.disk import DiskTree
from interlock.trust.checkout import ask_git

if TYPE_CHECKING:
    from interlock.gateway.service import Terms
    from interlock.home.interface import Home
    from interlock.rights import Right
    from interlock.rights.token import Forbidden
    from interlock.run.gateway_access import Way
    from interlock.site.interface import Site

_READ = "/api/v2/authorization/divisions"  # what every deployment needs; asks for authorization:division:view
_LOW_BYTES = 1 << 30
_PROBLEMS = 5  # of a configuration that are told; `interlock lint` tells all
P = ParamSpec("P")
Result = Literal["ok", "note", "problem"]
_LOGIN = "set GENESYSCLOUD_OAUTHCLIENT_ID and GENESYSCLOUD_OAUTHCLIENT_SECRET"
IGNORED = (".terraform/", "*.tfstate", "*.tfstate.*", "crash.log")
"""What git must not take: plug-ins, states with their copies (they hold secrets), a crashed Terraform's log."""
_ELSEWHERE = "interlock doctor    in the folder of a root module"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One thing that was looked at.

    Attributes:
        name: What.
        result: `ok`, `note` (worth knowing) or `problem` (a run would fail or be unsafe).
        text: What was found, and where it comes from.
        fix: The next command; empty when there is nothing to do.
        mend: Which of `interlock.operate.mending` does it without a question; empty when only a person can decide.
    """

    name: str
    result: Result
    text: str
    fix: str = ""
    mend: str = ""


class OpenHome(Protocol):
    """Opens the home, which may fail: that is among what is examined."""

    def __call__(self, *, make: bool) -> AbstractAsyncContextManager[Home]:
        """Return it, to be entered; `make` as in `interlock.compose.homes.at_home`."""
        ...


def check_folder(directory: Path) -> None:
    """Refuse what can be no root module.

    Raises:
        UsageError: There is no such folder.
    """
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a folder",
            why="a root module is examined",
            fix=_ELSEWHERE,
        )


async def examine_surroundings(
    directory: Path, settings: Settings, open_home: OpenHome, environ: Mapping[str, str]
) -> list[Checked]:
    """Look at settings, Terraform, backend, store and earlier runs for one root module.

    Args:
        directory: The root module.
        settings: Those that hold there.
        open_home: Opens the home.
        environ: The environment of a run.
    """
    rows = [_settings(settings)]
    rows += await asyncio.to_thread(_guarded, _terraform, settings, directory, environ)
    ref = await asyncio.to_thread(_find_state, settings, directory, environ)
    if isinstance(ref, StateRef) and has_queue(ref) and not ref.is_own:
        rows += await _site(ref, open_home, directory)
    else:
        rows += await asyncio.to_thread(_guarded, _configuration, settings, directory, ref)
        rows += await _store(settings, open_home, ref, directory)
    rows += await _api(settings, directory, environ, shares=_shares(ref))
    rows += await asyncio.to_thread(_ignores, directory)
    rows += _left_behind(settings)
    from interlock.run.binary import typed_program

    program = typed_program(settings.terraform, environ)
    return [replace(row, fix=fill_in_program(row.fix, program)) for row in rows]


def _find_state(settings: Settings, directory: Path, environ: Mapping[str, str]) -> StateRef | InterlockError:
    try:
        return ref_of_run(directory.resolve(), settings, environ)
    except InterlockError as error:
        return error


def _guarded(look: Callable[P, list[Checked]], *args: P.args, **kwargs: P.kwargs) -> list[Checked]:
    try:
        return look(*args, **kwargs)
    except InterlockError as error:
        return [failed(look.__name__.strip("_"), error.naming(str(args[1])))]


def failed(name: str, error: InterlockError) -> Checked:
    """Return what could not be looked at, as a problem."""
    text = f"{error.what}{f': {error.why}' if error.why else ''}"
    return Checked(name=name, result="problem", text=text, fix=fill_in(error.fix, "."))


def _settings(settings: Settings) -> Checked:
    origins = ", ".join(f"{name} from {origin}" for name, origin in sorted(settings.origins.items()))
    return Checked(name="settings", result="ok", text=f"home {settings.home} ({origins})")


def _terraform(settings: Settings, directory: Path, environ: Mapping[str, str]) -> list[Checked]:
    from interlock.run.binary import check_program, find_binary, version_of
    from interlock.trust.checkout import is_watched

    binary = find_binary(settings.terraform, environ)
    word = check_program(
        binary, asked=settings.terraform, directory=directory, environ=environ, watched=is_watched(environ)
    )
    version = version_of(binary, environ, cwd=directory)
    if holds_configuration(directory):
        check_reads(binary.name, directory)
    rows = [Checked(name="terraform", result="ok", text=f"{word or binary.name}, {version}")]
    encryption = find_encryption(binary.name, directory, environ) if holds_configuration(directory) else None
    if encryption is not None:
        from interlock.state.encrypted import WITHOUT_CONTENT

        text = f"OpenTofu encrypts the state or the plan ({encryption.where}): {WITHOUT_CONTENT}"
        rows.append(Checked(name="encryption", result="note", text=text))
    return rows


def _configuration(
    settings: Settings,
    directory: Path,
    ref: StateRef | InterlockError,
) -> list[Checked]:
    """Say what a run would do with the configuration, or why it would refuse it."""
    broken = _broken(settings, directory)
    if broken:
        return broken
    if isinstance(ref, InterlockError):
        raise ref
    where = ref.for_runs().where
    own = isinstance(where, Own) and where.in_place
    how = (
        'declares backend "http" {} itself, runs in place'
        if own
        else "runs in a mirror of its folder with one backend override"
    )
    named = "named in interlock.yaml" if settings.state_for(directory) else "named after the folder"
    return [
        Checked(name="configuration", result="ok", text=how),
        Checked(name="state", result="ok", text=f"{ref.queue} ({named})"),
    ]


def _broken(settings: Settings, directory: Path) -> list[Checked]:
    """Say what keeps the configuration from being read at all."""
    module = read_module(DiskTree(), str(directory))
    if not module.files and not module.problems:
        text = f"{directory.absolute()} holds no Terraform configuration"
        return [
            Checked(
                name="configuration",
                result="problem",
                text=text,
                fix=_listed_root(settings) or _ELSEWHERE,
            )
        ]
    found = [f"{p.span.path}:{p.span.line}:{p.span.column}: {p.message}" for p in module.problems[:_PROBLEMS]]
    return [Checked(name="configuration", result="problem", text=text, fix="interlock lint") for text in found]


def _listed_root(settings: Settings) -> str:
    """Return the command that looks at the first root that interlock.yaml lists; empty when it lists none."""
    roots = [one.directory for one in settings.states.values() if one.directory is not None]
    if settings.path is None or not roots:
        return ""
    first = command("doctor", settings.path.parent / roots[0])
    return f"{first}    interlock.yaml lists {amount(len(roots), 'root module')}"


async def _site(ref: StateRef, open_home: OpenHome, directory: Path) -> list[Checked]:
    """Say what a state that stays where it is needs, and where each of its settings comes from."""
    found = ref.found
    rows = [
        Checked(name="backend", result="ok", text=f'backend "{found.type}", used as it is'),
        *(
            Checked(name="backend", result="ok", text=f"{origin.name} = {origin.value} ({origin.source})")
            for origin in found.origins
        ),
        Checked(name="backend", result="ok", text=f"workspace = {found.workspace} ({found.workspace_source})"),
        *(Checked(name="backend", result="note", text=doubt) for doubt in found.doubts),
    ]
    try:
        async with open_home(make=False) as home, open_site(ref, home) as site:
            rows.append(Checked(name="state", result="ok", text=f"queues as {ref.queue}"))
            seen = await site.inspect()
            rows += [
                Checked(name=row.name, result=row.result, text=row.text, fix=fill_in(row.fix, str(directory)))
                for row in seen
            ]
            if not any(row.result == "problem" for row in seen):
                rows += await _site_lock(site)
    except InterlockError as error:
        rows.append(failed("backend", error))
    return rows


async def _site_lock(site: Site) -> list[Checked]:
    lock = (await queue_of(site).view(site.ref.queue)).lock
    foreign = await site.read_locks()
    if not foreign and not lock.holders:
        return [Checked(name="lock", result="ok", text="the state is free")]
    whose = foreign[0].who if foreign else lock.holders[0].who
    how = "Terraform's own lock" if foreign else "a grant alone"
    text = f"held by {whose} ({how}); {len(lock.waiters)} wait"
    return [Checked(name="lock", result="note", text=text, fix=command("lock", "explain", site.ref.root_module))]


def _no_store_yet(settings: Settings, directory: Path) -> Checked:
    above = next(folder for folder in settings.database.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        text, fix = f"nothing can be written in {above}", "set INTERLOCK_HOME to a folder that can be written"
        return Checked(name="store", result="problem", text=text, fix=fix)
    text = f"{settings.database} does not exist yet; the first run makes it"
    return Checked(name="store", result="note", text=text, fix=command("doctor", directory, "--fix"), mend="home")


async def _store(
    settings: Settings, open_home: OpenHome, ref: StateRef | InterlockError, directory: Path
) -> list[Checked]:
    if settings.server is not None:
        return await _server(open_home, ref)
    if not settings.database.exists():
        return [_no_store_yet(settings, directory)]
    rows: list[Checked] = []
    try:
        async with open_home(make=True) as home:
            rows += await _whole(home)
            rows.append(await _encryption(home))
            views = await home.coordinator.states()
            if isinstance(ref, StateRef) and ref.is_own:
                rows += await _queue(home.coordinator, ref.queue)
            rows.append(_room(settings, len(views)))
    except InterlockError as error:
        rows.append(failed("store", error))
    return rows


async def _server(open_home: OpenHome, ref: StateRef | InterlockError) -> list[Checked]:
    """Look at the server: whether it answers, and what is wrong in its store as far as we may know."""
    rows: list[Checked] = []
    try:
        async with open_home(make=True) as home:
            states = await home.coordinator.states()
            rows.append(Checked(name="server", result="ok", text=f"{home.place}: {amount(len(states), 'state')}"))
            rows += await _rights(home, ref)
            rows += [Checked(name="store", result="problem", text=fault.what) for fault in await home.faults()]
            if isinstance(ref, StateRef) and ref.is_own:
                rows += await _queue(home.coordinator, ref.queue)
    except InterlockError as error:
        rows.append(failed("server", error))
    return rows


async def _rights(home: Home, ref: StateRef | InterlockError) -> list[Checked]:
    """Say what the token may not do, where a run would meet it; and that the store is looked at for an admin alone."""
    from interlock.rights import Right
    from interlock.rights.roles import EVERY_STATE

    rows: list[Checked] = []
    if isinstance(ref, StateRef):
        refused = await _refusal(home, Right.PLAN, ref.queue) or await _refusal(home, Right.APPLY, ref.queue)
        if refused is not None:
            rows.append(Checked(name="token", result="note", text=refused.what, fix=refused.fix))
    if await _refusal(home, Right.ADMINISTER, EVERY_STATE):
        text = "whether it is whole is told to a token with the role admin for all states"
        rows.append(Checked(name="store", result="note", text=text))
    return rows


async def _refusal(home: Home, right: Right, state: str) -> Forbidden | None:
    from interlock.rights.token import Forbidden

    try:
        await home.check_may(right, state)
    except Forbidden as error:
        return error
    return None


async def _whole(home: Home) -> list[Checked]:
    """Look at the file and every record in it."""
    settings = home.settings
    faults = await home.faults()
    if not faults:
        return [Checked(name="store", result="ok", text=f"{settings.database} is whole")]
    return [
        Checked(name="store", result="problem", text=fault.what, fix=_remedy(fault.key, settings)) for fault in faults
    ]


async def _encryption(home: Home) -> Checked:
    """Say what of the store is encrypted."""
    vault = home.vault
    if vault is None:
        text = "nothing in the store is encrypted; see docs/howto/encrypt-the-store.md"
        return Checked(name="at rest", result="ok", text=text)
    tally, key = await vault.tally(), f"key {' or '.join(vault.ring.masters)} opens the store"
    if tally.clear:
        text = f"{amount(tally.clear, 'blob')} or records are in clear, from before encryption; {key}"
        return Checked(name="at rest", result="note", text=text, fix=command("encryption", "rewrite"))
    return Checked(name="at rest", result="ok", text=f"states, plans and credentials are encrypted; {key}")


def _remedy(key: str, settings: Settings) -> str:
    """Return what brings a damaged record back, by its key; empty for the file itself."""
    kind, _, rest = key.partition("/")
    if key.startswith(key_prefix()):
        return command("state", "repair", state_of(key))
    if kind == "chain":
        return command("state", "repair", unquote(rest))
    if kind == "gateway":
        return f"{command('plan')}    the next run begins it anew"
    if kind == "audit":
        return f"{command('audit', 'verify')}    decisions are written behind it all the same"
    return f"cp -p {settings.database} {settings.database}.damaged    then restore the file from a backup"


async def _queue(coordinator: Coordinator, state: str) -> list[Checked]:
    view = await coordinator.view(state)
    lock = view.lock
    if not lock.holders:
        return [Checked(name="lock", result="ok", text="the state is free")]
    holder = lock.holders[0]
    text = f"held by {holder.who} {holder.run}; {len(lock.waiters)} wait"
    return [Checked(name="lock", result="note", text=text, fix=command("lock", "explain", view.state))]


def _room(settings: Settings, states: int) -> Checked:
    free = shutil.disk_usage(settings.home).free
    text = f"{free >> 20} MiB free, {amount(states, 'state')}"
    if free < _LOW_BYTES:
        return Checked(name="disk", result="problem", text=text, fix="free some space: a full disk cannot take a state")
    return Checked(name="disk", result="ok", text=text)


def _shares(ref: StateRef | InterlockError) -> Checked:
    """Say with which runs those of this root module share the organisation's limits."""
    name = "limits of the organisation"
    if isinstance(ref, StateRef) and has_queue(ref) and not is_queue_near(ref):
        text = "shared with the runs of all machines whose states are in the same bucket, container, table or database"
        return Checked(name=name, result="ok", text=text)
    text = "shared with the runs of this machine only; on several machines divide gateway.budgets by hand"
    return Checked(name=name, result="note", text=text)


async def _api(settings: Settings, directory: Path, environ: Mapping[str, str], *, shares: Checked) -> list[Checked]:
    """Look at the way to the API: where the gateway leads, what passes it by, what the OAuth client may read."""
    from interlock.genesys import gateway_bypasses
    from interlock.run.gateway_access import find_need

    try:
        tool = await asyncio.to_thread(tool_for, directory, environ, settings.terraform)
        need = await asyncio.to_thread(find_need, directory.resolve(), settings, environ, tool=tool)
    except InterlockError as error:
        return [failed("gateway", error)]
    if isinstance(need, str):
        return [Checked(name="gateway", result="note", text=f"runs go without one: {need}")]
    known = tuple(each for each in need.left_alone if not each.lacks_login)
    past = ", ".join(sorted({bypass.resource for bypass in gateway_bypasses()}))
    uploads = f"some calls and uploads of {past} go straight to their hosts"
    return [
        *(_way(way, of_several=len(need.ways) > 1) for way in need.ways),
        *(Checked(name="gateway", result="note", text=words) for words in replace(need, left_alone=known).words),
        *([_no_login()] if len(known) < len(need.left_alone) else []),
        *([shares, Checked(name="past the gateway", result="note", text=uploads)] if need.ways else []),
        *[await _client(way.terms) for way in need.ways],
    ]


def _no_login() -> Checked:
    text = "the configuration uses Genesys Cloud, and neither an OAuth client nor an access token is given"
    return Checked(name="credentials", result="problem", text=text, fix=_LOGIN)


def _ignores(directory: Path) -> list[Checked]:
    """Say what of a working folder git would take with a commit; nothing outside a checkout."""
    missing = [name for name in IGNORED if not is_ignored(directory, name)]
    if not missing:
        return []
    text = f"git would commit {', '.join(missing)}: states hold secrets"
    return [Checked(name="git", result="note", text=text, fix=command("doctor", directory, "--fix"), mend="ignores")]


def is_ignored(directory: Path, pattern: str) -> bool:
    """Say whether git leaves out the files that a pattern of `IGNORED` is for; True outside a checkout."""
    if ask_git(directory, "rev-parse", "--is-inside-work-tree") != "true":
        return True
    example = pattern.replace("*", "x").replace(".x", ".backup", 1) if pattern.endswith(".*") else pattern
    example = example.replace("*", "x") + ("x" if example.endswith("/") else "")
    return bool(ask_git(directory, "check-ignore", "--no-index", example))


def _way(way: Way, *, of_several: bool) -> Checked:
    """Say where the gateway of some provider configurations leads."""
    whose = f" for {', '.join(login.label for login in way.logins)}" if of_several else ""
    text = f"stands before {way.terms.api_url}{whose}, up to {amount(way.terms.tokens, 'token')}"
    return Checked(name="gateway", result="ok", text=text)


async def _client(terms: Terms) -> Checked:
    """Log in with the OAuth client and read one thing with it."""
    from interlock.gateway.service import Gateway

    if terms.credentials is None:
        text = "known only when the provider logs in: its arguments are not certain before Terraform runs"
        return Checked(name="OAuth client", result="note", text=text)
    gateway = Gateway(replace(terms, tokens=1))
    try:
        await gateway.start("127.0.0.1", 0)
        trouble = await gateway.check_login()
        status, _ = (0, b"") if trouble else await gateway.read(_READ)
    except InterlockError as error:
        return failed("OAuth client", error)
    finally:
        await gateway.aclose()
    if status == HTTPStatus.OK:
        return Checked(name="OAuth client", result="ok", text=f"logs in and may read {_READ}")
    text = trouble or f"logs in, but reading {_READ} answers {status}"
    return Checked(
        name="OAuth client", result="problem", text=text, fix="give the client a role that may read divisions"
    )


def _left_behind(settings: Settings) -> list[Checked]:
    """Name states that could not be saved."""
    kept = sorted(settings.runs.glob("*/errored.tfstate")) if settings.runs.is_dir() else []
    return [
        Checked(
            name="unsaved state",
            result="problem",
            text=str(path),
            fix=f"{command('state', 'verify', path)}    then: {command('state', 'push', path)}",
        )
        for path in kept
    ]
