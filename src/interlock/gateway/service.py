"""The running gateway: everything joined, started and stopped.

The supervisor (and later the server) uses `Gateway` like this:

    gateway = Gateway(Terms(api_url=..., login_url=..., credentials=...))
    address = await gateway.start("127.0.0.1", 0)
    prefix = gateway.add_run(run_id, Priority.APPLY, token, is_current)    # "/r/<run>/<token>"
    ...                                                                    # the provider calls address.url + prefix
    gateway.remove_run(run_id)
    await gateway.aclose()
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from starlette.types import ASGIApp

from interlock.clock import Clock, SystemClock
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.gateway import identity, limits_page
from interlock.gateway.admission import Admission
from interlock.gateway.allotment import Allotment
from interlock.gateway.budget import plain_budget
from interlock.gateway.callers import RUNS_MAX, Callers, IsCurrent, Run, digest_of
from interlock.gateway.concurrency import Concurrency
from interlock.gateway.files import Files, Patience, Relayed, Sealed
from interlock.gateway.forward_proxy import ForwardProxy, Proxying
from interlock.gateway.ledger import Turn
from interlock.gateway.lending import Lending
from interlock.gateway.listener import QuietServer, listen, new_server
from interlock.gateway.oauth import POOL_MAX, Credentials, MintFailure, Placeholders, new_pool
from interlock.gateway.proxy import Event, Means, Proxy
from interlock.gateway.rules import Override, Rules, apply_overrides
from interlock.gateway.sharing import Around, LedgerPlace, Sharing, near_place, shared_in
from interlock.gateway.stats import BudgetStats, FlowStats, Stats
from interlock.gateway.tokens import Reread, TokenKeeper
from interlock.gateway.turnstile import Turnstile
from interlock.gateway.upstream import Broken, Upstream, parse_base
from interlock.gateway.witness import Witness
from interlock.genesys import RateLimit, login_limit, rate_limits
from interlock.genesys.limits import CLIENT_TIMEOUT_S
from interlock.ids import Ids, RandomIds
from interlock.listening.guests import check_loopback, connections_max, open_more_files
from interlock.listening.strangers import ONLY_LOOPBACK, Names, names_of
from interlock.lock import Priority
from interlock.store import RecordStore

HOLD_DEFAULT_S = 8.0
"""How long a request may wait here: half of the Go SDK's 16 s, so an answer of the API still fits into the other."""
HOLD_MAX_S = CLIENT_TIMEOUT_S - 4.0
"""Longest hold; beyond it clients would time out and send their requests again."""
TOKENS_DEFAULT = 10
"""The provider's own default pool, so a run through the gateway has the budget that it has without."""
DRAIN_S = 10.0
"""How long calls under way may take when the gateway closes."""
LOGIN_CHECK_S = 10.0
"""How long a token may take before a run is told that there is none: four tries."""
_PROXY_FIX = "correct the user and password in the provider's `proxy` block or in HTTPS_PROXY, then: interlock doctor"
_REACH_FIX = "correct the network, the provider's `proxy` block or HTTPS_PROXY, then: interlock doctor"
_IDENTIFY_S = 10.0  # longest time for the API to say which organisation it is; until then nothing shared is drawn
_START_S = 10.0
_PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a gateway is given.

    Attributes:
        api_url: Where calls go, `https://api.<domain>`.
        login_url: Where tokens come from, `https://login.<domain>`.
        credentials: The OAuth client; None when it is the one that its only run logs in with, see `Gateway.add_run`.
        budgets: The user's own limits.
        tokens: Most upstream tokens, 1 to `POOL_MAX`.
        hold_s: Longest wait before a 429, up to `HOLD_MAX_S`.
        in_flight_max: Hard cap of calls under way.
        client_priority: Class of clients that are not runs.
        open_login: Give placeholders to any client whatever it shows; for loopback only.
        runs_only: Serve runs under their prefixes and nobody else: no named client, no probe.
        files: Runs send files here that the API wants elsewhere, with this patience; see `files.py`. None where they do
            not: only who knows the gateway by its own address can.
        lends_token: Runs get an access token when they log in, and not a placeholder, see `lending.py`. It is ended
            with the gateway, or once a run that lost its lock calls.
        names: Names by which clients may address it, besides those of loopback.
        placeholder_key: At least 32 bytes, the same in all replicas; None for one made from the credentials, or with
            `runs_only` for a fresh one.
        proxy: The forward proxy between the gateway and both.
        relays: It sends to a gateway of ours on a server, which keeps all budgets: it has none, and gives a 429 on.
        state: The state of its only run, for calls that the gateway makes for it; empty where it serves several.
        named: Begins the name under which it draws from shared budgets; see `takings.SERVERS`.
        reread: Reads the credentials once more where they came from, when they are refused; None for no such place.
    """

    api_url: str
    login_url: str
    credentials: Credentials | None
    budgets: tuple[Override, ...] = ()
    tokens: int = TOKENS_DEFAULT
    hold_s: float = HOLD_DEFAULT_S
    in_flight_max: int = 128
    client_priority: Priority = Priority.PLAN
    open_login: bool = False
    runs_only: bool = False
    files: Patience | None = None
    lends_token: bool = False
    names: tuple[str, ...] = ()
    placeholder_key: bytes | None = None
    proxy: ForwardProxy | Proxying = Proxying.ENVIRONMENT
    relays: bool = False
    state: str = ""
    named: str = ""
    reread: Reread | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a gateway listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Gateway:
    """One gateway.

    Args:
        terms: See `Terms`.
        clock: Time.
        ids: Chance.
        store: Where budgets are shared with other processes of this machine; None to share nothing.
        common: Where they are shared with other machines too; None for nowhere.
        report: Told of events for the audit log; must not block.
        witness: Told of what the calls of runs do; None for nobody.
        lent: Told of each access token that a run gets.

    Raises:
        UsageError: A term is out of bounds.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that the gateway asks or tells
        self,
        terms: Terms,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        store: RecordStore | None = None,
        common: LedgerPlace | None = None,
        report: Callable[[Event], None] = lambda _: None,
        witness: Witness | None = None,
        lent: Callable[[str], None] = lambda _: None,
    ) -> None:
        _check(terms)
        open_more_files()
        self.terms = terms
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._callers = Callers()
        self._upstream = Upstream(
            api=parse_base(terms.api_url, "the API's address"),
            login=parse_base(terms.login_url, "the login address"),
            proxy=terms.proxy,
        )
        self._sharings = self._share(store, common)
        in_flight = connections_max(terms.in_flight_max, 4)  # each has a connection to the API
        self._admission = Admission(
            Rules(_limits(terms)),
            hold_s=terms.hold_s,
            concurrency=_concurrency(terms, in_flight),
            make_budget=shared_in(self._sharings) if self._sharings else plain_budget,
            overridden=[each.name for each in terms.budgets],
            forget_budget=self._forget_budget,
        )
        self._store = store
        self._identifying: asyncio.Task[None] | None = None
        self._tokens = TokenKeeper(
            terms.credentials,
            pool=new_pool(login_limit(), terms.tokens),
            upstream=self._upstream,
            clock=self._clock,
            ids=self._ids,
            changed=self._slots_changed,
            adopted=self._forget_organisation,
        )
        self._tokens.reread = terms.reread
        self._turnstile = Turnstile(self._admission, self._clock, self._want_token)
        self._proxy = self._new_proxy(report, witness, lent)
        self._server: QuietServer | None = None
        self._limits_task: asyncio.Task[None] | None = None
        self._expected = ""
        self._is_open = False
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int = 0) -> Address:
        """Listen and begin to mint; returns when connections are taken.

        Raises:
            UsageError: The address cannot be bound.
            BackendUnavailable: The server did not start.
        """
        if self.terms.open_login:
            why = f"anybody who reaches {host} could use your OAuth client"
            fix = f"use --listen 127.0.0.1:{port}, or leave --open-login out"
            check_loopback(host, port, what="a gateway with --open-login", why=why, fix=fix)
        listener = listen(host, port)
        bound = listener.getsockname()
        names = self._names(bound[0])
        await self.open()
        self._server = new_server(self._proxy, names)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="gateway")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({ready, self._serving}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise BackendUnavailable("the gateway did not start", fix="try again")
        return Address(host=bound[0], port=bound[1])

    async def open(self) -> None:
        """Begin to mint and to share budgets, without listening: who has a server of its own gives it `app`."""
        await self._upstream.__aenter__()
        self._tokens.open()
        for each in self._sharings:
            each.open()
        self._is_open = True

    @property
    def app(self) -> ASGIApp:
        """What answers a call."""
        return self._proxy

    def _names(self, address: str) -> Names:
        return ONLY_LOOPBACK if self.terms.runs_only else names_of(address, self.terms.names)

    @property
    def credentials(self) -> Credentials | None:
        """The OAuth client that tokens come from; None while it was not learned."""
        return self._tokens.credentials

    def adopt(self, credentials: Credentials) -> None:
        """Mint with these credentials from now on: the client was replaced. Calls under way end as they began."""
        self._tokens.adopt(credentials)

    async def check_login(self, limit_s: float = LOGIN_CHECK_S) -> str:
        """Wait for a token of the login service.

        Returns:
            Why there is no token yet although the client was not refused; empty when there is one.

        Raises:
            AuthenticationFailed: The login service refused the OAuth client, or the proxy refused its user.
            BackendUnavailable: No connection to it stood in all that time.
        """
        await self._tokens.wait_settled(limit_s)
        pool = self._tokens.pool
        if pool.refused:
            raise AuthenticationFailed(
                "Genesys Cloud refused the gateway's OAuth client",
                why=pool.fault,
                fix="check GENESYSCLOUD_OAUTHCLIENT_ID and GENESYSCLOUD_OAUTHCLIENT_SECRET and the region",
            )
        if pool.failure is MintFailure.PROXY:
            raise AuthenticationFailed(
                "the proxy on the way to Genesys Cloud refuses its user", why=pool.fault, fix=_PROXY_FIX
            )
        if pool.is_cut_off:
            raise BackendUnavailable("Genesys Cloud cannot be reached", why=pool.fault, fix=_REACH_FIX)
        return pool.fault if not pool.minted else ""

    def add_run(
        self,
        run_id: str,
        class_: Priority,
        token: str,
        is_current: IsCurrent,
        *,
        logins: tuple[Credentials, ...] | None = None,
        state: str = "",
    ) -> str:
        """Let a run call.

        Args:
            run_id: Letters, digits, `.`, `_`, `-`.
            class_: Its class.
            token: Secret and fresh for each grant; may contain the fencing token. URL-safe.
            is_current: Asked before each call is sent; may be async. Must look at the truth, not at a memory of it.
            logins: Credentials of which one must be shown at the run's `/oauth/token`; None accepts any.
            state: The state that it holds, on whose share its calls go, see `allot`.

        Returns:
            The path prefix for the provider's `gateway` block, both for `api` and for `login`.

        Raises:
            UsageError: The id or the token cannot be part of a path, or there are too many runs.
        """
        if not _PATH_PART.fullmatch(run_id) or len(run_id) > 64 or not _PATH_PART.fullmatch(token):  # noqa: PLR2004 - route.py's limit
            raise UsageError("the run cannot use the gateway", why="its id or token cannot be part of a URL path")
        if len(self._callers.runs) >= RUNS_MAX:
            raise UsageError("too many runs use the gateway", why=f"at most {RUNS_MAX} may", fix="wait for one to end")
        self._callers.add(
            Run(
                run=run_id,
                priority=class_,
                digest=digest_of(token),
                is_current=is_current,
                logins=logins,
                is_learned=self.terms.credentials is None,
                state=state,
            )
        )
        return f"/r/{run_id}/{token}"

    def allot(self, state: str, allotment: Allotment | None) -> None:
        """Let the runs of a state take so much of each budget from now on; None for all that there is.

        A relay keeps to nothing: its server has the budgets, and is told by whoever asks it for a way.
        """
        if self.terms.relays:
            return
        self._admission.allotments.allot(state, allotment, self._clock.monotonic())
        self._turnstile.pump()

    def remove_run(self, run_id: str) -> None:
        """The run is over; late calls of it are refused as fenced."""
        self._callers.remove(run_id)

    def expect(self, organisation: str) -> None:
        """Refuse a client that is learned from now on when it is not one of this organisation, by its id."""
        self._expected = organisation

    async def _why_not_client(self) -> str:
        if not self._expected:
            return ""
        found = await self.find_organisation()
        if found == self._expected:
            return ""
        other = found or "one that cannot be asked"
        return f"the plan was made for organisation {self._expected}; this client is of {other}"

    async def find_organisation(self) -> str:
        """Return the id of the client's organisation, as the API says; empty when it does not say."""
        if self._tokens.credentials is None:
            return ""
        status, body = await self.read(identity.PATH)
        return identity.read_id(body) if status == 200 else ""  # noqa: PLR2004 - HTTP

    async def read(self, path: str, query: str = "") -> tuple[int, bytes]:
        """Read something of the API with the gateway's own token, within the budgets; for `interlock doctor`.

        Args:
            path: From `/api/v2/` on.
            query: Without the question mark.

        Returns:
            The status and the body, of the API or of the gateway's own refusal.
        """
        ending = await self._proxy.read(path, query)
        return ending.status, ending.body

    @property
    def writes(self) -> int:
        """How many requests came that may change something at the API, whatever became of them; never one too few."""
        return self._proxy.tally.writes

    def stats(self) -> Stats:
        """Return what the gateway is doing now, for metrics and the dashboard."""
        now_s = self._clock.monotonic()
        admission, tally, pool = self._admission, self._proxy.tally, self._tokens.pool
        budgets = [*admission.slots.values(), *admission.budgets.values()]
        flows = {entry.flow for entry in admission.turns.entries()} | set(admission.in_flight) | set(tally.served)
        return Stats(
            budgets=tuple(
                BudgetStats(
                    name=each.name,
                    allowed=each.allowed,
                    window_s=each.window_s,
                    occupied=each.occupied(now_s),
                    blocked_s=each.blocked_s(now_s),
                    refusals=each.refusals,
                )
                for each in budgets
            ),
            flows=tuple(
                FlowStats(
                    flow=flow,
                    waiting=admission.turns.waiting_of(flow),
                    in_flight=admission.in_flight.get(flow, 0),
                    served=tally.served.get(flow, 0),
                )
                for flow in sorted(flows)
            ),
            waiting={each.name.lower(): admission.turns.waiting(each) for each in Priority},
            runs=len(self._callers.runs),
            in_flight=admission.flying,
            in_flight_limit=int(admission.concurrency.limit),
            tokens_ready=len(admission.ready_slots()),
            tokens_wanted=pool.wanted,
            tokens_minted=pool.minted,
            mint_failures=pool.failures,
            login_fault=pool.fault,
            calls=tally.calls,
            sent=admission.counts.granted,
            waited_s=admission.counts.waited_s,
            told_to_come_back=admission.counts.expired + admission.counts.turned_away,
            refused_by_api=admission.counts.refused_by_api,
            refused_here=tally.refused,
            fenced=tally.fenced,
            retries=tally.retries,
            replayed_401=tally.replayed_401,
            unknown_outcomes=tally.unknown_outcomes,
            unreachable=tally.unreachable,
            shared_reads=self._proxy.flights.shared,
            adopted_writes=self._proxy.flights.adopted,
            abandoned_writes=self._proxy.flights.waiting,
            sharing_fault=next((each.fault for each in self._sharings if each.fault), ""),
            shared_swaps=sum(each.swaps for each in self._sharings if each.is_far),
            statuses=dict(tally.statuses),
        )

    async def aclose(self) -> None:
        """Take no more calls, let those under way end within `DRAIN_S`, give budgets back."""
        if self._is_open:
            await self._proxy.end_lent()
        self._turnstile.close()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving}, timeout=DRAIN_S)
            self._server.force_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await self._serving
        for task in (self._limits_task, self._identifying):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._tokens.aclose()
        for each in self._sharings:
            await each.aclose()
        await self._upstream.__aexit__(None, None, None)

    def _new_proxy(
        self, report: Callable[[Event], None], witness: Witness | None, lent: Callable[[str], None]
    ) -> Proxy:
        key = self.terms.placeholder_key or self._own_key()
        return Proxy(
            Means(
                turnstile=self._turnstile,
                tokens=self._tokens,
                upstream=self._upstream,
                files=self._new_files(key),
                callers=self._callers,
                placeholders=Placeholders(key),
                lending=Lending(lent) if self.terms.lends_token else None,
                is_open=self.terms.open_login,
                runs_only=self.terms.runs_only,
                client_priority=self.terms.client_priority,
                clock=self._clock,
                ids=self._ids,
                report=report,
                why_not_client=self._why_not_client,
                witness=witness,
                relays=self.terms.relays,
                state=self.terms.state,
            )
        )

    def _new_files(self, key: bytes) -> Files | None:
        if self.terms.files is None:
            return None
        api = parse_base(self.terms.api_url, "the API's address")
        return Files(
            addresses=Relayed(api) if self.terms.relays else Sealed(api, key, self._ids),
            patience=self.terms.files,
            upstream=self._upstream,
            tokens=self._tokens,
            clock=self._clock,
            ids=self._ids,
        )

    def _own_key(self) -> bytes:
        """Return a key for placeholders: of this run's gateway a fresh one, else one that a restart finds again."""
        if self.terms.runs_only or self.terms.credentials is None:
            return hashlib.sha256(self._ids.secret().encode()).digest()
        client = self.terms.credentials
        return hmac.digest(client.secret.value.encode(), f"placeholders of {client.client_id}".encode(), "sha256")

    def _share(self, store: RecordStore | None, common: LedgerPlace | None) -> list[Sharing]:
        near = None if store is None else near_place(store, self._clock)
        around = Around(
            changed=self._pump,
            waiting=lambda name, lasts_s: self._admission.useful(name, lasts_s, self._clock.monotonic()),
            turn=self._turn,
            unnamed=self._identify,
        )
        places = [place for place in (near, common) if place is not None]
        return [
            Sharing(place, key="", process=f"{self.terms.named}{self._ids.fresh()}", around=around) for place in places
        ]

    def _forget_budget(self, name: str) -> None:
        for each in self._sharings:
            each.forget(name)

    def _forget_organisation(self) -> None:
        """Another client was learned: it may be of another organisation."""
        for each in self._sharings:
            each.name("")
        if self._identifying is not None:
            self._identifying.cancel()
            self._identifying = None

    def _identify(self) -> None:
        """Find out whose limits the client shares, now that one of them is wanted; until then nothing of it is used."""
        if self._identifying is None and self._tokens.credentials is not None:
            self._identifying = asyncio.create_task(self._find_ledger(), name="gateway organisation")

    async def _find_ledger(self) -> None:
        client = self._tokens.credentials
        assert client is not None, "identified before it was learned"
        where = (self.terms.api_url, client.client_id)
        organisation = "" if self._store is None else await identity.find_known(self._store, *where)
        if not organisation:
            organisation = await self._ask_organisation()
            for each in self._sharings:
                each.owe(1)
            if organisation and self._store is not None:
                await identity.keep_known(self._store, *where, organisation)
        key = identity.ledger_key(organisation) if organisation else identity.client_ledger_key(*where)
        for each in self._sharings:
            each.name(key)
        self._pump()

    async def _ask_organisation(self) -> str:
        """Ask the API directly: no budget that is shared can be used before its answer."""
        bearer = await self._tokens.wait_bearer()
        reply = await self._upstream.send(
            "GET",
            identity.PATH,
            headers=[(b"accept", b"application/json")],
            body=b"",
            bearer=bearer,
            limit_s=_IDENTIFY_S,
        )
        if isinstance(reply, Broken):
            return ""
        if reply.rest is not None:
            reply.rest.close()
        return identity.read_id(reply.body) if reply.status == 200 else ""  # noqa: PLR2004 - HTTP

    def _turn(self) -> Turn | None:
        """Return the class that is drawn for: the weightiest that waits. A run's gateway has one."""
        turns = self._admission.turns
        waiting = [each for each in Priority if turns.waiting(each)]
        return max((Turn(name=each.name, weight=turns.weight(each)) for each in waiting), key=_weight, default=None)

    def _want_token(self) -> None:
        """The budget is what people wait for: mint one more token, and once ask what the budget really is."""
        self._tokens.want_more()
        if self.terms.relays:
            return
        if self._limits_task is None and self._admission.has_tokens() and self._is_open:
            self._limits_task = asyncio.create_task(self._learn_limits(), name="gateway limits")

    async def _learn_limits(self) -> None:
        ending = await self._proxy.read(limits_page.PATH)
        allowed = limits_page.read_token_limit(ending.body) if ending.status == 200 else None  # noqa: PLR2004 - HTTP
        if allowed is not None:
            self._admission.learn_token_limit(allowed, self._clock.monotonic())
            self._turnstile.pump()

    def _pump(self) -> None:
        self._turnstile.pump()

    def _slots_changed(self, slots: frozenset[int]) -> None:
        now_s = self._clock.monotonic()
        for slot in self._admission.ready_slots() - slots:
            self._admission.close_slot(slot)
        for slot in slots - self._admission.ready_slots():
            self._admission.open_slot(slot, now_s)
        self._turnstile.pump()


def _limits(terms: Terms) -> tuple[RateLimit, ...]:
    limits = apply_overrides(rate_limits(), terms.budgets)
    return tuple(replace(limit, enforce=False) for limit in limits) if terms.relays else limits


def _concurrency(terms: Terms, in_flight: int) -> Concurrency:
    """Begin below the cap, but for a relay: what its server holds back is not slow."""
    return Concurrency(limit=float(in_flight) if terms.relays else min(32.0, in_flight), ceiling=in_flight)


def _weight(turn: Turn) -> float:
    return turn.weight


def _check(terms: Terms) -> None:
    if not 0.0 <= terms.hold_s <= HOLD_MAX_S:
        raise UsageError(
            f"requests cannot be held {terms.hold_s:g} s",
            why=f"the provider gives up after {CLIENT_TIMEOUT_S:g} s and sends its request again",
            fix=f"choose 0 to {HOLD_MAX_S:g} seconds",
        )
    if not 1 <= terms.tokens <= POOL_MAX:
        raise UsageError(f"{terms.tokens} tokens", why=f"a pool has 1 to {POOL_MAX}", fix="for example --tokens 10")
    if terms.in_flight_max < 1:
        raise UsageError("no call could ever be sent", why="the in-flight cap is below 1")
