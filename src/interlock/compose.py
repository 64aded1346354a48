"""The only place where hands are chosen and joined: stores, clocks, ids, the environment, servers."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.ids import RandomIds
from interlock.settings import Settings, default_state_name, load, parse_duration

if TYPE_CHECKING:
    from interlock.api_way import Need, RunGateway
    from interlock.coordinator import Coordinator, View
    from interlock.coordinator.archive import StateArchive, Writer, Written
    from interlock.coordinator.local import LocalCoordinator
    from interlock.drift import Finding, Ledger, Ruling, Scan
    from interlock.drift.ledger import LedgerBook
    from interlock.drift_review import DriftReview
    from interlock.existing import Found
    from interlock.existing.bootstrap import S3Account, Wanted
    from interlock.lock import Holder
    from interlock.onsite.site import Site
    from interlock.recovery import Evidence, Verdict
    from interlock.recovery.breaker import Breaker
    from interlock.run.binary import Binary
    from interlock.run.control import Control
    from interlock.run.front_end import FrontEnd, Spare
    from interlock.run.order import Look, Operation, Order
    from interlock.run.retention import Removed, Retention
    from interlock.run.surroundings import Door, Seat
    from interlock.run.transcript import Entry, Journal
    from interlock.run.workspace import OwnBackend
    from interlock.state import Document, Quarantined, RestorePlan, Version
    from interlock.state import Retention as VersionRetention
    from interlock.store.aws import AwsAccess
    from interlock.store.sqlite import SqliteStore
    from interlock.terraform.events import AnyEvent

_BY_HAND = "by hand"
_CURRENT_S = 2.0  # how long a grant in a table is believed to be current by the run's own gateway
_PATIENCE_S = 15.0  # a waiting supervisor speaks every few seconds, so a silent one is dead
_ONSITE = (30.0, 8.0, 60.0)  # lease, heartbeat and patience beside S3: some 8 writes a minute instead of 40
_BURIAL_LOOK_S = 0.3  # how often it is seen whether a killed supervisor is gone, so that its Terraform can be stopped
_WATCH_S = 120.0  # longest that a person waits for a verdict; a plain Terraform's lease is a day
_PORT_MAX = 65_535
_TOKEN_CHARS = 16
_BACKEND_WORD = re.compile(rb'\bbackend\b|\bcloud"?\s*:?\s*[{\[]')
_CI_MARKS = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD")  # one of them is set in every CI job that we can name
_RETRY_LIMIT = "GENESYSCLOUD_CUSTOM_RETRY_TIMEOUT"  # else each missing object is looked for for five minutes
_CONFIGURATION = (".tf", ".tf.json", ".tofu", ".tofu.json")
_DIGEST_CHARS = 6  # of a digest that name a version; fewer could be a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One run as typed on the command line; see `interlock.cli.run`."""

    operation: Operation
    directory: Path
    extra: tuple[str, ...] = ()
    state: str | None = None
    wait: str | None = None
    no_wait: bool = False
    terraform: str | None = None
    json: bool = False
    auto_approve: bool = False
    plan_file: Path | None = None
    out: Path | None = None
    max_deletes: int | None = None
    allow_destroy: bool = False
    detailed_exitcode: bool = False
    no_gateway: bool = False
    deadline: str | None = None
    retries: int = 1
    drift_gate: bool = False
    look: Look | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Queue, locks and states in one SQLite file of this machine."""

    store: SqliteStore
    coordinator: LocalCoordinator
    archive: StateArchive


@asynccontextmanager
async def open_embedded(settings: Settings) -> AsyncIterator[Embedded]:
    """Open embedded mode's stores for as long as the context lasts."""
    from interlock.coordinator.archive import StateArchive
    from interlock.coordinator.local import LocalCoordinator
    from interlock.store.sqlite import SqliteStore

    clock = SystemClock()
    store = await SqliteStore.open(settings.database, clock=clock)
    try:
        coordinator = LocalCoordinator(store.records, clock, RandomIds())
        archive = StateArchive(coordinator, store.records, store.blobs, clock)
        yield Embedded(store=store, coordinator=coordinator, archive=archive)
    finally:
        await store.close()


def read_settings(environ: Mapping[str, str] | None = None, directory: Path | None = None, **flags: object) -> Settings:
    """Return the settings that hold in `directory`, by default the current one; by default in our own environment.

    Raises:
        UsageError: A value or a key is wrong, or they name a server.
    """
    settings = load(directory or Path.cwd(), os.environ if environ is None else environ, flags)
    if settings.server is not None:
        raise UsageError(
            f"runs, queues and states of a server are not part of this version: {settings.server}",
            why=f"`server` is set ({settings.origins['server']}), and nothing may go past it",
            fix="unset INTERLOCK_SERVER, or take `server:` out of interlock.yaml",
        )
    return settings


def me() -> str:
    """Return who acts, as Terraform spells it: `user@host`."""
    from interlock import host

    return host.who()


def state_name(settings: Settings, directory: Path, named: str | None) -> str:
    """Return the state of a root module: as named, as interlock.yaml says, or made from the folder's identity."""
    from interlock.coordinator import check_state_name

    return check_state_name(named or settings.state_for(directory) or default_state_name(directory))


async def states_so_far(directories: Sequence[Path]) -> list[str | None]:
    """Return the state in which each root module was kept without being named; None where there is none."""
    settings = read_settings()
    names = [default_state_name(directory) for directory in directories]
    if not settings.database.exists():
        return [None for _ in names]
    async with open_embedded(settings) as embedded:
        return [name if (await embedded.coordinator.view(name)).head is not None else None for name in names]


async def check_not_renamed(coordinator: Coordinator, order: Order) -> None:
    """Refuse to begin an empty state for a root module that interlock.yaml names and that had a state before.

    Raises:
        UsageError: Its earlier state, named after the folder, holds what a plan would create a second time.
    """
    if not order.former or (await coordinator.view(order.state)).head is not None:
        return
    if (await coordinator.view(order.former)).head is not None:
        raise UsageError(
            f"state {order.state} is empty, and {order.directory} has kept its state as {order.former} so far",
            why="a plan against the empty state would create everything a second time",
            fix=f"name it {order.former} in interlock.yaml, or: interlock state pull {order.former} > state.json; "
            f"interlock state push --state {order.state} state.json",
        )


