"""The whole simulated organisation: a request and a moment in, an outcome out. Pure; `asgi.py` serves it.

The order of things is the vendor's as far as it is known: faults of the network first, then the token (401), the limits
(429), the path (404), the permission (403), and only then the operation.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

from . import architect, authorization, directory, flows, media, routing, scripts, table
from .answer import ApiRefusal, Json, Moment, Reply, Request
from .audits import AuditLog, AuditTerms
from .call import Call, Caller, page, permitted
from .chance import Chance
from .control import CONTROL_PREFIX, control
from .faults import FaultKind, FaultPlan, FaultRule
from .flows import UPLOAD_PREFIX, FlowTerms, Publisher
from .limits import DEFAULT_LIMITS, Limit, Meter, Scope, Standing, limits_reply, too_many_requests
from .media import MEDIA_PREFIX, Media
from .oauth import TOKEN_PATH, LoginLimit, LoginService, OAuthClient, login_limit_error, with_scheme
from .org import Change, Delays, Kind, Organisation
from .routes import Route, Router
from .scripts import UPLOAD_PATH, Scripts

API_PREFIX = "/api/v2"
MAX_BODY_BYTES = 512_000  # request.bytes.max in src/interlock/genesys/data/limits.json
MAX_UPLOAD_BYTES = 8_000_000  # ours: flow files, scripts and sound files go past the platform API
MAX_JOURNAL = 20_000  # requests remembered

DEFAULT_CLIENT = OAuthClient(id="11111111-1111-4111-a111-111111111111", secret="simulated-secret")  # noqa: S106 - it opens nothing real
"""The client that demos and tests use."""

_PAGE = b"<html><head><title>Service unavailable</title></head><body><h1>Please try again later</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one simulated organisation is like.

    Attributes:
        seed: Ids, tokens and faults follow from it.
        speed: Windows, delays and jobs run this many times faster; token lives are as given.
        faults: What goes wrong from the start.
    """

    seed: int = 1
    clients: tuple[OAuthClient, ...] = (DEFAULT_CLIENT,)
    limits: tuple[Limit, ...] = DEFAULT_LIMITS
    login_limit: LoginLimit = field(default_factory=LoginLimit)
    delays: Delays = field(default_factory=Delays)
    flows: FlowTerms = field(default_factory=FlowTerms)
    audits: AuditTerms = field(default_factory=AuditTerms)
    speed: float = 1.0
    faults: tuple[FaultRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the server must do: send `reply`, spoiled as `fault` says; no reply means a reset connection."""

    reply: Reply | None
    fault: FaultRule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One served request, for tests and benchmarks; `caller` is the client id, empty without a token."""

    at: datetime
    elapsed_s: float
    method: str
    path: str
    status: int
    caller: str


class Simulation:
    """One organisation with its login service, limits and faults.

    Args:
        terms: What it is like.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        chance = Chance(self.terms.seed)
        speed = self.terms.speed
        kinds = {kind.name: kind for kind in _kinds()}
        given = self.terms
        late = given.delays
        delays = Delays(read_s=late.read_s / speed, list_s=late.list_s / speed, media_s=late.media_s / speed)
        login = replace(given.login_limit, window_s=given.login_limit.window_s / speed)
        self.org = Organisation(kinds, chance=chance, delays=delays)
        self.org.on_change = self._audit
        self.login = LoginService(given.clients, chance=Chance(chance.bits()), limit=login)
        self.meter = Meter(given.limits, speed=speed)
        self.faults = FaultPlan(given.faults, chance=Chance(chance.bits()))
        publishing = replace(given.flows, job_s=given.flows.job_s / speed)
        self._publisher = Publisher(publishing, chance=Chance(chance.bits()))
        self._media = Media()
        self._scripts = Scripts(chance=Chance(chance.bits()), media=self._media)
        self._audits = AuditLog(AuditTerms(lag_s=given.audits.lag_s / speed), chance=Chance(chance.bits()))
        self._acting: Caller | None = None
        self.journal: deque[Entry] = deque(maxlen=MAX_JOURNAL)
        self.statuses: Counter[int] = Counter()
        self._correlation = Chance(chance.bits())
        self.routes = tuple(self._routes())
        self._router = Router(self.routes)
        self.org.permissions = frozenset(chain.from_iterable(route.permissions for route in self.routes))
        self._is_founded = False

    def handle(self, request: Request, moment: Moment) -> Outcome:
        """Serve one request.

        Args:
            request: At most `MAX_BODY_BYTES` of body; more is answered with 413 here.
            moment: Now.
        """
        self.found(moment)
        if request.path.startswith(CONTROL_PREFIX):
            return self._control(request)
        fault = self.faults.choose(request.method, request.path)
        caller = _Nobody()
        spoiled = self._before(fault)
        if isinstance(spoiled, Reply):
            reply = spoiled
        elif fault is not None and fault.kind is FaultKind.RESET:
            return self._closed(request, moment, Outcome(reply=None, fault=fault), caller)
        else:
            reply = self._serve(request, moment, caller)
        return self._closed(request, moment, _after(reply, fault), caller)

    def _control(self, request: Request) -> Outcome:
        try:
            return Outcome(reply=control(self, request))
        except ApiRefusal as refusal:
            return Outcome(reply=refusal.reply("control"))

    def gave_away(self, path: str) -> bool:
        """Return whether `path` is that of an upload that this organisation awaits, or of a file that it gave away."""
        return self._publisher.awaits(path) or self._media.awaits(path, self.org)

    def snapshot(self) -> dict[str, list[Json]]:
        """Return the organisation as plain data; see `Organisation.snapshot`."""
        return self.org.snapshot()

    def found(self, moment: Moment) -> None:
        """Create what every organisation has from its first day, once: the home division."""
        if not self._is_founded:
            self._is_founded = True
            self.org.add("division", {"name": "Home", "description": "", "homeDivision": True}, moment)
            table.found(self.org, moment)

    def _routes(self) -> Sequence[Route]:
        return [
            *chain(authorization.routes(), routing.routes(), directory.routes(), architect.routes()),
            *chain(self._publisher.routes(), self._scripts.routes(), self._audits.routes()),
            *table.routes(),
            *self._own_routes(),
        ]

    def _own_routes(self) -> list[Route]:
        limits, view = "/organizations/limits/namespaces", ("limits:organization:view",)
        return [
            Route(method="GET", path=limits, handler=self._namespaces, permissions=view),
            Route(method="GET", path=limits + "/{namespace}", handler=self._limits_now, permissions=view),
            Route(method="GET", path=limits + "/{namespace}/defaults", handler=self._limits_default, permissions=view),
            Route(method="GET", path="/tokens/me", handler=self._token),
            Route(method="DELETE", path="/tokens/me", handler=self._revoke_token),
        ]

    def _namespaces(self, call: Call) -> Reply:
        return page(call, sorted({limit.namespace for limit in (*DEFAULT_LIMITS, *self.meter.limits)}))

    def _limits_now(self, call: Call) -> Reply:
        return limits_reply(self.meter.limits, call.params[0])

    def _limits_default(self, call: Call) -> Reply:
        return limits_reply(DEFAULT_LIMITS, call.params[0])

    def _token(self, call: Call) -> Reply:
        ours = {"id": self.org.id}
        client = {"id": call.caller.client_id, "name": call.caller.client_name, "organization": ours}
        return Reply(content={"organization": ours, "OAuthClient": client})

    def _revoke_token(self, call: Call) -> Reply:
        self.login.revoke(call.caller.token)
        return Reply(status=200)

    def _audit(self, change: Change) -> None:
        self._audits.record(change, self._acting)

    def _before(self, fault: FaultRule | None) -> Reply | None:
        if fault is None:
            return None
        match fault.kind:
            case FaultKind.TOO_MANY:
                return self._refused(_storm(fault))
            case FaultKind.SERVER_ERROR:
                return self._refused(_server_error(fault))
            case FaultKind.NOT_JSON:
                return Reply(status=fault.status, content=_PAGE, headers=(("Content-Type", "text/html"),))
            case FaultKind.LOGIN_LIMIT:
                return login_limit_error()
            case _:
                return None

    def _serve(self, request: Request, moment: Moment, caller: _Nobody) -> Reply:
        standing: Standing | None = None
        try:
            _check_size(request)
            aside = self._serve_aside(request, moment)
            if aside is not None:
                return aside
            path = _api_path(request.path)
            known = self.login.caller(request, moment.elapsed_s)
            caller.client_id = known.client_id
            standing = self.meter.take(
                request.method, path, _scopes(known, self.org.id), moment.elapsed_s, request.query
            )
            reply = self._operate(request, path, known, moment)
        except ApiRefusal as refusal:
            reply = self._refused(refusal)
        return reply if standing is None else _with_headers(reply, standing.headers())

    def _serve_aside(self, request: Request, moment: Moment) -> Reply | None:
        """Serve what is not the platform API: no limit counts it."""
        path = request.path
        if path == TOKEN_PATH and request.method == "POST":
            return self.login.grant(request, moment.elapsed_s)
        if path.startswith(UPLOAD_PREFIX):
            return self._publisher.upload(request, self.org, moment)
        if path == UPLOAD_PATH and request.method == "POST":
            self.login.caller(request, moment.elapsed_s)
            return self._scripts.upload(request, self.org, moment)
        return self._serve_media(request, moment)

    def _serve_media(self, request: Request, moment: Moment) -> Reply | None:
        if request.path.startswith(MEDIA_PREFIX):
            return self._media.fetch(request)
        if request.path.startswith(media.UPLOAD_PREFIX):
            caller = self.login.caller(with_scheme(request), moment.elapsed_s)
            return self._media.upload(request, self.org, caller, moment)
        return None

    def _operate(self, request: Request, path: str, caller: Caller, moment: Moment) -> Reply:
        route, params = self._router.find(request.method, path)
        call = Call(org=self.org, request=request, moment=moment, caller=caller, params=params)
        if route.permissions:
            permitted(call, *route.permissions)
        self._acting = caller
        try:
            return route.handler(call)
        finally:
            self._acting = None

    def _refused(self, refusal: ApiRefusal) -> Reply:
        return refusal.reply(self._correlation.uuid())

    def _closed(self, request: Request, moment: Moment, outcome: Outcome, caller: _Nobody) -> Outcome:
        """Write the journal and give the answer its correlation id."""
        status = outcome.reply.status if outcome.reply is not None else 0
        self.statuses[status] += 1
        self.journal.append(
            Entry(
                at=moment.at,
                elapsed_s=moment.elapsed_s,
                method=request.method,
                path=request.path,
                status=status,
                caller=caller.client_id,
            )
        )
        if outcome.reply is None:
            return outcome
        content = outcome.reply.content
        context = content.get("contextId") if isinstance(content, dict) else None
        header = (("ININ-Correlation-Id", context or self._correlation.uuid()),)
        return Outcome(reply=_with_headers(outcome.reply, header), fault=outcome.fault)


@dataclass(slots=True)
class _Nobody:
    """Filled in once the token is known."""

    client_id: str = ""


def _kinds() -> tuple[Kind, ...]:
    return (
        *authorization.KINDS,
        *routing.KINDS,
        *directory.KINDS,
        *architect.KINDS,
        *flows.KINDS,
        *scripts.KINDS,
        *table.kinds(),
    )


def _check_size(request: Request) -> None:
    aside = (UPLOAD_PREFIX, UPLOAD_PATH, media.UPLOAD_PREFIX)
    limit = MAX_UPLOAD_BYTES if request.path.startswith(aside) else MAX_BODY_BYTES
    if len(request.body) > limit:
        raise ApiRefusal(413, "request.too.large", f"The request body exceeds {limit} bytes")


def _api_path(path: str) -> str:
    if not path.startswith(API_PREFIX + "/"):
        raise ApiRefusal(404, "not.found", "The requested path does not exist")
    return path[len(API_PREFIX) :]


def _scopes(caller: Caller, organisation_id: str) -> Mapping[Scope, str]:
    keys = {Scope.TOKEN: caller.token, Scope.CLIENT: caller.client_id, Scope.ORGANIZATION: organisation_id}
    if caller.user_id is not None:
        keys[Scope.USER] = caller.user_id
        keys[Scope.APP_USER] = f"{caller.client_id}/{caller.user_id}"
    return keys


def _after(reply: Reply, fault: FaultRule | None) -> Outcome:
    if fault is None:
        return Outcome(reply=reply)
    if fault.kind is FaultKind.LOST_REPLY:
        return Outcome(reply=None, fault=fault)
    if fault.kind is FaultKind.DONE_ERROR:
        return Outcome(reply=_server_error(fault).reply("done-error"), fault=fault)
    return Outcome(reply=reply, fault=fault)


def _storm(fault: FaultRule) -> ApiRefusal:
    refusal = too_many_requests(fault.seconds or 1.0)
    headers = () if fault.seconds is None else (("Retry-After", str(int(fault.seconds))),)
    return ApiRefusal(refusal.status, refusal.code, refusal.message, headers=headers)


def _server_error(fault: FaultRule) -> ApiRefusal:
    headers = () if fault.seconds is None else (("Retry-After", str(int(fault.seconds))),)
    return ApiRefusal(fault.status, "internal.server.error", "The request could not be completed.", headers=headers)


def _with_headers(reply: Reply, headers: tuple[tuple[str, str], ...]) -> Reply:
    return Reply(status=reply.status, content=reply.content, headers=reply.headers + headers)
