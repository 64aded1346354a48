"""`interlock serve`: the state backend for plain Terraform."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from interlock.errors import UsageError, command
from interlock.home.embedded import open_home, read_settings
from interlock.ids import RandomIds
from interlock.listening.loop import run_server
from interlock.listening.strangers import ForBrowsers, is_loopback
from interlock.settings.values import Settings
from interlock.trust.ownership import make_folder
from interlock.trust.secret_file import check_strength, making_command, read_secret_file, write_secret_file

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from interlock.backend.asgi import Service
    from interlock.home.embedded import EmbeddedHome
    from interlock.rights.callers import Caller, Tokens
    from interlock.server.api.table import AnyEndpoint
    from interlock.server.gateway.doors import GatewayDoors
    from interlock.server.identity.exchange import Exchange
    from interlock.store.opening import Store

_PORT_MAX = 65_535
_ANOTHER = "env -u INTERLOCK_TOKEN interlock serve    makes a good one"
LINGER_S = 30
"""Time for requests under way when the server ends: a large state over a slow line. Who waits is sent away at once."""


class ServeAsked(Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
        listen: Address and port.
        store: The address of the store; None for the home's own file.
        token_file: Where the token is; None for the usual places.
        names: By which clients address the server.
        urls: By which clients reach the server, as identity tokens name it; () for its own address.
        tls: Files of the certificate and of its key.
        is_behind_proxy: Something before the server takes TLS off.
    """

    listen: str
    store: str | None = None
    token_file: str | None = None
    names: Sequence[str] = ()
    urls: Sequence[str] = ()
    tls: tuple[Path, Path] | None = None
    is_behind_proxy: bool = False


class Ready(Struct, frozen=True, kw_only=True):
    """A server that takes requests.

    Attributes:
        address: Its own address, as clients on this machine write it.
        store: Where the states are.
        token: Where a client finds the token.
        warnings: What the operator should know about the store.
        admin_token: The first administrator's token of an empty store, told this once; "" else.
    """

    address: str
    store: str
    token: str
    warnings: tuple[str, ...] = ()
    admin_token: str = ""


def serve(asked: ServeAsked, ready: Callable[[Ready], None]) -> None:
    """Serve the state backend until SIGINT, SIGTERM or SIGHUP; `ready` is called once, when requests are taken."""
    run_server(_serve(asked, ready))


async def _serve(asked: ServeAsked, ready: Callable[[Ready], None]) -> None:
    from interlock.backend.serving import serving
    from interlock.compose.gateways import open_doors
    from interlock.listening.ending import Ending
    from interlock.rights.book import TokenBook
    from interlock.rights.callers import BookTokens, SingleToken
    from interlock.server.identity.renewing import RenewedTokens
    from interlock.server.tfe.login import CALLBACKS, PAGES

    ending = Ending()
    settings = replace(read_settings(), server=None)  # what is served is always a store of its own
    host, port = parse_listen(asked.listen)
    _check_way(host, asked)
    token, where = _server_token(settings, asked.token_file)
    async with open_home(settings, store=asked.store) as home, _among_others(home) as about, open_doors(home) as doors:
        await home.store.keep_room()
        known = BookTokens(TokenBook(home.store.records, home.clock, home.ids), SingleToken(token))
        own = [url.rstrip("/") for url in asked.urls]
        exchange = open_exchange(home, own)
        tokens = RenewedTokens(known, exchange, home.coordinator, home.clock)
        app = server_app(home, about, tokens, doors, exchange, is_https=_is_https(asked))
        taking = serving(
            app,
            host=host,
            port=port,
            names=asked.names,
            browsers=ForBrowsers(pages=PAGES, callbacks=CALLBACKS),
            tls=asked.tls,
            linger_s=LINGER_S,
        )
        async with taking as (_, bound):
            scheme = "http" if asked.tls is None else "https"
            address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}"
            own += [] if own else [address]
            ready(
                Ready(
                    address=address,
                    store=_shown_store(asked.store or str(settings.database), home.store),
                    token=where,
                    warnings=tuple(getattr(home.store, "warnings", ())),
                    admin_token=await _first_token(home),
                )
            )
            await ending.wait()
            about.ending.set()


