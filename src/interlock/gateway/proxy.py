"""The reverse proxy, as an ASGI application: reads a call, asks everybody who has a say, sends it, gives the answer.

A hand: the rules are in the cores. Everything a client can send has a limit with a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send
from yarl import URL

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.gateway import answers
from interlock.gateway.admission import Ask, Finished, Full, Grant
from interlock.gateway.answers import Answer
from interlock.gateway.bodies import BODY_READ_S, CALL_BODY_MAX, LOGIN_BODY_MAX, Bodies, read_past
from interlock.gateway.callers import Callers, Run
from interlock.gateway.encodings import plain_body
from interlock.gateway.files import FILE_BODY_MAX, Files
from interlock.gateway.flights import Ending, Flight, Flights, flight_key, was_done
from interlock.gateway.headers import Pair, forwarded_request, forwarded_response, read_rate, read_retry_after
from interlock.gateway.lending import Lending
from interlock.gateway.oauth import (
    PLACEHOLDER_LIFE_S,
    Credentials,
    Placeholders,
    Secret,
    are_same,
    read_basic,
    read_bearer,
)
from interlock.gateway.retries import (
    Again,
    Answered,
    Deliver,
    Done,
    Failure,
    Look,
    Outcome,
    Unknown,
    Unreachable,
    is_answer,
    is_read,
    judge,
    judge_trace,
)
from interlock.gateway.route import (
    ANONYMOUS,
    LOGIN_PATH,
    NOWHERE,
    PATHS,
    Caller,
    Door,
    NamedCaller,
    Refused,
    Route,
    RunCaller,
    claimed_run,
    find_route,
)
from interlock.gateway.rules import endpoint_of
from interlock.gateway.tokens import TokenKeeper
from interlock.gateway.traces import Trace, is_guarded, read_trace
from interlock.gateway.turnstile import Turnstile
from interlock.gateway.upstream import Broken, Reply, Upstream
from interlock.gateway.witness import Effect, Heard, Sent, Witness
from interlock.ids import Ids
from interlock.lock import Priority

_LOG = logging.getLogger(__name__)

CHUNK_SENT_S = 30.0
"""Longest time for a client to take one piece of an answer."""
REPLY_S = 60.0
"""Longest wait for the API's answer. A less patient client leaves; its write goes on, and it may come back for that."""
END_LENT_S = 5.0
"""Longest time for lent tokens to be ended."""
FLOWS_COUNTED_MAX = 4096
"""Most runs and clients whose answers are counted by name."""
_PIECE = 64 * 1024
_UNAUTHORISED = 401
_TOO_MANY = 429
_SERVER_ERROR = 500
_NO_LOOK = frozenset({401, 403, 405, 409, 424, 429})  # answers that show nothing of an object, our own among them
_HOPELESS_S = 60.0  # how long an endpoint that answers 401 to fresh tokens is believed
_HOPELESS_MAX = 1024
_GOOD_S = 2.0  # a token that was taken so shortly before is taken for good
_OWN_TOKEN = "/api/v2/tokens/me"  # noqa: S105 - a path
_LOGIN_PATIENCE_S = 10.0  # the provider's own login call gives up after 16 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that belongs in the audit log.

    Attributes:
        kind: `fenced` is the only one so far.
        run: Whose call it was.
        method: Of the call.
        path: Of the call, without prefix and query.
    """

    kind: str
    run: str
    method: str
    path: str


_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Tally:
    """What the proxy did since the start; see `service.Stats`."""

    calls: int = 0
    writes: int = 0
    fenced: int = 0
    refused: int = 0
    retries: int = 0
    replayed_401: int = 0
    unknown_outcomes: int = 0
    unreachable: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call of a client that was let in."""

    route: Route
    method: str
    flow: str
    priority: Priority
    run: Run | None
    headers: list[Pair]
    body: bytes
    key: bytes
    arrived_s: float
    base: str = ""

    @property
    def target(self) -> str:
        return f"{self.route.path}?{self.route.query}" if self.route.query else self.route.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the proxy works with.

    Attributes:
        turnstile: Who may go when.
        tokens: The pool.
        upstream: The API.
        files: Where files go; None when clients get the API's own addresses for them.
        callers: Who may call at all.
        placeholders: What clients get instead of tokens.
        lending: Runs get a token itself all the same; None where they do not.
        is_open: Named clients need not show the OAuth client at `/oauth/token` (loopback only).
        runs_only: Nobody but runs under their prefixes is served, and nobody else is told that there is a gateway.
        client_priority: Class of clients that are not runs.
        clock: Time.
        ids: Correlation ids.
        report: Told of events for the audit log.
        why_not_client: Says why a client that was learned may not be used; empty for a welcome one.
        witness: Told of the calls of runs; None for nobody.
        relays: A 429 is of a gateway of ours, which held the call for as long as it may be held: it is given on.
        state: On whose share the gateway's own calls go; empty for nobody's.
    """

    turnstile: Turnstile
    tokens: TokenKeeper
    upstream: Upstream
    files: Files | None
    callers: Callers
    placeholders: Placeholders
    lending: Lending | None
    is_open: bool
    runs_only: bool
    client_priority: Priority
    clock: Clock
    ids: Ids
    report: Callable[[Event], None]
    why_not_client: Callable[[], Awaitable[str]]
    witness: Witness | None = None
    relays: bool = False
    state: str = ""


@dataclass(slots=True)
class _Progress:
    """How far one call has come.

    Attributes:
        deadline_s: Until when it may wait for leave to send.
        attempt: The one under way, 1 for the first.
        replayed: Whether it was sent again after a 401.
        only: The slot whose token it must use.
        sent_s: When the last attempt was sent.
        lost: Whether an attempt was sent and its answer lost, so that it may have been done.
        was_lost: Whether that ever was so. Its object may show afterwards that it was not done, and the API, which
            works on, does it after that look.
    """

    deadline_s: float
    attempt: int = 1
    replayed: bool = False
    only: int | None = None
    lost: bool = False
    was_lost: bool = False
    sent_s: float = 0.0


class Proxy:
    """The application."""

    def __init__(self, means: Means) -> None:
        self.tally = Tally()
        self.bodies = Bodies()
        self.flights = Flights()
        self._turnstile = means.turnstile
        self._tokens = means.tokens
        self._upstream = means.upstream
        self._files = means.files
        self._callers = means.callers
        self._placeholders = means.placeholders
        self._lending = means.lending
        self._is_open = means.is_open
        self._runs_only = means.runs_only
        self._client_priority = means.client_priority
        self._clock = means.clock
        self._ids = means.ids
        self._report = means.report
        self._why_not_client = means.why_not_client
        self._witness = means.witness
        self._relays = means.relays
        self._state = means.state
        self._always_401: dict[str, float] = {}
        self._good: dict[int, tuple[int, float]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is refused."""
        if scope["type"] != "http":
            return
        self.tally.calls += 1
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        route = find_route(scope["method"], raw_path, scope["query_string"])
        if self._runs_only and not self._is_of_a_run(route, raw_path):
            route = NOWHERE
        match route:
            case Refused():
                await self._refuse(send, answers.refused(route, correlation=self._ids.fresh()))
            case Route(door=Door.API | Door.FILES as door):
                if scope["method"] not in _READING:
                    self.tally.writes += 1  # before anything comes of it: nobody may say later that there was none
                await (self._api if door is Door.API else self._file)(route, scope, receive, send)
            case Route(door=Door.LOGIN):
                await self._login(route, scope, receive, send)
            case Route(door=Door.HEALTH):
                await _answer(send, answers.plain(200, {"status": "ok"}))
            case Route(door=Door.READY):
                await self._ready(send)
            case Route():
                raise AssertionError(route.door)
            case _:
                assert_never(route)

    def _is_of_a_run(self, route: Route | Refused, raw_path: bytes) -> bool:
        """Say whether a request is one of a run: a private gateway tells nobody else anything, not even what is wrong.

        A call under a prefix that no run has is told so further on, as that of a run that ended is.
        """
        if isinstance(route, Route) and route.door in {Door.API, Door.FILES}:
            return isinstance(route.caller, RunCaller)
        if isinstance(route, Route) and route.door is not Door.LOGIN:
            return False
        caller = claimed_run(raw_path)
        return caller is not None and self._callers.find(caller) is not None

    async def read(self, path: str, query: str = "") -> Ending:
        """Read something of the API for the gateway itself: in turn, within the budgets, as flow `gateway`.

        Args:
            path: From `/api/v2/` on.
            query: Without the question mark.
        """
        return await self._read(path, "gateway", Priority.APPLY, None, query=query)

    async def _read(self, path: str, flow: str, priority: Priority, run: Run | None, *, query: str = "") -> Ending:
        call = _Call(
            route=Route(door=Door.API, caller=NamedCaller(name=ANONYMOUS), path=path, query=query),
            method="GET",
            flow=flow,
            priority=priority,
            run=run,
            headers=[(b"accept", b"application/json")],
            body=b"",
            key=b"",
            arrived_s=self._clock.monotonic(),
        )
        flight = Flight(key=b"", method="GET", task=asyncio.create_task(asyncio.sleep(0, answers.plain(200, {}))))
        ending = await self._fly(call, flight)
        _discard_rest(ending)
        return ending

    async def end_lent(self) -> None:
        """End the tokens that runs were lent, within `END_LENT_S`: past the gateway nothing else stops their calls.

        One that cannot be ended, or for which there is no budget, ends by itself.
        """
        if self._lending is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LENT_S):
                for token in self._lending.take_given():
                    await self._end_token(token)

    async def _end_token(self, token: Secret) -> None:
        now_s = self._clock.monotonic()
        needs = self._turnstile.admission.rules.needs("DELETE", _OWN_TOKEN, "")
        leave = await self._turnstile.enter(
            Ask(
                flow="gateway",
                priority=Priority.APPLY,
                needs=needs,
                arrived_s=now_s,
                deadline_s=now_s + END_LENT_S,
                state=self._state,
            )
        )
        if not isinstance(leave, Grant):
            return
        finished = Finished(withdrawn=True)
        try:
            reply = await self._upstream.send(
                "DELETE", _OWN_TOKEN, headers=[], body=b"", bearer=token.value, limit_s=END_LENT_S
            )
            finished = self._finished(reply)
            _discard(reply)
        finally:
            self._turnstile.leave(leave, finished)

    async def _ready(self, send: Send) -> None:
        """Answer a probe, which shows no secret: it learns whether, and not what the login service said."""
        has_fault = bool(self._tokens.pool.fault)
        await _answer(send, answers.plain(503 if has_fault else 200, {"status": "no token" if has_fault else "ready"}))

    async def _refuse(self, send: Send, answer: Answer) -> None:
        self.tally.refused += 1
        await _answer(send, answer)

    # Logging in

    async def _login(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        with self.bodies.holding() as holding:
            body = await holding.read(receive, scope["headers"], LOGIN_BODY_MAX)
        answer = await self._grant(route, scope, body) if isinstance(body, bytes) else _login_refusal(body)
        if answer.status < 400 and isinstance(route.caller, RunCaller) and await self._is_lost(route.caller):  # noqa: PLR2004 - HTTP
            self._fenced(route.caller.run, scope["method"], LOGIN_PATH)
            answer = answers.login_error(409, "access_denied", answers.fenced_text(route.caller.run))
        await (_answer(send, answer) if answer.status < 400 else self._refuse(send, answer))  # noqa: PLR2004 - HTTP

    async def _is_lost(self, caller: Caller) -> bool:
        """Say whether a run certainly holds its lock no more; what cannot be told now is asked again at each call."""
        run = self._callers.find(caller) if isinstance(caller, RunCaller) else None
        try:
            return run is None or not await _is_current(run)
        except InterlockError:
            return False

    async def _grant(self, route: Route, scope: Scope, body: bytes) -> Answer:
        form = _form(body)
        if scope["method"] != "POST" or form.get("grant_type") != "client_credentials":
            return answers.login_error(
                400, "unsupported_grant_type", "the gateway gives tokens for grant_type=client_credentials by POST"
            )
        shown = read_basic(_header(scope["headers"], b"authorization")) or _form_credentials(form)
        subject = self._subject(route, shown)
        if subject is None:
            return answers.login_error(
                401, "invalid_client", "these are not the credentials of the gateway's OAuth client"
            )
        if isinstance(route.caller, RunCaller) and (refusal := await self._log_in(route.caller, shown)) is not None:
            return refusal
        return answers.login_answer(self._token_for(route.caller, subject), PLACEHOLDER_LIFE_S)

    def _token_for(self, caller: Caller, subject: str) -> str:
        """Return what a client gets for a token; a run without a token of the pool at hand gets a placeholder too."""
        bearer = self._tokens.any_bearer() if self._lending is not None and isinstance(caller, RunCaller) else None
        if self._lending is None or bearer is None:
            return self._placeholders.issue(subject, now_unix_s=int(self._clock.now().timestamp()))
        return self._lending.lend(bearer, subject)

    async def _log_in(self, caller: RunCaller, shown: Credentials | None) -> Answer | None:
        """Wait for the login service, with the client that was shown where it is learned; None when all is well.

        A provider repeats what a server may get over for eight minutes, so an upstream that was never reached is said
        in a form that it does not repeat.
        """
        run = self._callers.find(caller)
        if run is not None and run.is_learned and shown is not None:
            self._tokens.adopt(shown)
        await self._tokens.wait_settled(_LOGIN_PATIENCE_S)
        pool = self._tokens.pool
        if pool.refused:
            return answers.login_error(401, "invalid_client", pool.fault)
        if pool.is_cut_off:
            return answers.login_error(400, "temporarily_unavailable", pool.fault)
        why = await self._why_not_client() if run is not None and run.is_learned else ""
        return answers.login_error(401, "invalid_client", why) if why else None

    def _subject(self, route: Route, shown: Credentials | None) -> str | None:
        """Return whom the placeholder is for; None when the client proved nothing."""
        match route.caller:
            case RunCaller():
                run = self._callers.find(route.caller)
                return f"r/{run.run}" if run is not None and run.may_log_in(shown) else None
            case NamedCaller():
                ours = self._tokens.credentials
                proves = self._is_open or (shown is not None and ours is not None and are_same(shown, ours))
                return f"c/{route.caller.name}" if proves else None

    # Calls

    async def _api(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        admitted = self._admit(route, _header(scope["headers"], b"authorization"), scope["method"])
        if isinstance(admitted, Answer):
            await self._refuse(send, admitted)
            return
        run, flow, priority = admitted
        if scope["method"] == "DELETE" and route.path.rstrip("/") == _OWN_TOKEN:
            # A client logs out: of its placeholder. The token behind it is everybody's.
            await _answer(send, answers.done())
            return
        if run is not None and (fence := await self._fence(run, scope["method"], route.path)) is not None:
            await self._refuse(send, fence)
            return
        with self.bodies.holding() as holding:
            body = await holding.read(receive, scope["headers"], CALL_BODY_MAX)
            if isinstance(body, Refused):
                await self._refuse(send, answers.refused(body, correlation=self._ids.fresh()))
                return
            call = self._call(route, scope, (flow, priority, run), body)
            await self._serve(call, receive, send)

    async def _file(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a file for an address that the API gave, and send it there while the run holds its lock."""
        admitted = self._admit(route, _bearer_of(scope["headers"]), scope["method"])
        found = admitted if isinstance(admitted, Answer) else self._place_of_file(route, scope["method"], admitted[0])
        if isinstance(found, Answer):
            await read_past(receive, scope["headers"], BODY_READ_S)
            await self._refuse(send, found)
            return
        files, address, run = found
        async with files.turn(scope["headers"]) as is_there:
            if not is_there:
                await read_past(receive, scope["headers"], files.patience.read_s)
                await self._refuse(send, files.no_turn())
                return
            with self.bodies.holding() as holding:
                body = await holding.read(receive, scope["headers"], FILE_BODY_MAX, files.patience.read_s)
                if isinstance(body, Refused):
                    if not holding.is_over:
                        await read_past(receive, scope["headers"], BODY_READ_S)
                    await self._refuse(send, answers.refused(body, correlation=self._ids.fresh()))
                else:
                    await self._send_file(files, (address, run, route.caller), scope, body, send)

    def _place_of_file(self, route: Route, method: str, run: Run | None) -> tuple[Files, URL, Run] | Answer:
        """Return where a file goes, or the answer to one that goes nowhere."""
        files = self._files if method == "POST" else None
        address = None if files is None or run is None else files.find(route.path, run.run)
        if files is None or address is None or run is None:
            return answers.refused(NOWHERE, correlation=self._ids.fresh())
        return files, address, run

    async def _send_file(
        self, files: Files, where: tuple[URL, Run, Caller], scope: Scope, body: bytes, send: Send
    ) -> None:
        address, run, caller = where
        reply = await files.send(
            address,
            forwarded_request(scope["headers"]),
            body,
            fence=lambda: self._fence(run, scope["method"], PATHS[Door.FILES]),
            is_lost=lambda: self._is_lost(caller),
        )
        if isinstance(reply, Answer):
            await self._refuse(send, reply)
        elif isinstance(reply, Reply):
            await _pass_on(send, reply, with_body=True)
        elif reply.failure is Failure.UNSENT:
            await _answer(send, self._unreachable(reply))
        else:
            self.tally.unknown_outcomes += 1
            await _answer(send, answers.outcome_unknown(scope["method"], correlation=self._ids.fresh()))

    def _call(self, route: Route, scope: Scope, who: tuple[str, Priority, Run | None], body: bytes) -> _Call:
        flow, priority, run = who
        headers = forwarded_request(scope["headers"])
        target = f"{route.path}?{route.query}"
        return _Call(
            route=route,
            method=scope["method"],
            flow=flow,
            priority=priority,
            run=run,
            headers=headers,
            body=body,
            key=flight_key(flow, scope["method"], target, headers, body),
            arrived_s=self._clock.monotonic(),
            base=_base_of(route, scope),
        )

    def _admit(self, route: Route, authorization: str | None, method: str) -> tuple[Run | None, str, Priority] | Answer:
        match route.caller:
            case RunCaller():
                run = self._callers.find(route.caller)
                if run is not None:
                    if not self._is_own_token(run, authorization):
                        return self._bad_token()
                    return run, f"r/{run.run}", run.priority
                if self._callers.is_gone(route.caller):
                    return self._fenced(route.caller.run, method, route.path)
                return answers.api_error(
                    401, "interlock.unknown.run", "no run has this prefix", correlation=self._ids.fresh()
                )
            case NamedCaller():
                now_unix_s = int(self._clock.now().timestamp())
                subject = self._placeholders.read(read_bearer(authorization) or "", now_unix_s=now_unix_s)
                if subject == f"c/{route.caller.name}":
                    return None, self._callers.flow_of(route.caller.name), self._client_priority
                return self._bad_token()

    def _is_own_token(self, run: Run, authorization: str | None) -> bool:
        """Say whether a run's bearer is one that this gateway gave it; a call of Interlock itself has none.

        A provider that was given an access token never logs in here. Its token must not be replaced by ours silently.
        """
        if authorization is None or (run.logins is None and not run.is_learned):
            return True
        token = read_bearer(authorization) or ""
        lent = None if self._lending is None else self._lending.read(token)
        now_unix_s = int(self._clock.now().timestamp())
        return f"r/{run.run}" in {lent, self._placeholders.read(token, now_unix_s=now_unix_s)}

    def _bad_token(self) -> Answer:
        return answers.api_error(
            401,
            "bad.credentials",
            "this is not a token of the gateway for this client; get one from its /oauth/token",
            correlation=self._ids.fresh(),
        )

    def _fenced(self, run: str, method: str, path: str) -> Answer:
        self.tally.fenced += 1
        if self._lending is not None:
            ending = asyncio.create_task(self.end_lent(), name="gateway ends lent tokens")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._report(Event(kind="fenced", run=run, method=method, path=path))
        return answers.fenced(run, correlation=self._ids.fresh())

    async def _fence(self, run: Run, method: str, path: str) -> Answer | None:
        """Ask whether a run still holds its lock; an answer for its client when it does not, or when nobody knows."""
        try:
            if await _is_current(run):
                return None
        except InterlockError as error:
            why = f"whether run {run.run} still holds its lock cannot be told now ({error.what}); nothing was sent"
            return answers.unreachable(why, correlation=self._ids.fresh())
        return self._fenced(run.run, method, path)

    async def _serve(self, call: _Call, receive: Receive, send: Send) -> None:
        """Join or begin a flight, wait for its end or the client's, and deliver."""
        gone = asyncio.create_task(_until_gone(receive))
        try:
            shared = self.flights.find(call.key, call.arrived_s)
            is_memory = shared is not None and shared.sent_at_write is not None  # else it goes out for this client
            flight = shared or self._begin(call)
            ending = await self._land(flight, gone)
            # Only an answer of another's call may not be ours: one that was begun for this client is never done twice.
            if shared is not None and ending is not None and not self._may_take(shared, ending, is_memory=is_memory):
                flight = self._begin(call)
                ending = await self._land(flight, gone)
        finally:
            gone.cancel()
        if ending is not None:
            flight.streamed = True
            await self._deliver(call, ending, send)

    def _may_take(self, shared: Flight, ending: Ending, *, is_memory: bool) -> bool:
        """Say whether a client may be given the answer of a call that was begun for another, perhaps before it came."""
        is_taken = isinstance(ending, Reply) and ending.rest is not None and shared.streamed
        return not is_taken and (not is_memory or self.flights.still_holds(shared))

    async def _land(self, flight: Flight, gone: asyncio.Task[None]) -> Ending | None:
        """Wait for the end of a flight; None when the client left first."""
        flight.clients += 1
        try:
            await asyncio.wait({flight.task, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            flight.clients -= 1
            # Who left in the instant of the answer has not got it, and repeats the write.
            is_left = not flight.task.done() or (gone.done() and not is_read(flight.method, ""))
            if is_left and not flight.clients:
                self.flights.abandoned(flight, self._clock.monotonic())
        if is_left:
            return None
        self.flights.served(flight)
        if flight.task.cancelled():
            return answers.unreachable("the gateway is closing", correlation=self._ids.fresh())
        mistake = flight.task.exception()
        return flight.task.result() if mistake is None else self._mistake(flight, mistake)

    def _mistake(self, flight: Flight, mistake: BaseException) -> Answer:
        """A mistake of ours: the client must not repeat a write that may have gone out."""
        _LOG.error("a call of the gateway failed", exc_info=mistake)
        if flight.sent_at_write is not None and not is_read(flight.method, ""):
            return answers.outcome_unknown(flight.method, correlation=self._ids.fresh())
        return answers.unreachable("the gateway made a mistake, see its log", correlation=self._ids.fresh())

    def _begin(self, call: _Call) -> Flight:
        holder: list[Flight] = []

        async def fly() -> Ending:
            flight = holder[0]
            try:
                return await self._witnessed(call, flight)
            finally:
                self.flights.ended(flight)

        repeats = self.flights.take_overtaken(call.key)
        flight = Flight(
            key=call.key, method=call.method, path=call.route.path, task=asyncio.create_task(fly()), repeats=repeats
        )
        holder.append(flight)
        self.flights.add(flight)
        return flight

    async def _deliver(self, call: _Call, ending: Ending, send: Send) -> None:
        self.tally.statuses[ending.status] = self.tally.statuses.get(ending.status, 0) + 1
        self._count_served(call.flow)
        match ending:
            case Answer():
                await _answer(send, ending)
            case Reply():
                await _pass_on(send, self._readdressed(call, ending), with_body=call.method != "HEAD")

    def _readdressed(self, call: _Call, reply: Reply) -> Reply:
        if self._files is None or not call.base or call.run is None:
            return reply
        return self._files.readdressed(call.method, call.route.path, reply, base=call.base, run=call.run.run)

    def _count_served(self, flow: str) -> None:
        """Count by flow; of very many the one that began first is forgotten."""
        served = self.tally.served
        if flow not in served and len(served) >= FLOWS_COUNTED_MAX:
            served.pop(next(iter(served)))
        served[flow] = served.get(flow, 0) + 1

    async def _witnessed(self, call: _Call, flight: Flight) -> Ending:
        """Let the witness write down what a run's call does, before it is sent and before its client is answered."""
        witness = self._witness
        if witness is None or call.run is None or not witness.wants(call.method, call.route.path):
            return await self._fly(call, flight)
        sent = Sent(method=call.method, path=call.route.path, body=call.body)
        name = await witness.begins(sent)
        heard = Heard(effect=Effect.UNKNOWN)
        try:
            ending = await self._fly(call, flight)
            heard = _heard(ending)
        finally:
            if flight.sent_at_write is None:  # given up before it was sent, or refused before it was worked on
                heard = Heard(effect=Effect.NONE) if heard.effect is Effect.UNKNOWN else heard
            await witness.ended(name, sent, heard)
        return ending

    async def _fly(self, call: _Call, flight: Flight) -> Ending:
        """Attempt until there is something to say. Attempts are bounded by `retries.ATTEMPTS_MAX` and by the hold."""
        progress = _Progress(deadline_s=call.arrived_s + self._turnstile.admission.hold_s)
        while True:
            leave = await self._turnstile.enter(self._ask(call, progress))
            if not isinstance(leave, Grant):
                return self._unknown(call) if progress.lost else self._come_back(call, leave)
            if flight.is_abandoned:  # nobody waits for it: what comes after it must not be undone by a late repetition
                self._turnstile.leave(leave, Finished(sent=False, withdrawn=True))
                return self._given_up(call, flight, progress)
            if call.run is not None and (fence := await self._fence_at_the_door(call, call.run, leave)) is not None:
                return self._unknown(call) if progress.lost else fence
            reply, generation = await self._attempt(call, flight, leave, progress)
            if reply is None:  # the token ended in this instant
                continue
            if self._is_relayed(reply) and not progress.lost:
                self.flights.refused(flight)
                return self._last(reply)
            ending = await self._follow(call, flight, progress, reply, (leave.slot, generation))
            if ending is not None:
                return ending

    def _ask(self, call: _Call, progress: _Progress) -> Ask:
        return Ask(
            flow=call.flow,
            priority=call.priority,
            needs=self._turnstile.admission.rules.needs(call.method, call.route.path, call.route.query),
            arrived_s=self._clock.monotonic(),
            deadline_s=progress.deadline_s,
            memory=call.key,
            only=progress.only,
            state=self._state if call.run is None else call.run.state,
        )

    def _given_up(self, call: _Call, flight: Flight, progress: _Progress) -> Ending:
        if progress.lost:
            return self._unknown(call)
        self.flights.served(flight)
        return answers.unreachable("its client went away", correlation=self._ids.fresh())

    def _unknown(self, call: _Call) -> Answer:
        self.tally.unknown_outcomes += 1
        return answers.outcome_unknown(call.method, correlation=self._ids.fresh())

    async def _follow(
        self, call: _Call, flight: Flight, progress: _Progress, reply: Reply | Broken, token: tuple[int, int]
    ) -> Ending | None:
        """Do what the outcome of an attempt asks for; None when the next attempt may begin."""
        outcome = self._outcome(reply)
        verdict = judge(
            outcome,
            method=call.method,
            path=call.route.path,
            attempt=progress.attempt,
            replayed_401=progress.replayed or (self._is_hopeless(call) and self._is_good(token, progress)),
            lost_before=progress.lost
            or (isinstance(outcome, Answered) and (progress.was_lost or was_done(flight.repeats))),
        )
        match verdict:
            case Deliver() | Unreachable():
                if progress.replayed and isinstance(outcome, Answered) and outcome.status == _UNAUTHORISED:
                    self._learn_hopeless(call)
                return self._last(reply)
            case Unknown():
                _discard(reply)
                return self._unknown(call)
            case Done():
                _discard(reply)
                return answers.done()
            case Look():
                return await self._look(call, progress, reply)
            case Again(fresh_token=True):
                _discard(reply)
                if not progress.lost:
                    self.flights.refused(flight)
                self._replay(progress, *token)
                return None
            case Again(pause_s=pause_s):
                if isinstance(outcome, Answered) and outcome.status == _TOO_MANY and not progress.lost:
                    self.flights.refused(flight)
                return await self._pause(call, progress, reply, pause_s)
            case _:
                assert_never(verdict)

    async def _look(self, call: _Call, progress: _Progress, reply: Reply | Broken) -> Ending | None:
        """Look at the object of a write whose answer was lost, and deliver the truth; None to send the write again."""
        is_answered = isinstance(reply, Reply) and is_answer(reply.status)
        progress.lost = progress.was_lost = True
        seen = await self._read(call.route.path, call.flow, call.priority, call.run)
        trace = None
        if seen.status < _SERVER_ERROR and seen.status not in _NO_LOOK:
            trace = read_trace(call.method, call.body, seen.status, seen.body)
        if trace is Trace.NOT_DONE:
            progress.lost = False
        verdict = judge_trace(
            trace,
            method=call.method,
            is_guarded=is_guarded(call.body),
            attempt=progress.attempt,
            is_answered=is_answered,
        )
        match verdict:
            case Deliver():
                return self._last(reply)
            case Done():
                _discard(reply)
                return answers.done() if call.method == "DELETE" else seen
            case Unknown():
                _discard(reply)
                return self._unknown(call)
            case Again(pause_s=pause_s):
                return await self._pause(call, progress, reply, pause_s)
            case _:
                assert_never(verdict)

    def _replay(self, progress: _Progress, slot: int, generation: int) -> None:
        """Send it again with a token that is newer than the 401: others of the pool may have been revoked with it."""
        self._tokens.reject(slot, generation)
        self.tally.replayed_401 += 1
        progress.replayed = True
        progress.only = slot

    def _is_hopeless(self, call: _Call) -> bool:
        """Say whether this endpoint lately answered 401 to a fresh token too: then no token is to blame."""
        return self._always_401.get(self._endpoint(call), 0.0) > self._clock.monotonic()

    def _is_good(self, token: tuple[int, int], progress: _Progress) -> bool:
        """Say whether the token was taken elsewhere since this call was sent, so that the 401 cannot be its fault."""
        generation, at_s = self._good.get(token[0], (0, 0.0))
        return generation == token[1] and at_s >= progress.sent_s - _GOOD_S

    def _learn_hopeless(self, call: _Call) -> None:
        if len(self._always_401) >= _HOPELESS_MAX:
            self._always_401.clear()
        self._always_401[self._endpoint(call)] = self._clock.monotonic() + _HOPELESS_S

    def _endpoint(self, call: _Call) -> str:
        return f"{call.flow} {endpoint_of(call.method, call.route.path)}"

    async def _pause(self, call: _Call, progress: _Progress, reply: Reply | Broken, pause_s: float) -> Ending | None:
        if isinstance(reply, Reply) and reply.status == _TOO_MANY:
            _discard(reply)  # the budgets keep it waiting
            return None
        if self._clock.monotonic() + pause_s >= progress.deadline_s:
            return self._unknown(call) if progress.lost else self._last(reply)
        _discard(reply)
        progress.attempt += 1
        self.tally.retries += 1
        await self._clock.sleep(pause_s)
        return None

    async def _fence_at_the_door(self, call: _Call, run: Run, leave: Grant) -> Answer | None:
        """Ask once more, after the wait and just before the call goes out."""
        fence = None
        goes = False
        try:
            fence = await self._fence(run, call.method, call.route.path)
            goes = fence is None
        finally:
            if not goes:
                self._turnstile.leave(leave, Finished(sent=False, withdrawn=True))
        return fence

    async def _attempt(
        self, call: _Call, flight: Flight, leave: Grant, progress: _Progress
    ) -> tuple[Reply | Broken | None, int]:
        token = self._tokens.bearer(leave.slot)
        if token is None:
            self._turnstile.admission.close_slot(leave.slot)
            self._turnstile.leave(leave, Finished(sent=False, withdrawn=True))
            return None, 0
        bearer, generation = token
        self.flights.sent(flight)
        progress.sent_s = self._clock.monotonic()
        finished = Finished(withdrawn=True)
        try:
            reply = await self._upstream.send(
                call.method,
                call.target,
                headers=call.headers,
                body=call.body,
                bearer=bearer,
                limit_s=REPLY_S,
            )
            finished = self._finished(reply)
            if finished.status and finished.status != _UNAUTHORISED:
                self._good[leave.slot] = (generation, self._clock.monotonic())
            return reply, generation
        finally:
            self._turnstile.leave(leave, finished)

    def _finished(self, reply: Reply | Broken) -> Finished:
        if isinstance(reply, Broken):
            return Finished(sent=reply.failure is not Failure.UNSENT)
        if self._is_relayed(reply):
            return Finished(withdrawn=True)  # it says nothing of the way there
        named = reply.named()
        retry_after_s = read_retry_after(named.get("retry-after"), now=self._clock.now())
        return Finished(status=reply.status, heard=read_rate(named), retry_after_s=retry_after_s)

    def _is_relayed(self, reply: Reply | Broken) -> bool:
        return self._relays and isinstance(reply, Reply) and reply.status == _TOO_MANY

    def _outcome(self, reply: Reply | Broken) -> Outcome:
        if isinstance(reply, Broken):
            return reply.failure
        retry_after_s = read_retry_after(reply.named().get("retry-after"), now=self._clock.now())
        return Answered(status=reply.status, retry_after_s=retry_after_s)

    def _last(self, reply: Reply | Broken) -> Ending:
        """What the client is told when there is no further attempt."""
        return reply if isinstance(reply, Reply) else self._unreachable(reply)

    def _unreachable(self, broken: Broken) -> Answer:
        self.tally.unreachable += 1
        return answers.unreachable(broken.why, correlation=self._ids.fresh())

    def _come_back(self, call: _Call, leave: int | Full) -> Answer:
        """The request waited long enough, or may not wait at all."""
        fault = self._tokens.pool.fault
        if fault and not self._turnstile.admission.has_tokens():
            if self._tokens.pool.refused:
                return answers.api_error(_UNAUTHORISED, "bad.credentials", fault, correlation=self._ids.fresh())
            return answers.unreachable(fault, correlation=self._ids.fresh())
        if isinstance(leave, Full):
            return answers.too_many(5, leave.value, correlation=self._ids.fresh())
        ask = self._ask(call, _Progress(deadline_s=0.0))
        trouble = self._turnstile.admission.why_not(ask)
        if trouble:
            return answers.unreachable(trouble, correlation=self._ids.fresh(), retry_after_s=leave)
        why = "Interlock holds this call back to stay within the organisation's API limits"
        allotment = self._turnstile.admission.allotments.of(ask.state)
        said = "" if allotment is None else f"; {allotment.text}"
        return answers.too_many(leave, why + said, correlation=self._ids.fresh())


async def _is_current(run: Run) -> bool:
    answer = run.is_current(run.run)
    return bool(await answer) if inspect.isawaitable(answer) else bool(answer)


def _heard(ending: Ending) -> Heard:
    """Return what a witness is told of a call's end; a failure of the API's may come after it has done the work."""
    if isinstance(ending, Answer):
        return _heard_here(ending)
    effect = Effect.UNKNOWN if ending.status >= _SERVER_ERROR else Effect.ANSWERED
    body = None if ending.rest is not None else plain_body(ending.body, ending.headers)
    return Heard(effect=effect, status=ending.status, body=body)


def _heard_here(answer: Answer) -> Heard:
    """Return the same of an answer of our own: a success is what a look at the object has shown."""
    if answer.status < 400:  # noqa: PLR2004 - HTTP
        return Heard(effect=Effect.ANSWERED, status=answer.status, body=answer.body)
    is_unknown = answer.status == answers.OUTCOME_UNKNOWN_STATUS
    return Heard(effect=Effect.UNKNOWN if is_unknown else Effect.NONE)


def _discard(reply: Reply | Broken) -> None:
    if not isinstance(reply, Broken):
        _discard_rest(reply)


def _discard_rest(ending: Ending) -> None:
    if isinstance(ending, Reply) and ending.rest is not None:
        ending.rest.close()


def _header(headers: list[Pair], name: bytes) -> str | None:
    """Return a header; None when it is missing or there is more than one, which would be two meanings."""
    found = [value for key, value in headers if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _bearer_of(headers: list[Pair]) -> str | None:
    """Return the header that names a token; the provider sends files with the token alone, without `Bearer`."""
    shown = _header(headers, b"authorization")
    return f"Bearer {shown}" if shown and " " not in shown else shown


def _base_of(route: Route, scope: Scope) -> str:
    """Return what a run puts before its paths here; empty for other clients, who may come through who knows what."""
    host = _header(scope["headers"], b"host")
    if host is None or not isinstance(route.caller, RunCaller):
        return ""
    mount = scope.get("root_path", "")
    return f"{scope.get('scheme', 'http')}://{host}{mount}/r/{route.caller.run}/{route.caller.token}"


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _form_credentials(form: dict[str, str]) -> Credentials | None:
    if "client_id" not in form or "client_secret" not in form:
        return None
    return Credentials(client_id=form["client_id"], secret=Secret(form["client_secret"]))


def _login_refusal(refused: Refused) -> Answer:
    return answers.login_error(refused.status, "invalid_request", refused.message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _pass_on(send: Send, reply: Reply, *, with_body: bool) -> None:
    """Give the API's answer on, no faster than the client takes it."""
    headers = forwarded_response(reply.headers)
    announced = reply.named().get("content-length")
    if reply.rest is None:
        length = str(len(reply.body)) if with_body else announced or "0"
        headers.append((b"content-length", length.encode()))
    elif announced is not None and announced.isdigit():  # else it is framed in chunks, which HTTP/1.0 does not know
        headers.append((b"content-length", announced.encode()))
    async with contextlib.AsyncExitStack() as stack:
        if reply.rest is not None:
            stack.callback(reply.rest.close)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if reply.rest is None and len(reply.body) <= _PIECE:  # nearly all answers; nothing can stand in its way
            await send({"type": "http.response.body", "body": reply.body})
            return
        for at in range(0, max(len(reply.body) - _PIECE, 0), _PIECE):
            await _send_piece(send, reply.body[at : at + _PIECE], more=True)
        tail = reply.body[max(len(reply.body) - 1, 0) // _PIECE * _PIECE :]
        if reply.rest is None:
            await _send_piece(send, tail, more=False)
            return
        await _send_piece(send, tail, more=True)
        async for chunk in reply.rest.chunks():
            await _send_piece(send, chunk, more=True)
        await _send_piece(send, b"", more=False)


async def _send_piece(send: Send, piece: bytes, *, more: bool) -> None:
    async with asyncio.timeout(CHUNK_SENT_S):
        await send({"type": "http.response.body", "body": piece, "more_body": more})
