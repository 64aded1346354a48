"""The gateways of a server: one for each organisation, opened when the first run asks for it. A hand.

All replicas share the budget of an organisation through its ledger in the store, as processes of one machine do. The
address is the server's own, `/gateway/<organisation>/r/<run>/<secret>/...`, so it has the server's TLS.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send

from interlock.api.organisations import Placeholder, ToldGateway
from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.errors import InterlockError, LeaseLost, UsageError, command
from interlock.gateway import Credentials, Secret
from interlock.gateway.allotment import Allotment
from interlock.gateway.answers import Answer, api_error, unreachable
from interlock.gateway.route import RunCaller
from interlock.gateway.service import Gateway
from interlock.home.policies import allotment_of
from interlock.ids import Ids
from interlock.lock import Holder, Lock, holder_of
from interlock.policy.policy import join
from interlock.policy.policy_book import PolicyBook
from interlock.rights.callers import Caller
from interlock.rights.token import Forbidden
from interlock.server.api.judging import is_of
from interlock.server.gateway.book import PREFIX, OrganisationBook
from interlock.server.gateway.organisation import PLACEHOLDER_CLIENT, Organisation, owner_of
from interlock.server.gateway.way import MOUNT, WAYS, Asked, Way, may_send, read_path, way_from_bytes, way_to_bytes
from interlock.store.opening import Store
from interlock.store.records import LIST_LIMIT_MAX, Mismatch

_LOG = logging.getLogger(__name__)
_WATCH_S = 30.0
_RETRY_S = 1.0
_COUNTED = ("calls", "sent", "refused_by_api", "fenced")
_SWEEP_S = 600.0
"""How often ways of grants that ended are cleared away."""


class _Open:
    """A gateway that takes calls, and the ways that it knows."""

    def __init__(self, organisation: Organisation, gateway: Gateway) -> None:
        self.organisation = organisation
        self.gateway = gateway
        self.ways: dict[str, Way] = {}


class GatewayDoors:
    """Gives runs a way to their organisation, and serves it. An ASGI application below `MOUNT`.

    Args:
        book: The organisations.
        store: Where ways and budgets are shared with other replicas.
        policies: Those of the server: which share of the budgets runs of a state may take.
        own: Queues of states that are kept here.
        beside: Queues of states that are elsewhere.
        clock: Of the store.
        ids: For secrets.
    """

    def __init__(
        self,
        book: OrganisationBook,
        store: Store,
        *,
        policies: PolicyBook,
        own: Coordinator,
        beside: Coordinator,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._book = book
        self._policies = policies
        self._allotting = asyncio.Lock()
        self._records = store.records
        self._own = own
        self._beside = beside
        self._clock = clock
        self._ids = ids
        self._gateways: dict[str, _Open] = {}
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._watching: list[asyncio.Task[None]] = []
        self._swept_s = clock.monotonic()
        self._before: Counter[str] = Counter()  # of gateways that ended: a total never falls

    async def begin(self) -> None:
        """Follow what administrators change."""
        self._watching = [
            asyncio.create_task(self._follow(), name="organisations"),
            asyncio.create_task(self._follow_policies(), name="policies of the states at the gateways"),
        ]

    async def close(self) -> None:
        """Let calls under way end, and give budgets back."""
        for task in self._watching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for name in list(self._gateways):
            self._shut(name)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    # -- giving ways ---------------------------------------------------------------------------------------------------

    async def tell(self, state: str) -> ToldGateway:
        """Return to which organisation a state belongs.

        Raises:
            UsageError: Two claim it.
        """
        found = owner_of(state, await self._book.all())
        return ToldGateway() if found is None else ToldGateway(organisation=found.name, region=found.region)

    async def give(
        self,
        caller: Caller,
        state: str,
        *,
        beside: bool,
        ticket: str,
        token: int,
        allotment: Allotment | None = None,
    ) -> Placeholder:
        """Return a way for the run that holds a state under this very grant; one given before ends.

        Args:
            caller: Who asks; it must be who asked for the lock.
            state: The state.
            beside: See `Way.beside`.
            ticket: Of the run.
            token: Its fencing token.
            allotment: What policies beside the run allow its state; the server's own count too.

        Raises:
            UsageError: The state belongs to no organisation, or to two.
            LeaseLost: The grant is not current.
            Forbidden: The grant is somebody else's.
        """
        organisation = owner_of(state, await self._book.all())
        if organisation is None:
            raise UsageError(
                f"state {state!r} belongs to no organisation of this server", fix=command("organisation", "ls")
            )
        holder = _own_holder(caller, (await self._queue(beside).view(state)).lock, state, ticket=ticket, token=token)
        secret = f"w{self._ids.secret()}"  # in a path it begins with a letter or digit; one in 32 would not
        way = Way(
            run=self._ids.fresh(),
            digest=_digest(secret),
            organisation=organisation.name,
            state=state,
            beside=beside,
            ticket=ticket,
            token=token,
            priority=holder.priority,
            made_at=self._clock.now(),
            allotment=allotment,
        )
        await self._records.swap(WAYS + way.run, expected=None, value=way_to_bytes(way))
        await self._sweep()
        return Placeholder(
            organisation=organisation.name,
            region=organisation.region,
            path=f"{MOUNT}/{organisation.name}/r/{way.run}/{secret}",
            client_id=PLACEHOLDER_CLIENT,
            secret=secret,
            reads_only=way.reads_only,
        )

    def _queue(self, beside: bool) -> Coordinator:
        return self._beside if beside else self._own

    async def _is_current(self, way: Way) -> bool:
        """Ask the lock itself: nothing remembered says whether a run still holds."""
        return way.is_current((await self._queue(way.beside).view(way.state)).lock)

    async def _sweep(self) -> None:
        """Clear away ways whose grants ended, now and then: they let nobody through anyway."""
        if self._clock.monotonic() - self._swept_s < _SWEEP_S:
            return
        self._swept_s = self._clock.monotonic()
        after = ""
        while page := await self._records.list(WAYS, after=after, limit=LIST_LIMIT_MAX):
            for record in page:
                way = way_from_bytes(record.value)
                if way is not None and await self._is_current(way):
                    continue
                with suppress(Mismatch):
                    await self._records.swap(record.key, expected=record.version, value=None)
            after = page[-1].key
        for opened in self._gateways.values():
            for way in list(opened.ways.values()):
                if not await self._is_current(way):
                    _forget(opened, way)

    # -- serving -------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call of a run."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        asked = read_path(raw_path)
        try:
            found = await self._find(asked)
        except InterlockError as error:
            await _answer(send, unreachable(f"{error.what}", correlation=self._ids.fresh()))
            return
        if asked is None or found is None:
            await _answer(send, self._unknown())
            return
        opened, way = found
        if not may_send(way, scope["method"], asked.raw_path, scope["query_string"]):
            await _answer(send, self._reads_only(way))
            return
        rest = asked.raw_path.decode("latin-1")
        mounted = {"raw_path": asked.raw_path, "path": rest, "root_path": f"{MOUNT}/{asked.organisation}"}
        await opened.gateway.app({**scope, **mounted}, receive, send)

    async def _find(self, asked: Asked | None) -> tuple[_Open, Way] | None:
        """Return the gateway and the way that a request proves to be one of; None for a stranger's."""
        if asked is None or asked.caller is None:
            return None
        way = await self._way(asked.organisation, asked.caller)
        if way is None:
            return None
        opened = await self._opened(asked.organisation)
        if opened is None:
            return None
        if way.run not in opened.ways:
            await self._allot(opened, way.state, way)  # before its first call, or before it is found here by others
            self._let_in(opened, way, asked.caller.token)
        return opened, way

    async def _way(self, organisation: str, caller: RunCaller) -> Way | None:
        opened = self._gateways.get(organisation)
        way = opened.ways.get(caller.run) if opened is not None else None
        if way is None:
            record = await self._records.get(WAYS + caller.run)
            way = None if record is None else way_from_bytes(record.value)
        is_proved = way is not None and hmac.compare_digest(way.digest, _digest(caller.token))
        return way if way is not None and is_proved and way.organisation == organisation else None

    def _let_in(self, opened: _Open, way: Way, secret: str) -> None:
        async def is_current(_run: str) -> bool:
            stands = await self._is_current(way)
            if not stands:
                _forget(opened, way)
            return stands

        shown = Credentials(client_id=PLACEHOLDER_CLIENT, secret=Secret(secret))
        opened.gateway.add_run(way.run, way.priority, secret, is_current, logins=(shown,), state=way.state)
        opened.ways[way.run] = way

    async def _allot(self, opened: _Open, state: str, *more: Way) -> None:
        """Let the gateway know what runs of a state may take: the smallest share that anybody says."""
        async with self._allotting:  # who read older policies never has the last word
            own = allotment_of(join(await self._policies.all(), state))
            told = [
                way.allotment
                for way in (*opened.ways.values(), *more)
                if way.state == state and way.allotment is not None and await self._is_current(way)
            ]
            shares = told if own is None else [own, *told]
            opened.gateway.allot(state, min(shares, key=lambda each: each.share, default=None))

    async def _opened(self, name: str) -> _Open | None:
        """Return the gateway of an organisation, opened now if need be; None when there is no such one."""
        async with self._opening:
            if name not in self._gateways:
                try:
                    organisation = await self._book.find(name)
                except UsageError:
                    return None
                gateway = Gateway(organisation.terms, clock=self._clock, ids=self._ids, store=self._records)
                await gateway.open()
                self._gateways[name] = _Open(organisation, gateway)
            return self._gateways[name]

    # -- following -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        seen = -1
        while True:
            try:
                changed = await self._records.watch_prefix(PREFIX, seen=seen, timeout_s=_WATCH_S)
                if changed != seen:
                    await self._take_over(await self._book.all())
                seen = changed
            except InterlockError as error:
                _LOG.warning("organisations are not followed: %s", error)
                await self._clock.sleep(_RETRY_S)

    async def _follow_policies(self) -> None:
        seen: int | None = None
        while True:
            try:
                changed = await self._policies.watch(seen=seen, timeout_s=_WATCH_S)
                if changed != seen:
                    for opened in list(self._gateways.values()):
                        for state in {way.state for way in opened.ways.values()}:
                            await self._allot(opened, state)
                seen = changed
            except InterlockError as error:
                _LOG.warning("policies are not followed at the gateways: %s", error)
                await self._clock.sleep(_RETRY_S)

    async def _take_over(self, known: tuple[Organisation, ...]) -> None:
        """Let each open gateway work with what is kept now."""
        by_name = {each.name: each for each in known}
        async with self._opening:
            for name, opened in list(self._gateways.items()):
                now = by_name.get(name)
                if now is None or _is_elsewhere(opened.organisation, now):
                    self._shut(name)
                elif now != opened.organisation:
                    opened.organisation = now
                    opened.gateway.adopt(Credentials(client_id=now.client_id, secret=Secret(now.secret)))

    def _shut(self, name: str) -> None:
        opened = self._gateways.pop(name)
        self._before.update(_counts(opened.gateway))
        task = asyncio.create_task(opened.gateway.aclose(), name=f"gateway of {name} ends")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- telling -------------------------------------------------------------------------------------------------------

    def numbers(self) -> Mapping[str, float]:
        """Return numbers for Prometheus, of all organisations together."""
        totals = sum((_counts(each.gateway) for each in self._gateways.values()), self._before)
        waiting = sum(sum(each.gateway.stats().waiting.values()) for each in self._gateways.values())
        return {
            "interlock_gateway_calls_waiting": float(waiting),
            **{f"interlock_gateway_{name}_total": float(totals[name]) for name in _COUNTED},
        }

    def _unknown(self) -> Answer:
        message = "no run has this way to an organisation, or its organisation was removed"
        return api_error(401, "interlock.unknown.run", message, correlation=self._ids.fresh())

    def _reads_only(self, way: Way) -> Answer:
        message = f"Interlock refused this call: the run holds {way.state} to {way.priority.name.lower()}, not to apply"
        return api_error(403, "interlock.reads.only", message, correlation=self._ids.fresh())