# -- looking at and changing queues -----------------------------------------------------------------------------------


def named_state(settings: Settings, text: str) -> str:
    """Return the state that a person means: a state name, or the folder of its root module."""
    if (folder := find_root_module(text)) is not None:
        return state_name(settings, folder, None)
    from interlock.coordinator import check_state_name

    return check_state_name(text)


async def meant_state(embedded: Embedded, settings: Settings, text: str) -> str:
    """Return the state that a person means; a state of exactly this name goes before a folder, `./name` does not.

    Otherwise a run of `--state cc` in a folder above `cc` would leave a state that no command finds as `cc`.
    """
    if find_root_module(text) is None or not is_state_name(text):
        return named_state(settings, text)
    if text in settings.states or (await embedded.coordinator.view(text)).version is not None:
        return text
    return named_state(settings, text)


def is_state_name(text: str) -> bool:
    """Say whether a state may have this name."""
    from interlock.coordinator import check_state_name

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
        return folder if text in {".", ".."} or _holds_configuration(folder) else None
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return None


def _holds_configuration(folder: Path) -> bool:
    return any(entry.name.endswith(_CONFIGURATION) for entry in folder.iterdir())


async def views(state: str | None) -> list[View]:
    """Return one state, or all that anybody ever asked for."""
    settings = read_settings()
    if state is not None and (found := named_site(state)) is not None:
        async with open_site_of(found, Path(state)) as site:
            return [await site.coordinator.view(site.state)]
    if not settings.database.exists():
        return []
    async with open_embedded(settings) as embedded:
        if state is not None:
            return [await embedded.coordinator.view(await meant_state(embedded, settings, state))]
        return await embedded.coordinator.states()


async def change_lock(state: str, change: Callable[[LocalCoordinator, str], Awaitable[object]]) -> None:
    """Let `change` act on one state's lock."""
    settings = read_settings()
    if (found := named_site(state)) is not None:
        async with open_site_of(found, Path(state)) as site:
            await change(site.coordinator, site.state)
            return
    async with open_embedded(settings) as embedded:
        await change(embedded.coordinator, await meant_state(embedded, settings, state))


# -- states that stay where they are ----------------------------------------------------------------------------------


def named_site(text: str, environ: Mapping[str, str] | None = None) -> Found | None:
    """Return the backend of the root module that a person names, when its state stays there; None for our own.

    Raises:
        UsageError: The backend is incomplete or not supported.
    """
    folder = find_root_module(text)
    return None if folder is None else declared_site(folder.resolve(), os.environ if environ is None else environ)


def declared_site(directory: Path, environ: Mapping[str, str], extra: Sequence[str] = ()) -> Found | None:
    """Return what `find_site` finds in a root module; most of them need no import of the HCL reader for it."""
    if not _may_declare_backend(directory):
        return None
    from interlock.onsite.finding import find_site

    return find_site(directory, environ, extra)


def _may_declare_backend(directory: Path) -> bool:
    """Say whether any file holds the word that a backend block needs."""
    return any(_BACKEND_WORD.search(path.read_bytes()) for path in _sources(directory))


def open_site_of(found: Found, directory: Path) -> AbstractAsyncContextManager[Site]:
    """Open a state that stays where it is, with its queue."""
    from interlock.onsite.site import open_site

    return open_site(found, directory.resolve(), clock=SystemClock(), ids=RandomIds())


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapAsked:
    """What `interlock bootstrap aws` was told; what is None comes from the root module's backend."""

    directory: Path
    bucket: str | None = None
    table: str | None = None
    no_table: bool = False
    region: str | None = None
    kms_key: str | None = None
    old_versions_days: int | None = None


def wanted_of(asked: BootstrapAsked, environ: Mapping[str, str]) -> tuple[Wanted, AwsAccess]:
    """Return the bucket and table that are to be, and how AWS is reached.

    Raises:
        UsageError: Nothing names the bucket or the region.
    """
    from interlock.disk import DiskTree
    from interlock.existing import Found
    from interlock.existing.bootstrap import OLD_VERSIONS_DAYS, Wanted
    from interlock.existing.discovery import find, from_environment
    from interlock.existing.s3 import access_of

    found = find(DiskTree(), str(asked.directory), environ)
    if found.type != "s3":
        given = from_environment("s3", environ)
        found = Found(type="s3", settings=given)
    bucket, region = asked.bucket or found.text("bucket"), asked.region or found.text("region")
    if bucket is None or region is None:
        raise UsageError(
            f"nothing names the {'bucket' if bucket is None else 'region'}",
            why=f'neither a flag nor a backend "s3" in {asked.directory}',
            fix="interlock bootstrap aws --bucket NAME --region REGION [--table NAME]",
        )
    days = asked.old_versions_days
    wanted = Wanted(
        bucket=bucket,
        table=None if asked.no_table else asked.table or found.text("dynamodb_table"),
        region=region,
        kms_key=asked.kms_key or found.text("kms_key_id"),
        key=found.text("key") or "*",
        workspace_prefix=found.text("workspace_key_prefix") or "env:",
        tls_only=not (found.text("endpoints.s3") or "").startswith("http:"),
        old_versions_days=OLD_VERSIONS_DAYS if days is None else days,
    )
    return wanted, replace(access_of(found), region=region)


