"""A run's own way to the Genesys Cloud API in embedded mode: gateways on loopback ports while the run holds.

The unmodified provider is pointed at them through the override file of the run's tree, a `gateway` block for each
provider configuration, whose path prefix names the run and its grant; nothing of the user's is edited. Each OAuth
client and region has a gateway of its own. A provider logs in there as it would at the login service, with the client
that it was configured with, and is refused when that is not the one for which this way was opened: so an override that
was wrong about a configuration never leads it to another organisation. Where every configuration goes through a
gateway, Terraform's environment holds a placeholder instead of the client's secret.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock.creations.creation import Place
from interlock.creations.looking import Ask
from interlock.errors import InterlockError
from interlock.gateway import Credentials, Planned, Secret, apply_overrides, check_deadline, estimate
from interlock.gateway.allotment import Allotment
from interlock.gateway.identity import client_key
from interlock.gateway.service import Gateway, Terms
from interlock.gateway.sharing import LedgerPlace
from interlock.gateway.witness import Witness
from interlock.genesys import rate_limits
from interlock.genesys.provider import TOKEN_POOL_EVERYWHERE
from interlock.ids import Ids
from interlock.lock import Priority
from interlock.run.gateway_access.need import GATEWAY_HOST, Need, Way
from interlock.run.gateway_access.provider_settings import ENVIRONMENT, PROVIDER, ProviderLogin
from interlock.run.order import Order
from interlock.run.planned_for import Target, with_override
from interlock.run.surroundings import Seat
from interlock.run.workspace import OVERRIDE, OVERRIDE_NAME, write_override
from interlock.store import RecordStore
from interlock.terraform.plan import PlanFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersWay:
    """What a server gives a run that holds its state.

    Attributes:
        address: In front of `/api/v2/...` and `/oauth/token`. A secret.
        client_id: The OAuth client to show there.
        secret: Its secret.
    """

    address: str = field(repr=False)
    client_id: str
    secret: str = field(repr=False)


async def _all_of_it() -> Allotment | None:
    """Allow a run all that there is."""
    return None


class RunGateway:
    """See `interlock.run.surroundings.Gateway`.

    Args:
        need: What the configuration needs.
        ids: For the run's secret.
        store: Where budgets are shared with other runs of this machine.
        common: Where they are shared with runs on other machines too; None for nowhere.
        is_current: Says whether a grant is current; asked before every call.
        override: What the override of the run's tree says of the backend.
        witness_of: Returns who is told of the calls to an organisation by the provider configurations with these
            aliases; None when nobody is.
        learn: Told of access tokens that a provider gets, to hide them.
        ask_server: Asks the server of this run for a way to its organisation, for a grant; None without one.
        state: Which one the run holds.
        allotted: Says what policies allow it now; None for all that there is.
        every_s: Seconds between two such questions.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that the gateways of a run ask or are given
        self,
        need: Need,
        *,
        ids: Ids,
        store: RecordStore,
        is_current: Callable[[int], Awaitable[bool]],
        common: LedgerPlace | None = None,
        override: str = OVERRIDE,
        witness_of: Callable[[Place, tuple[str, ...]], Witness] | None = None,
        ask_server: Callable[[Seat], Awaitable[ServersWay]] | None = None,
        learn: Callable[[tuple[str, ...]], None] = lambda _: None,
        state: str = "",
        allotted: Callable[[], Awaitable[Allotment | None]] = _all_of_it,
        every_s: float = 10.0,
    ) -> None:
        self._need = need
        self._ids = ids
        self._is_current = is_current
        self._ask_server = ask_server
        self._learn = learn
        self._state, self._allotted, self._every_s = state, allotted, every_s
        self._allotment: Allotment | None = None
        self._following: asyncio.Task[None] | None = None
        self._store, self._common, self._witness_of = store, common, witness_of
        self._gateways = [(way, self._new_gateway(way, way.terms)) for way in need.ways]
        self._base = override
        self._override = self._base
        self._open: list[Gateway] = []
        self._url = ""
        self._secrets: tuple[str, ...] = ()
        self._ports: tuple[int, ...] = ()

    def _new_gateway(self, way: Way, terms: Terms) -> Gateway:
        """Return a gateway; one that relays to a server shares no budgets here: they are kept there."""
        store, common = (None, None) if way.is_servers else (self._store, self._common)
        witness = _witness(way, self._witness_of)
        return Gateway(
            replace(terms, state=self._state),
            ids=self._ids,
            store=store,
            common=common,
            witness=witness,
            lent=lambda token: self._learn((token,)),
        )

    @property
    def url(self) -> str:
        """Where the run's own calls to the default configuration's organisation go; empty while nothing is open."""
        return self._url if self._open else ""

    @property
    def ports(self) -> tuple[int, ...]:
        """See `Gateway.ports`."""
        return self._ports if self._open else ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """See `Gateway.secrets`: providers quote the address of a call that failed, and with it their prefix."""
        return self._secrets

    @property
    def client(self) -> str:
        """Id of the OAuth client that the calls are made with; empty while it was not learned."""
        gateway = next(gateway for way, gateway in self._gateways if way is self._main)
        return gateway.credentials.client_id if gateway.credentials is not None else ""

    @property
    def left_alone(self) -> tuple[str, ...]:
        """What a person should know of provider configurations that keep their own way."""
        return tuple(self._need.words)

    @property
    def _main(self) -> Way:
        return self._need.main or self._need.ways[0]

    async def open(self, run: str, priority: Priority, seat: Seat, folder: Path) -> Mapping[str, str]:
        """See `Gateway.open`."""
        secret = self._ids.fresh()
        self._secrets, self._ports = (secret,), ()
        self._allotment = await self._allotted()
        blocks = []
        self._gateways = [(way, await self._led(way, gateway, seat)) for way, gateway in self._gateways]
        for way, gateway in self._gateways:
            prefix, port = await self._open_way(way, gateway, run, priority, seat, secret)
            blocks += [self._block(login, way, port, prefix) for login in way.logins]
        self._following = asyncio.create_task(self._follow_policies(), name="policies of the run's state")
        self._override = self._base + _requirements(self._need.requirements) + "".join(blocks)
        write_override(folder, self._override)
        # Of several, one may belong to a configuration that no resource uses; what is learned has no login yet.
        if len(self._gateways) == 1 and self._open[0].credentials is not None:
            await self._open[0].check_login()
        return self._environment(secret)

    async def _follow_policies(self) -> None:
        """See a changed share within a heartbeat. While nobody can be asked, the last one holds."""
        while any(not way.is_servers for way, _ in self._gateways):
            await asyncio.sleep(self._every_s)
            with suppress(InterlockError):
                found = await self._allotted()
                if found != self._allotment:
                    self._allotment = found
                    for gateway in self._open:
                        gateway.allot(self._state, found)

    async def _led(self, way: Way, gateway: Gateway, seat: Seat) -> Gateway:
        """Return the gateway as it is to be opened: that to a server's gateway now learns its address and its secret.

        Raises:
            InterlockError: The server gives no way.
        """
        if not way.is_servers:
            return gateway
        assert self._ask_server is not None, "a way to a server was found without one"
        given = await self._ask_server(seat)
        self._secrets += (given.secret, given.address.rpartition("/")[2])
        credentials = Credentials(client_id=given.client_id, secret=Secret(given.secret))
        terms = replace(way.terms, api_url=given.address, login_url=given.address, credentials=credentials)
        return self._new_gateway(way, terms)

    async def _open_way(
        self, way: Way, gateway: Gateway, run: str, priority: Priority, seat: Seat, secret: str
    ) -> tuple[str, int]:
        """Open the gateway of one client; return the run's prefix there and the port."""

        async def is_current(_run: str) -> bool:
            return await self._is_current(seat.token)

        gateway.allot(self._state, self._allotment)
        address = await gateway.start("127.0.0.1", 0)
        self._open.append(gateway)
        self._ports += (address.port,)
        real = gateway.terms.credentials
        logins = None if real is None else (real, Credentials(client_id=real.client_id, secret=Secret(secret)))
        token = f"{seat.token}-{self._ids.fresh()}"
        self._secrets += (token,)
        prefix = gateway.add_run(run, priority, token, is_current, logins=logins, state=self._state)
        if way is self._need.main:
            self._url = address.url + prefix
        return prefix, address.port

    def _environment(self, secret: str) -> Mapping[str, str]:
        """Return the placeholder in the place of the secret, unless a configuration still needs the real one."""
        return {ENVIRONMENT["oauthclient_secret"]: secret, GATEWAY_HOST: ""} if self._need.is_whole else {}

    def _block(self, login: ProviderLogin, way: Way, port: int, prefix: str) -> str:
        params = "".join(
            f'    path_params {{\n      path_name  = "{name}"\n      path_value = "{prefix}"\n    }}\n'
            for name in ("api", "login")
        )
        named = f'  alias = "{login.alias}"\n' if login.alias else ""
        pool = "" if login.pool_chosen else f"  token_pool_size = {pool_size(way)}\n"
        host = f'    protocol = "http"\n    host     = "127.0.0.1"\n    port     = "{port}"\n'
        return f'provider "{login.name}" {{\n{named}{pool}  gateway {{\n{host}{params}  }}\n{_proxy(login)}}}\n'

    @property
    def writes(self) -> int | None:
        """See `Gateway.writes`."""
        if self._need.may_write_past:
            return None
        return sum(gateway.writes for _, gateway in self._gateways)

    async def targets(self) -> Mapping[str, Target]:
        """See `Gateway.targets`."""
        found: dict[str, Target] = {}
        for way, gateway in self._gateways:
            target = Target(api=way.terms.api_url, organisation=await gateway.find_organisation())
            found.update({login.label: target for login in way.logins})
        return found

    def expect(self, targets: Mapping[str, Target]) -> None:
        """See `Gateway.expect`."""
        for way, gateway in self._gateways:
            organisations = {targets[login.label].organisation for login in way.logins if login.label in targets}
            if way.terms.credentials is None and len(organisations) == 1:
                gateway.expect(organisations.pop())

    def ask_for(self, alias: str) -> Ask | None:
        """See `Gateway.ask_for`."""
        if not self._open:
            return None
        found = (gateway for way, gateway in self._gateways if any(login.alias == alias for login in way.logins))
        gateway = next(found, None)
        return None if gateway is None else gateway.read

    def ask_of(self, place: Place) -> Ask | None:
        """See `Gateway.ask_of`."""
        if not self._open:
            return None
        for way, gateway in self._gateways:
            ours = place_of(way)
            # By its provider configuration too: of a client that is learned from a login nothing is known before.
            if (ours.client, ours.provider) == (place.client, place.provider):
                return gateway.read
        return None

    def adapt(self, plan: bytes) -> bytes:
        """Return a saved plan whose own copy of the override names this run's gateway instead of an earlier run's."""
        return with_override(plan, OVERRIDE_NAME, self._override)

    def check_changes(self, plan: bytes, facts: PlanFacts, order: Order) -> None:
        """See `Gateway.check_changes`."""
        way = next((way for way in self._need.ways if way.is_servers), None)
        if way is not None:
            from interlock.run.asked_past import check_changes, read_asking  # most runs have no server's way

            organisation = way.terms.api_url.rpartition("/")[2]
            aliases = {login.alias for login in way.logins}
            check_changes(read_asking(plan, facts), aliases, order, organisation)

    def forecast(self, plan: PlanFacts, deadline_s: float | None, parallelism: int | None) -> Mapping[str, object]:
        """See `Gateway.forecast`."""
        counted = Counter((change.resource.type, change.action.value) for change in plan.changes)
        planned = [Planned(type=kind, action=action, count=count) for (kind, action), count in counted.items()]
        terms = self._main.terms
        found = estimate(
            planned,
            limits=apply_overrides(rate_limits(), terms.budgets),
            tokens=terms.tokens,
            parallelism=parallelism,
            allotment=self._allotment,
        )
        if deadline_s is not None:
            check_deadline(found, left_s=deadline_s)
        text = f"about {found.calls} API calls, at least {found.shortest_s:.0f}s, limited by {found.limited_by}"
        text += "" if self._allotment is None else f"; {self._allotment.text}"
        return {
            "calls": found.calls,
            "shortest_s": found.shortest_s,
            "limited_by": found.limited_by,
            "parallelism": found.parallelism,
            "token_pool_size": found.token_pool_size,
            "explanation": list(found.explanation),
            "text": text,
        }

    async def close(self) -> Mapping[str, object]:
        """See `Gateway.close`."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        gateways, self._open = self._open, []
        counts: Counter[str] = Counter()
        for gateway in gateways:
            counts.update(_counts(gateway))
            await gateway.aclose()
        return {name: round(count, 3) for name, count in counts.items()}


def place_of(way: Way) -> Place:
    """Return the organisation to which a way leads, as far as it is known before anybody asked it."""
    client = way.terms.credentials
    key = "" if client is None else client_key(way.terms.api_url, client.client_id)
    return Place(client=key, api=way.terms.api_url, provider=way.logins[0].label)


def _witness(way: Way, witness_of: Callable[[Place, tuple[str, ...]], Witness] | None) -> Witness | None:
    return None if witness_of is None else witness_of(place_of(way), tuple(login.alias for login in way.logins))


def pool_size(way: Way) -> int:
    """Return as many clients of the provider as keep the budget busy in a large plan; ours cost no real login.

    Never more than every provider version takes: which one runs is known only after `terraform init`, and Terraform
    uses a client for each of its operations at once, ten by default.
    """
    busy = [Planned(type=f"{PROVIDER}_user", action="create", count=1000)]
    limits = apply_overrides(rate_limits(), way.terms.budgets)
    advised = estimate(busy, limits=limits, tokens=way.terms.tokens).token_pool_size
    return min(advised, TOKEN_POOL_EVERYWHERE)


def _proxy(login: ProviderLogin) -> str:
    """Take a configuration's own proxy out: it would get the calls to this machine, and the run's secret with them."""
    return '  dynamic "proxy" {\n    for_each = []\n    content {}\n  }\n' if login.has_proxy_block else ""


def _requirements(sources: Mapping[str, str]) -> str:
    """Spell the requirements that a root module needs so that its provider blocks mean those of its modules."""
    if not sources:
        return ""
    lines = "".join(f'    {name} = {{ source = "{source}" }}\n' for name, source in sources.items())
    return f"terraform {{\n  required_providers {{\n{lines}  }}\n}}\n"


def _counts(gateway: Gateway) -> Mapping[str, float]:
    stats = gateway.stats()
    return {
        "calls": stats.calls,
        "sent": stats.sent,
        "waited_s": stats.waited_s,
        "refused_by_api": stats.refused_by_api,
        "told_to_come_back": stats.told_to_come_back,
        "fenced": stats.fenced,
        "retries": stats.retries,
        "replayed_401": stats.replayed_401,
        "unknown_outcomes": stats.unknown_outcomes,
        "shared_swaps": stats.shared_swaps,
    }