def server_app(
    home: EmbeddedHome,
    about: Service,
    tokens: Tokens,
    doors: GatewayDoors,
    exchange: Exchange,
    *,
    is_https: bool,
) -> Starlette:
    """Return everything that a server answers, as one application.

    Args:
        home: What it keeps.
        about: What is known of it.
        tokens: Who may ask.
        doors: The gateways of organisations.
        exchange: Gives CI jobs and people tokens.
        is_https: Clients reach it by TLS.
    """
    from interlock.backend.asgi import create_app
    from interlock.backend.held_lock import HeldLocks
    from interlock.compose.cloud import cloud_routes
    from interlock.compose.gateways import gateway_routes
    from interlock.server.api.holding import plain_hold_of
    from interlock.server.api.judging import holds_some
    from interlock.server.api.serving import api_routes

    locks = HeldLocks(home.coordinator, home.clock, ending=about.ending, is_alone=not about.name)
    about.tell_also(doors.numbers)

    async def holds(caller: Caller, state: str) -> bool:
        return holds_some(caller, (await home.coordinator.view(state)).lock)

    return create_app(
        home.coordinator,
        home.archive,
        clock=home.clock,
        ids=home.ids,
        tokens=tokens,
        about=about,
        locks=locks,
        hold=plain_hold_of(home),
        further=[
            *gateway_routes(doors),
            *api_routes(_endpoints(home, doors, exchange), tokens=tokens, ending=about.ending, holds=holds),
            *cloud_routes(home, tokens, locks, about, os.environ, is_https=is_https, exchange=exchange),
        ],
    )


async def _first_token(home: EmbeddedHome) -> str:
    """Return the first token of an empty store, "" for any other; only once requests are taken: it is told once."""
    from interlock.rights.book import TokenBook
    from interlock.server.identity.endpoints import telling_of_token

    book = TokenBook(home.store.records, home.clock, home.ids)
    made = await book.first(before=telling_of_token(home.audit))
    return "" if made is None else made[1].whole()


def _endpoints(home: EmbeddedHome, doors: GatewayDoors, exchange: Exchange) -> list[AnyEndpoint]:
    """Return the whole table of the JSON API. Each part of the server adds its rows here, and nowhere else.

    Args:
        home: What the server keeps.
        doors: Its gateways.
        exchange: Gives CI jobs and people tokens.
    """
    from interlock.compose.gateways import endpoints as gateway_endpoints
    from interlock.compose.gateways import own_clients
    from interlock.compose.hooks import hook_keeper, hook_rows
    from interlock.server.api.about import about_endpoints
    from interlock.server.api.approvals import approval_endpoints
    from interlock.server.api.audit import audit_endpoints
    from interlock.server.api.books import book_endpoints
    from interlock.server.api.holding import hold_of
    from interlock.server.api.locks import lock_endpoints
    from interlock.server.api.own_entries import OwnEntries
    from interlock.server.api.policies import policy_endpoints
    from interlock.server.api.run_book import RunBook
    from interlock.server.api.runs import run_endpoints
    from interlock.server.api.two_persons import agreeing
    from interlock.server.api.versions import version_endpoints

    entries = OwnEntries(home.audit, home.store.records)
    hooks = hook_keeper(home)
    return [
        *about_endpoints(),
        *_identity(home, exchange),
        *lock_endpoints(home.coordinator, home.beside, hold_of(home), agreeing(home), entries),
        *version_endpoints(home.coordinator, home.archive, agreeing(home), entries),
        *gateway_endpoints(home, doors),
        *book_endpoints(home.store, lambda: own_clients(home)),
        *audit_endpoints(home.audit, home.store.records),
        *policy_endpoints(home.policies, home.audit),
        *approval_endpoints(home, hooks.comments_on),
        *hook_rows(home, hooks),
        *run_endpoints(RunBook(home.store.records, home.clock), entries, home.beside),
    ]