def open_account(wanted: Wanted, access: AwsAccess) -> S3Account:
    """Return the hand that looks at bucket and table and changes them; close it afterwards."""
    from interlock.existing.bootstrap import S3Account

    return S3Account(access, clock=SystemClock(), ids=RandomIds(), bucket=wanted.bucket, table=wanted.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What one run works with: the queue of its state, and what recovers it.

    Attributes:
        embedded: This machine's own stores: runs, budgets, and the state when it is ours.
        coordinator: The queue.
        recovery: What breaks grants of dead runs.
        site: The state when it stays where it is; None for our own backend.
    """

    embedded: Embedded
    coordinator: LocalCoordinator
    recovery: Breaker
    site: Site | None = None


@asynccontextmanager
async def open_desk(order: Order, settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Desk]:
    """Open what a run works with for as long as the context lasts."""
    async with open_embedded(settings) as embedded:
        if not order.backend:
            own = breaker(embedded, settings)
            yield Desk(embedded=embedded, coordinator=embedded.coordinator, recovery=own)
            return
        from interlock.onsite.estate import OnsiteEstate
        from interlock.onsite.finding import find_site
        from interlock.recovery.breaker import Breaker

        found = await asyncio.to_thread(find_site, Path(order.directory), environ, order.extra)
        assert found is not None, "the order was made for a state that stays where it is"
        async with open_site_of(found, Path(order.directory)) as site:
            await site.coordinator.view(site.state)  # fails early; and from now on AWS's clock is known
            clock = SystemClock()
            estate = OnsiteEstate(runs=settings.runs, archive=embedded.archive, clock=clock, backend=site.backend)
            recovery = Breaker(coordinator=site.coordinator, estate=estate, clock=clock, by=me())
            yield Desk(embedded=embedded, coordinator=site.coordinator, recovery=recovery, site=site)


@asynccontextmanager
async def holding(embedded: Embedded, settings: Settings, state: str, info: str) -> AsyncIterator[Seat]:
    """Hold a state for a person's command, renewed until the context ends; waits in the queue like any run."""
    from interlock.lock import Requested
    from interlock.run.heartbeat import keep_alive
    from interlock.run.surroundings import Seat

    request = Requested(
        ticket=embedded.coordinator.new_ticket(),
        who=me(),
        info=info,
        lease_s=settings.lease_s,
        patience_s=max(settings.lease_s, 15.0),
    )
    grant = await embedded.coordinator.acquire(state, request, timeout_s=settings.wait_s)
    renewing = asyncio.create_task(
        keep_alive(
            lambda: embedded.coordinator.renew(state, ticket=grant.ticket, token=grant.token),
            every_s=settings.heartbeat_s,
            clock=SystemClock(),
            lost=lambda _: None,  # the write itself is refused then, which is what counts
            tell=lambda _kind, _facts: None,
        )
    )
    try:
        yield Seat(ticket=grant.ticket, token=grant.token)
    finally:
        renewing.cancel()
        await embedded.coordinator.release(state, ticket=grant.ticket, token=grant.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRoom:
    """One state of embedded mode, for a person's command."""

    state: str
    settings: Settings
    embedded: Embedded

    @property
    def archive(self) -> StateArchive:
        """Where its versions are."""
        return self.embedded.archive

    async def version(self, text: str | None) -> Version:
        """Return a version: a number, `serial:N`, the beginning of a digest; None for the current one.

        Raises:
            UsageError: There is no such version.
        """
        versions = await self.archive.history(self.state)
        wanted = [v for v in versions if _is_meant(v, text)] if text else list(versions[:1])
        if not wanted:
            what = f"state {self.state} has no version {text}" if text else f"state {self.state} is empty"
            raise UsageError(what, fix=f"interlock state history {self.state}    or: interlock state ls")
        return wanted[0]

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version."""
        return await self.archive.read_version(self.state, await self.version(text))

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        from interlock.state import parse_document

        return parse_document(await self.body(text))

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before."""
        newer = await self.version(second)
        older = first or str(max(newer.number - 1, 1))
        return await self.document(older), await self.document(str(newer.number))

    async def plan_restore(self, text: str | None) -> tuple[Version, RestorePlan]:
        """Return what a restore would do; by default of the newest whole version before the current one."""
        chosen = await self.version(text) if text else await self._newest_whole()
        return chosen, await self.archive.plan_restore(self.state, chosen)

    async def _newest_whole(self) -> Version:
        from interlock.state import refusing, verify_state

        for version in (await self.archive.history(self.state))[1:]:
            if not version.is_tombstone:
                with suppress(InterlockError):
                    body = await self.archive.read_version(self.state, version)
                    if not refusing(verify_state(body)):
                        return version
        raise UsageError(f"state {self.state} has no older whole version", fix=f"interlock state history {self.state}")

    async def restore(self, version: Version) -> Written:
        """Make a version current again, under the lock."""
        async with holding(self.embedded, self.settings, self.state, "state restore") as seat:
            return await self.archive.restore(self.state, version, writer=_writer(seat))

    async def push(self, body: bytes, *, force: bool) -> Written:
        """Store a document as the next version, under the lock."""
        from interlock.state import VersionKind

        async with holding(self.embedded, self.settings, self.state, "state push") as seat:
            return await self.archive.write(
                self.state, body, writer=_writer(seat), kind=VersionKind.PUSH, force=force, note="pushed by hand"
            )

    async def quarantined(self, text: str) -> tuple[Quarantined, bytes]:
        """Return a refused write by its id or the beginning of it."""
        entries = await self.archive.quarantined(self.state)
        found = [entry for entry in entries if entry.id.startswith(text)]
        if len(found) != 1:
            raise UsageError(
                f"{len(found)} refused writes begin with {text!r}", fix=f"interlock state quarantine ls {self.state}"
            )
        return await self.archive.read_quarantined(self.state, found[0].id)

    async def quarantined_pair(self, text: str) -> tuple[Document, Document]:
        """Return the current state and a refused write."""
        from interlock.state import parse_document

        return await self.document(None), parse_document((await self.quarantined(text))[1])


def _is_meant(version: Version, text: str) -> bool:
    if text.startswith("serial:"):
        return text == f"serial:{version.serial}"
    if text.isdecimal():
        return int(text) == version.number
    return len(text) >= _DIGEST_CHARS and version.digest.startswith(text)


async def prune_state(room: StateRoom, policy: VersionRetention, *, dry_run: bool) -> tuple[Version, ...]:
    """Delete the bytes of old versions, under the lock: else a write could come to need bytes that are about to go."""
    if dry_run:
        return await room.archive.prunable(room.state, policy)
    async with holding(room.embedded, room.settings, room.state, "interlock state prune"):
        return await room.archive.prune(room.state, policy)


def _writer(seat: Seat) -> Writer:
    from interlock.coordinator.archive import Writer

    return Writer(who=me(), ticket=seat.ticket, token=seat.token)


@asynccontextmanager
async def state_room(text: str) -> AsyncIterator[StateRoom]:
    """Open embedded mode for one state, named by a person."""
    settings = read_settings()
    async with open_embedded(settings) as embedded:
        yield StateRoom(state=await meant_state(embedded, settings, text), settings=settings, embedded=embedded)


# -- holding by hand, and judging holders ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A holder, the evidence about it, and the verdict; all None or empty when nobody holds."""

    view: View
    holder: Holder | None = None
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None


async def examine(text: str) -> Examined:
    """Watch the first holder of a state for one lease, at most, and judge it. Nothing is changed."""
    from interlock.recovery import judge
    from interlock.recovery.witnesses.heartbeat import Watch

    settings, clock, watch = read_settings(), SystemClock(), Watch()
    async with open_embedded(settings) as embedded:
        state = await meant_state(embedded, settings, text)
        while True:
            view = await embedded.coordinator.view(state)
            if not view.lock.holders:
                return Examined(view=view)
            holder = view.lock.holders[0]
            still_s = watch.look(holder, monotonic_s=clock.monotonic())
            evidence = tuple(breaker(embedded, settings).gather(state, holder, still_s))
            verdict = judge(evidence)
            moved = holder.lease.beat > 0 and still_s == 0.0
            if verdict.conclusion.value != "undecided" or still_s >= min(holder.lease.lease_s, _WATCH_S) or moved:
                return Examined(view=view, holder=holder, evidence=evidence, verdict=verdict)
            await clock.sleep(0.2)


async def hold_by_hand(text: str, *, reason: str, lease: str, wait: str | None) -> tuple[str, int]:
    """Acquire a state for a person; return ticket and token. It has no heartbeat, only a long lease."""
    from interlock.lock import Requested

    settings = read_settings()
    async with open_embedded(settings) as embedded:
        request = Requested(
            ticket=embedded.coordinator.new_ticket(),
            who=me(),
            info=f"{_BY_HAND}: {reason}",
            lease_s=parse_duration(lease),
            patience_s=15.0,
        )
        wait_s = parse_duration(wait) if wait is not None else settings.wait_s
        grant = await embedded.coordinator.acquire(
            await meant_state(embedded, settings, text), request, timeout_s=wait_s
        )
        return grant.ticket, grant.token


async def release_by_hand(text: str) -> int:
    """Give back a state that was acquired by hand; return its token.

    Raises:
        UsageError: Nobody holds it.
        LockHeld: A run or a plain Terraform holds it.
    """
    from interlock.errors import LockHeld

    settings = read_settings()
    async with open_embedded(settings) as embedded:
        state = await meant_state(embedded, settings, text)
        holders = (await embedded.coordinator.view(state)).lock.holders
        if not holders:
            raise UsageError(f"nobody holds state {state}", fix=f"interlock lock show {state}")
        holder = holders[0]
        if holder.run or not holder.info.startswith(_BY_HAND):
            raise LockHeld(
                f"state {state} is held by {holder.run or holder.who}",
                why="only a lock that was acquired by hand is released by hand",
                fix=f"interlock runs cancel {holder.run}" if holder.run else f"interlock lock explain {state}",
            )
        await embedded.coordinator.release(state, ticket=holder.ticket, token=holder.token)
        return holder.token


# -- serving ----------------------------------------------------------------------------------------------------------


def serve(listen: str, token_file: str | None, say: Callable[[str], None]) -> None:
    """Serve the state backend until SIGINT or SIGTERM."""
    import uvloop

    uvloop.run(_serve(listen, token_file, say))


async def _serve(listen: str, token_file: str | None, say: Callable[[str], None]) -> None:
    import signal

    from interlock.backend.asgi import SingleToken, create_app
    from interlock.backend.serving import serving

    settings = read_settings()
    host, port = parse_listen(listen)
    token, where = _server_token(settings, token_file)
    async with open_embedded(settings) as embedded:
        app = create_app(
            embedded.coordinator,
            embedded.archive,
            clock=SystemClock(),
            ids=RandomIds(),
            tokens=SingleToken(token),
        )
        async with serving(app, host=host, port=port) as (_, bound):
            say(f"serving states on http://{host}:{bound}/state/NAME, token in {where}; Ctrl-C ends it")
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await stop.wait()


def parse_listen(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT` or `PORT` (loopback).

    Raises:
        UsageError: It is no address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _PORT_MAX:
        raise UsageError(f"{text!r} is no address to listen on", fix="write it like 127.0.0.1:8650")
    return host.strip("[]") or "127.0.0.1", int(port)


def _server_token(settings: Settings, token_file: str | None) -> tuple[str, str]:
    """Return the server's token and where a client finds it; a new one is written to a private file."""
    if token_file is None and settings.token is not None:
        return settings.token.value, "INTERLOCK_TOKEN"
    path = Path(token_file) if token_file else settings.home / "server-token"
    if not path.exists() and token_file is None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(RandomIds().secret() + "\n")
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror or "", fix="name a file with a token") from error
    if len(token) < _TOKEN_CHARS:
        raise UsageError(
            f"the token in {path} is too short", why=f"fewer than {_TOKEN_CHARS} characters", fix="use a longer one"
        )
    return token, str(path)


# -- looking at and stopping runs -------------------------------------------------------------------------------------


def find_run(text: str) -> Path:
    """Return the folder of a run: its id, the beginning of it, or `latest`.

    Raises:
        UsageError: There is no such run, or more than one.
    """
    runs = read_settings().runs
    names = sorted(entry.name for entry in runs.iterdir()) if runs.is_dir() else []
    if text == "latest" and names:
        return runs / names[-1]
    found = [name for name in names if name.startswith(text)]
    if len(found) != 1:
        what = f"no run {text!r}" if not found else f"{len(found)} runs begin with {text!r}"
        raise UsageError(what, why=f"runs are kept in {runs}", fix="interlock runs ls")
    return runs / found[0]


def cancel_run(text: str) -> str:
    """Ask a living run's supervisor to stop; return the run's id.

    Raises:
        UsageError: It has ended, or its supervisor cannot be reached from here.
    """
    import signal

    from interlock.host import Life, life_of
    from interlock.run.summary import find_summary

    folder = find_run(text)
    summary = find_summary(folder)
    supervisor = summary.processes.get("supervisor") if summary else None
    if summary is None or supervisor is None or summary.exit is not None:
        raise UsageError(f"run {folder.name} has ended already", fix=f"interlock runs show {folder.name}")
    life, why = life_of(supervisor)
    if life not in (Life.ALIVE, Life.STOPPED):
        raise UsageError(
            f"run {folder.name} cannot be asked to stop", why=why, fix=f"interlock lock explain {summary.state}"
        )
    os.kill(supervisor.pid, signal.SIGUSR1)
    return folder.name


def await_run(text: str | None, environ: Mapping[str, str], timeout: str | None) -> tuple[Path, Entry] | None:
    """Wait until a run has ended.

    Args:
        text: Which; None for the newest of this CI job, or else of the current folder.
        environ: The environment, which says what job this is.
        timeout: Longest wait as typed; None for no bound.

    Returns:
        The run's folder and its last entry; None when there is no such run.

    Raises:
        WaitTimeout: It goes on for longer than `timeout`.
    """
    folder = find_run(text) if text is not None else _own_run(environ)
    if folder is None:
        return None
    limit_s = parse_duration(timeout) if timeout is not None else None
    return folder, asyncio.run(_await_end(folder, limit_s))


def _own_run(environ: Mapping[str, str]) -> Path | None:
    from interlock.ci.job import find_job
    from interlock.run.summary import recent

    runs, job = read_settings(environ).runs, find_job(environ)
    here = str(Path.cwd().resolve())
    for summary in recent(runs, limit=100):
        if summary.job == job.url if job is not None else summary.directory.startswith(here):
            return runs / summary.run
    return None


async def _await_end(folder: Path, limit_s: float | None) -> Entry:
    from interlock.errors import WaitTimeout
    from interlock.run.transcript import Reader

    clock, reader = SystemClock(), Reader(folder)
    until_s = None if limit_s is None else clock.monotonic() + limit_s
    while True:
        gone = is_abandoned(folder)
        for entry in reader.new():
            if entry.kind == "end":
                return entry
        if gone:
            return await _bury(folder, lambda _kind, _facts: None)
        if until_s is not None and clock.monotonic() >= until_s:
            raise WaitTimeout(
                f"run {folder.name} goes on", why="--timeout has passed", fix=f"interlock wait {folder.name}"
            )
        await clock.sleep(0.1)


def is_abandoned(folder: Path) -> bool:
    """Say whether a run's supervisor is certainly gone although the run has not ended."""
    from interlock.host import Life, life_of
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    supervisor = summary.processes.get("supervisor") if summary and summary.exit is None else None
    return supervisor is not None and life_of(supervisor)[0] is Life.GONE


def bury(folder: Path, tell: Callable[[str, Mapping[str, object]], None]) -> Entry:
    """End a run whose supervisor was killed: wait for its Terraform, save what it left, release its lock.

    Returns:
        The run's last entry, which says whether its state was saved.
    """
    return asyncio.run(_bury(folder, tell))


async def _bury(folder: Path, tell: Callable[[str, Mapping[str, object]], None]) -> Entry:
    from interlock.errors import Terminated
    from interlock.estate import close_run, outcome_of
    from interlock.run.order import decode
    from interlock.run.transcript import ORDER, read

    order = decode((folder / ORDER).read_bytes())
    settings = read_settings(os.environ, Path(order.directory), home=Path(order.home))
    async with open_desk(order, settings, os.environ) as desk:
        coordinator, recovery = desk.coordinator, desk.recovery
        with suppress(UsageError):  # it holds: recovery takes its grant away, on evidence and after saving its state
            await coordinator.withdraw(order.state, order.run, by=me(), reason="its supervisor is gone")
        attending = asyncio.create_task(recovery.attend(order.state, tell))
        try:
            view = await coordinator.view(order.state)
            while any(holder.run == order.run for holder in view.lock.holders):
                if done := recovery.estate.ask_to_stop(order.run):
                    tell("recovery", {"text": done})
                view = await coordinator.watch(order.state, seen=view.version, timeout_s=_BURIAL_LOOK_S)
        finally:
            attending.cancel()
    entries = read(folder)
    ends = [entry for entry in entries if entry.kind == "end"]
    if ends:
        return ends[0]
    waited = Terminated(
        "the run's supervisor was killed while it waited", why="nothing was started", fix="start a new run"
    )
    held = any(entry.kind == "granted" for entry in entries)  # another run has recovered it, and is about to say so
    return close_run(folder, outcome_of(folder) if held else waited, SystemClock().now())


# -- ordering a run ---------------------------------------------------------------------------------------------------


def order_run(asked: Asked, environ: Mapping[str, str], spare: Spare | None = None) -> FrontEnd:
    """Check what can be checked before anything starts, and hand the order to the spare supervisor, or to a new one.

    Raises:
        UsageError: The folder, a flag or a setting is wrong, or the configuration uses a backend that is not supported.
    """
    from interlock.run.front_end import Spare

    with spare or Spare(environ) as supervisor:
        order = _checked_order(asked, environ)
        return supervisor.begin(order)


def _checked_order(asked: Asked, environ: Mapping[str, str]) -> Order:
    from interlock.run.binary import find_binary

    directory = _root_module(asked.directory)
    settings = read_settings(environ, directory, terraform=asked.terraform)
    if asked.extra:
        from interlock.terraform import divide_flags

        divide_flags(asked.extra)
    _check_reads(find_binary(settings.terraform, environ), directory)
    order = _order(asked, directory, settings, environ)
    _make_home(settings.home)
    return order


def _check_reads(binary: Binary, directory: Path) -> None:
    """Refuse files that the program does not read: to Terraform a folder of OpenTofu's files is an empty one."""
    suffixes = (".tf", ".tf.json")
    if "tofu" not in Path(binary.name).name and not any(e.name.endswith(suffixes) for e in directory.iterdir()):
        raise UsageError(
            f"{directory} holds only OpenTofu's files",
            why=f"{binary.name} does not read .tofu files and would see an empty configuration",
            fix="install tofu, or name it with --terraform",
        )


def _check_out(out: Path | None) -> str | None:
    if out is None:
        return None
    where = out.absolute()
    if where.is_dir() or not where.parent.is_dir():
        why = "it is a folder" if where.is_dir() else f"there is no folder {where.parent}"
        raise UsageError(f"a plan cannot be kept in {out}", why=why, fix="name a file in a folder that exists")
    return str(where)


def _make_home(home: Path) -> None:
    try:
        for folder in (home, home / "runs", home / "trees", home / "cache"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        everybodys = home.stat().st_mode & stat.S_IWOTH
    except OSError as error:
        raise UsageError(
            f"the folder {home} cannot be made",
            why=error.strerror or str(error),
            fix="set INTERLOCK_HOME to a folder that can be written",
        ) from error
    if everybodys:
        raise UsageError(
            f"everybody on this machine may write to {home}",
            why="whoever can put files there can change what your runs do and read what they hold",
            fix=f"chmod go-w {home}    or set INTERLOCK_HOME to a folder of your own",
        )


def _root_module(directory: Path) -> Path:
    where = directory.absolute()
    if not where.is_dir():
        raise UsageError(f"{directory} is no folder", fix="name the folder of a root module")
    try:
        if _holds_configuration(where):
            return where.resolve()
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be read", why=error.strerror or str(error), fix=f"ls -ld {directory}"
        ) from error
    raise UsageError(f"{directory} holds no Terraform configuration", why="there is no .tf file in it", fix="cd to it")


def _order(asked: Asked, directory: Path, settings: Settings, environ: Mapping[str, str]) -> Order:
    from interlock import host
    from interlock.run.order import Look, Operation, Order

    found = declared_site(directory, environ, asked.extra)
    if found is None:
        name = state_name(settings, directory, asked.state)
        own = settings.states.get(name)
    else:
        from interlock.onsite.finding import state_of

        name = _site_name(state_of(found), asked.state)
        own = settings.states.get(settings.state_for(directory) or name)
    pace = _pace(settings, onsite=found is not None)
    limits = [asked.max_deletes, own.max_deletes if own else None, settings.max_deletes]
    return Order(
        run=RandomIds().run(SystemClock().now()),
        operation=asked.operation,
        directory=str(directory),
        state=name,
        who=host.who(),
        home=str(settings.home),
        terraform=settings.terraform,
        extra=asked.extra,
        auto_approve=asked.auto_approve,
        wait_s=parse_duration(asked.wait) if asked.wait is not None else settings.wait_s,
        queue=not asked.no_wait,
        plan_file=_file(asked.plan_file),
        out=_check_out(asked.out),
        max_deletes=next((limit for limit in limits if limit is not None), None),
        protected=own.protected if own else False,
        allow_destroy=asked.allow_destroy,
        detailed_exitcode=asked.detailed_exitcode,
        lease_s=pace[0],
        heartbeat_s=pace[1],
        patience_s=pace[2],
        backend=found.type if found is not None else "",
        job=_job_url(environ),
        deadline_s=parse_duration(asked.deadline) if asked.deadline else None,
        retries=asked.retries,
        gateway=not asked.no_gateway,
        in_place=found is None and check_backend(directory, name),
        former=_former(settings, directory, name) if found is None and asked.state is None else "",
        look=asked.look or Look(),
        drift_gate=asked.operation is Operation.APPLY
        and (asked.drift_gate or settings.sections.get("drift", {}).get("gate", False)),
    )


def _former(settings: Settings, directory: Path, name: str) -> str:
    """Return the name that the state had before interlock.yaml gave it another; empty when it did not."""
    before = default_state_name(directory) if settings.state_for(directory) == name else name
    return before if before != name else ""


def _site_name(name: str, asked: str | None) -> str:
    if asked not in (None, name):
        raise UsageError(
            f"--state {asked} does not name this state",
            why=f"the configuration's own backend decides which one it is: {name}",
            fix="leave out --state",
        )
    return name


def _pace(settings: Settings, *, onsite: bool) -> tuple[float, float, float]:
    """Return lease, heartbeat and patience in seconds: rarer where each sign of life is a request that is paid for."""
    chosen = {settings.origins.get("lease_s"), settings.origins.get("heartbeat_s")} != {None}
    if not onsite:
        return settings.lease_s, settings.heartbeat_s, _PATIENCE_S
    return (settings.lease_s, settings.heartbeat_s, _ONSITE[2]) if chosen else _ONSITE


def _job_url(environ: Mapping[str, str]) -> str | None:
    if not any(environ.get(mark) for mark in _CI_MARKS):
        return None  # outside CI the room of CI files need not be imported
    from interlock.ci.job import find_job

    job = find_job(environ)
    return job.url if job else None


def _file(path: Path | None) -> str | None:
    if path is None:
        return None
    if not path.is_file():
        raise UsageError(f"there is no plan file {path}", fix="interlock plan --out FILE")
    return str(path.absolute())


def check_backend(directory: Path, state: str) -> bool:
    """Return whether the configuration declares an empty `backend "http" {}` itself.

    Raises:
        UsageError: It declares another backend, or has a local state that Interlock does not know.
    """
    from interlock.run.workspace import check_no_local_state

    if not _may_declare_backend(directory):
        check_no_local_state(directory, state)
        return False
    from interlock.disk import DiskTree
    from interlock.hcl import find_backend

    backend = find_backend(DiskTree(), str(directory))
    if backend is None:
        check_no_local_state(directory, state)
        return False
    if backend.type != "http":
        raise UsageError(
            f'the configuration declares backend "{backend.type}", which runs cannot use yet',
            why="runs work on Interlock's own backend and on S3; states of other backends can be imported",
            fix="terraform state pull > state.json; interlock state push --state NAME state.json; remove the block",
        )
    return not backend.body.attributes


# -- supervising a run ------------------------------------------------------------------------------------------------


def supervise(number: int) -> int:
    """Wait for an order on `number`, our end of the socket shared with the front end; drive that run to its end.

    Not on uvloop, whose child processes inherit more open files than they are given.
    """
    from interlock.run.control import Control

    control = Control(number)
    _load_hands()
    order = control.await_order()
    if order is None:
        return 0
    folder = Path(order.home) / "runs" / order.run
    _log_to(folder)
    return asyncio.run(_supervise(order, folder, control))


def _load_hands() -> None:
    """Import what a run needs, while the front end still checks the order."""
    for name in ("door", "estate", "recovery.breaker", "run.binary", "run.supervisor", "run.workspace", "store.sqlite"):
        importlib.import_module(f"interlock.{name}")


def _log_to(folder: Path) -> None:
    """Let what Python itself says go to the run's log."""
    from interlock.run.process import open_private
    from interlock.run.transcript import LOG

    with open_private(folder / LOG) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


async def _supervise(order: Order, folder: Path, control: Control) -> int:
    from interlock import host
    from interlock.run.summary import Summary
    from interlock.run.transcript import Journal

    clock = SystemClock()
    summary = Summary(
        run=order.run,
        state=order.state,
        operation=order.operation.value,
        who=order.who,
        directory=order.directory,
        phase="preparing",
        started_at=clock.now(),
        processes={"supervisor": host.name_process(os.getpid())},
        job=order.job,
    )
    journal = Journal(folder, summary, clock, control.ring)
    journal.change()
    status = await _to_the_end(order, folder, journal, control, dict(os.environ))
    control.close()
    journal.close()
    await asyncio.to_thread(_clear_old, Path(order.home))
    return status


def _clear_old(home: Path) -> None:
    """Let go of old runs and initialisations, now that nobody waits for this run; what fails, the next run does."""
    from interlock.run.retention import Retention, remove_old

    with suppress(OSError):
        remove_old(home, Retention(), now=SystemClock().now())


def prune_runs(policy: Retention, *, dry_run: bool) -> Removed:
    """Remove the records of old runs, and initialisations that are no longer used."""
    from interlock.run.retention import remove_old

    return remove_old(read_settings().home, policy, now=SystemClock().now(), dry_run=dry_run)


async def _to_the_end(
    order: Order, folder: Path, journal: Journal, control: Control, environ: Mapping[str, str]
) -> int:
    """Run and write the last entry, whatever happens; an unexpected failure is told like any other."""
    try:
        status = await _with_hands(order, folder, journal, control, environ)
        end: dict[str, object] = {"exit": status, "code": "changes" if status else "success"}
    except InterlockError as error:
        end = _failed(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: it must be told, and the front end must end
        import traceback

        traceback.print_exc()
        end = _failed(
            InterlockError(
                f"Interlock failed: {type(error).__name__}: {error}",
                why=f"this is a defect; the details are in {folder / 'supervisor.log'}",
                fix=f"interlock runs show {order.run}",
            )
        )
    exit_status = int(str(end["exit"]))
    journal.change(
        phase="ended", ended_at=SystemClock().now(), exit=exit_status, code=end["code"], message=end.get("what", "")
    )
    journal.tell("end", end)
    return exit_status


def _failed(error: InterlockError) -> dict[str, object]:
    return {
        "exit": error.exit_status,
        "code": error.code,
        "what": error.what,
        "why": error.why,
        "next": error.fix,
    }


async def _with_hands(
    order: Order, folder: Path, journal: Journal, control: Control, environ: Mapping[str, str]
) -> int:
    from interlock.run.binary import find_binary
    from interlock.run.order import Operation
    from interlock.run.supervisor import Hands, Supervisor
    from interlock.run.workspace import open_workspace

    directory = Path(order.directory)
    settings = Settings(home=Path(order.home))
    binary = find_binary(order.terraform, environ)
    if order.operation is Operation.DRIFT:
        environ = {_RETRY_LIMIT: "0s", **environ}
    need = await asyncio.to_thread(_gateway_need, order, environ)
    journal.tell("binary", {"run": order.run, "state": order.state, "binary": binary.name})
    own = await asyncio.to_thread(_own_backend, order, environ)
    if isinstance(need, str):
        journal.tell("no-gateway", {"why": need})
    workspace = await asyncio.to_thread(
        open_workspace,
        directory,
        home=settings.home,
        run_folder=folder,
        in_place=order.in_place and isinstance(need, str),
        binary_mark=binary.mark,
        environ=environ,
        own=own,
    )
    journal.change(folder=str(workspace.folder))
    try:
        async with open_desk(order, settings, environ) as desk, _door(desk, order, folder, binary, environ) as door:
            gateway = _gateway(need, desk, order)
            hands = Hands(
                coordinator=desk.coordinator,
                door=door,
                rescuer=desk.recovery,
                diagnose=diagnose_failure,
                clock=SystemClock(),
                gateway=gateway,
                review=_review(order, desk, gateway, environ),
            )
            supervisor = Supervisor(
                order,
                hands=hands,
                workspace=workspace,
                binary=binary,
                journal=journal,
                run_folder=folder,
                environ=environ,
            )
            await check_not_renamed(desk.coordinator, order)
            control.attach(supervisor)
            return await _with_remedy(supervisor.run(), desk)
    finally:
        workspace.close()


async def _with_remedy(running: Awaitable[int], desk: Desk) -> int:
    """Let a throttled table's billing mode be part of the failure: it decides what to do about it."""
    try:
        return await running
    except BackendUnavailable as error:
        if desk.site is None:
            raise
        from interlock.onsite.site import with_billing

        raise await with_billing(error, desk.site) from error


def _own_backend(order: Order, environ: Mapping[str, str]) -> OwnBackend | None:
    if not order.backend:
        return None
    from interlock.onsite.finding import find_site
    from interlock.onsite.site import own_backend

    directory = Path(order.directory)
    found = find_site(directory, environ, order.extra)
    return None if found is None else own_backend(found, directory, environ, order.extra)


def _door(
    desk: Desk, order: Order, folder: Path, binary: Binary, environ: Mapping[str, str]
) -> AbstractAsyncContextManager[Door]:
    if desk.site is not None:
        return _onsite_door(desk.site, order, folder, binary, environ)
    from interlock.door import open_door

    return open_door(
        desk.embedded.coordinator,
        desk.embedded.archive,
        ids=RandomIds(),
        state=order.state,
        run=order.run,
        who=order.who,
    )


@asynccontextmanager
async def _onsite_door(
    site: Site, order: Order, folder: Path, binary: Binary, environ: Mapping[str, str]
) -> AsyncIterator[Door]:
    from interlock.onsite.door import OnsiteDoor
    from interlock.run.binary import version_of

    version = await asyncio.to_thread(version_of, binary, environ, cwd=Path(order.directory))
    yield OnsiteDoor(
        backend_hand=site.backend,
        coordinator=site.coordinator,
        order=order,
        run_folder=folder,
        own_workspace=site.found.workspace,
        version=str(version),
        clock=SystemClock(),
        ids=RandomIds(),
    )


def _gateway_need(order: Order, environ: Mapping[str, str]) -> Need | str:
    """Return what the run needs of a gateway, or why it goes without. Most runs of other providers need no import."""
    if not order.gateway:
        return "--no-gateway was given"
    if not any(b"genesyscloud" in path.read_bytes() for path in _sources(Path(order.directory))):
        return "the configuration does not name Genesys Cloud"
    from interlock.api_way import find_need

    directory = Path(order.directory)
    return find_need(directory, read_settings(environ, directory), environ)


def _sources(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.endswith((".tf", ".tf.json", ".tofu")) and path.is_file()]


def _gateway(need: Need | str, desk: Desk, order: Order) -> RunGateway | None:
    if isinstance(need, str):
        return None
    from interlock.api_way import RunGateway
    from interlock.lock import may_write

    async def is_current(token: int) -> bool:
        return may_write((await desk.coordinator.view(order.state)).lock, token)

    return RunGateway(
        need,
        ids=RandomIds(),
        store=desk.embedded.store.records,
        is_current=is_current if desk.site is None else at_most_every(_CURRENT_S, is_current),
        own_backend=desk.site is not None,
    )


def _review(order: Order, desk: Desk, gateway: RunGateway | None, environ: Mapping[str, str]) -> DriftReview | None:
    """Return what looks at drift in this run; None when there is nothing that it could look at or note."""
    from interlock.run.order import Operation

    wanted = order.operation is Operation.DRIFT or order.drift_gate
    if not wanted and (gateway is None or order.operation is not Operation.APPLY):
        return None
    from interlock.drift_review import DriftReview, Means

    async def states() -> AsyncIterator[tuple[str, bytes]]:
        for view in await desk.embedded.coordinator.states():
            if view.state != order.state and (found := await desk.embedded.archive.current(view.state)) is not None:
                yield view.state, found[1]

    async def written_at() -> datetime | None:
        versions = () if desk.site is not None else await desk.embedded.archive.history(order.state, limit=1)
        return versions[0].written_at if versions else None

    means = Means(
        records=desk.embedded.store.records,
        blobs=desk.embedded.store.blobs,
        way=gateway,
        states=states,
        written_at=written_at,
        section=lambda: read_settings(environ, Path(order.directory)).sections.get("drift", {}),
    )
    return DriftReview(order, means, clock=SystemClock(), ids=RandomIds())


# -- deciding about drift ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRoom:
    """The drift of one state, for a person's command."""

    state: str
    directory: Path
    book: LedgerBook

    async def scan(self) -> Scan:
        """Return the last scan.

        Raises:
            UsageError: There is none.
        """
        from interlock.drift.decisions import with_ledger

        scan = await self.book.last_scan(self.state)
        if scan is None:
            raise UsageError(f"state {self.state} was never scanned for drift", fix="interlock drift DIR")
        return with_ledger(scan, await self.book.read(self.state))

    async def decide(self, words: tuple[str, ...], ruling: Ruling) -> list[Finding]:
        """Record a decision about findings of the last scan; return them.

        Args:
            words: Addresses or ids of objects; none for everything that is open and to which the choice applies.
            ruling: The decision.

        Raises:
            UsageError: Nothing was found, or it does not fit.
        """
        from interlock.drift.decisions import decide, find_meant

        scan = await self.scan()
        chosen = find_meant(scan, words, ruling.choice)

        def change(ledger: Ledger) -> Ledger:
            for finding in chosen:
                ledger = decide(ledger, finding, ruling, salt=scan.salt)
            return ledger

        await self.book.change(self.state, change)
        return chosen


@asynccontextmanager
async def drift_room(directory: Path, named: str | None) -> AsyncIterator[DriftRoom]:
    """Open the drift of a state: as named, or that of a root module."""
    from interlock.coordinator import check_state_name
    from interlock.drift.ledger import LedgerBook

    settings = read_settings(directory=directory if directory.is_dir() else None)
    if named is None and (found := named_site(str(directory))) is not None:
        from interlock.onsite.finding import state_of

        named = state_of(found)
    state = check_state_name(named) if named is not None else state_name(settings, directory, None)
    async with open_embedded(settings) as embedded:
        book = LedgerBook(embedded.store.records, embedded.store.blobs)
        yield DriftRoom(state=state, directory=_module_of(settings, state, directory), book=book)


def _module_of(settings: Settings, state: str, directory: Path) -> Path:
    """Return the root module of a state that was named: as interlock.yaml says, else the folder given."""
    own = settings.states.get(state)
    return own.directory if own is not None and own.directory is not None else directory


def at_most_every(period_s: float, ask: Callable[[int], Awaitable[bool]]) -> Callable[[int], Awaitable[bool]]:
    """Return `ask` so that a yes is believed for `period_s` seconds: each API call would else be a paid request."""
    clock, asked_at_s = SystemClock(), dict[int, float]()

    async def answer(token: int) -> bool:
        now_s = clock.monotonic()
        if now_s - asked_at_s.get(token, float("-inf")) < period_s:
            return True
        if not await ask(token):
            return False
        asked_at_s[token] = now_s
        return True

    return answer


def diagnose_failure(events: list[AnyEvent], text: str) -> InterlockError:
    """Name the cause of a failed Terraform command, with the classifier that `interlock explain` uses."""
    from interlock.diagnosis import classify
    from interlock.terraform.events import Diagnostic, Severity

    told = any(isinstance(event, Diagnostic) and event.severity is Severity.ERROR for event in events)
    return classify(events) if told else classify(text)


def breaker(embedded: Embedded, settings: Settings) -> Breaker:
    """Return what recovers locks of dead runs in embedded mode."""
    from interlock.estate import LocalEstate
    from interlock.recovery.breaker import Breaker

    estate = LocalEstate(runs=settings.runs, archive=embedded.archive, clock=SystemClock())
    return Breaker(coordinator=embedded.coordinator, estate=estate, clock=SystemClock(), by=me())