def _own_holder(caller: Caller, lock: Lock, state: str, *, ticket: str, token: int) -> Holder:
    """Return the grant under which a caller holds a state; see `GatewayDoors.give` for what it raises."""
    holder = holder_of(lock, ticket=ticket, token=token)
    if holder is None:
        raise LeaseLost(
            f"ticket {ticket!r} does not hold state {state!r} under token {token}",
            why="a way to the API is given only to the holder",
            state=state,
        )
    if not is_of(holder.who, caller):
        raise Forbidden(f"the grant on state {state!r} is another's", why=f"{holder.who} asked for it", state=state)
    return holder


def _counts(gateway: Gateway) -> Counter[str]:
    stats = gateway.stats()
    return Counter({name: getattr(stats, name) for name in _COUNTED})


def _is_elsewhere(before: Organisation, now: Organisation) -> bool:
    """Say whether a gateway cannot go on with what is kept now: another place, other limits or another key."""
    return (before.region, before.upstream, before.budgets, before.key) != (
        now.region,
        now.upstream,
        now.budgets,
        now.key,
    )


def _forget(opened: _Open, way: Way) -> None:
    """Its grant ended for good; a late call is told that it is fenced."""
    opened.ways.pop(way.run, None)
    opened.gateway.remove_run(way.run)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def _answer(send: Send, answer: Answer) -> None:
    headers: list[Any] = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