def _identity(home: EmbeddedHome, exchange: Exchange) -> list[AnyEndpoint]:
    from interlock.rights.book import TokenBook
    from interlock.server.identity.endpoints import IdentityApi, identity_endpoints
    from interlock.server.identity.records import TrustBook

    trust, tokens = TrustBook(home.store.records), TokenBook(home.store.records, home.clock, home.ids)
    return identity_endpoints(IdentityApi(exchange, trust, tokens, home.audit, clock=home.clock))


def open_exchange(home: EmbeddedHome, own: Sequence[str]) -> Exchange:
    """Return what gives CI jobs and people tokens.

    Args:
        home: What the server keeps.
        own: Its own addresses; filled once it has them.
    """
    from interlock.rights.book import TokenBook
    from interlock.server.identity.exchange import Exchange
    from interlock.server.identity.issuer_keys import IssuerKeys, fetch
    from interlock.server.identity.records import SeenTokens, TrustBook

    records, clock = home.store.records, home.clock
    return Exchange(
        TrustBook(records),
        TokenBook(records, clock, home.ids),
        SeenTokens(records),
        IssuerKeys(clock, fetch),
        home.audit,
        clock=clock,
        ids=home.ids,
        audiences=own,
    )


@asynccontextmanager
async def _among_others(home: EmbeddedHome) -> AsyncIterator[Service]:
    """Give what the protocol needs to know of the server; on a store that several may use, be known to the others."""
    from interlock.backend.asgi import Service

    hearing, counts = getattr(home.store, "hearing", None), getattr(home.store, "counts", None)
    if hearing is None or counts is None:  # the file of one machine
        yield Service(home.ids)
        return
    from interlock.coordinator.replicas import Replica

    replica = Replica(home.ids.fresh(), home.store.records, home.coordinator, home.clock)

    def numbers() -> Mapping[str, float]:
        return {
            "interlock_listening": float(hearing.is_listening),
            "interlock_listen_gaps_total": float(hearing.gaps),
            "interlock_listen_gap_seconds_total": hearing.gap_s,
            "interlock_changes_found_by_looking_total": float(hearing.found_by_looking),
            "interlock_store_reads_total": float(counts.reads),
            "interlock_store_writes_total": float(counts.writes),
        }

    await replica.start()
    try:
        yield Service(home.ids, name=replica.name, check=lambda: home.store.records.get("ready"), numbers=numbers)
    finally:
        await replica.close()


def _shown_store(address: str, store: Store) -> str:
    place = getattr(store, "place", None)
    return address if place is None else str(place.shown)


def _check_way(host: str, asked: ServeAsked) -> None:
    """Refuse to let token and states cross a network in clear.

    Raises:
        UsageError: It would.
    """
    if is_loopback(host) or asked.tls is not None or asked.is_behind_proxy:
        return
    raise UsageError(
        f"nothing is served on {asked.listen}",
        why="beyond this machine, token and states would cross the network in clear",
        fix=command("serve", "--listen", asked.listen, "--tls-cert", "server.crt", "--tls-key", "server.key"),
    )


def _is_https(asked: ServeAsked) -> bool:
    return asked.tls is not None or asked.is_behind_proxy


def parse_listen(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT` or `PORT` (loopback).

    Raises:
        UsageError: It is not an address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _PORT_MAX:
        raise UsageError(f"{text!r} is not an address to listen on", fix="write it like 127.0.0.1:8650")
    return host.strip("[]") or "127.0.0.1", int(port)


def _server_token(settings: Settings, token_file: str | None) -> tuple[str, str]:
    """Return the server's token and where a client finds it; a new one is written to a private file."""
    if token_file is None and settings.token is not None:
        return check_strength(settings.token.value, what="INTERLOCK_TOKEN", fix=_ANOTHER), "INTERLOCK_TOKEN"
    path = Path(token_file) if token_file else settings.home / "server-token"
    if token_file is None and not path.exists():
        make_folder(path.parent)
        write_secret_file(path, RandomIds().secret())
    token = read_secret_file(path, what="the file with the server's token")
    return check_strength(token, what=f"the token in {path}", fix=making_command(path)), str(path)
