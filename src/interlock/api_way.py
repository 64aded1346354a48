"""A run's own way to the Genesys Cloud API in embedded mode: a gateway on a loopback port while the run holds.

The unmodified provider is pointed at it through the override file of the run's tree, a `gateway` block whose path
prefix names the run and its grant; nothing of the user's is edited. The provider gets placeholder credentials, so the
real client secret stays in this process.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from interlock.disk import DiskTree
from interlock.errors import UsageError
from interlock.gateway import Credentials, Planned, Secret, apply_overrides, check_deadline, estimate
from interlock.gateway.rules import parse_override
from interlock.gateway.service import Gateway, Terms
from interlock.genesys import parse_region, rate_limits
from interlock.hcl.module import Module, Provider, read_module
from interlock.ids import Ids
from interlock.lock import Priority
from interlock.run.surroundings import Seat
from interlock.run.workspace import HEADING, OVERRIDE, OVERRIDE_NAME, write_override
from interlock.settings import Settings
from interlock.store import RecordStore
from interlock.terraform.plan import PlanFacts

PROVIDER = "genesyscloud"
_HOST = "GENESYSCLOUD_GATEWAY_HOST"
_CLIENT = "GENESYSCLOUD_OAUTHCLIENT_ID"
_SECRET = "GENESYSCLOUD_OAUTHCLIENT_SECRET"  # noqa: S105 - the name of a variable
_PLACEHOLDER_CLIENT = "interlock-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a root module needs of a gateway.

    Attributes:
        terms: How to run it.
        aliases: Aliased provider configurations of the root module; empty text for the default one.
        pool_chosen: The user chose `token_pool_size`.
    """

    terms: Terms
    aliases: tuple[str, ...]
    pool_chosen: bool


def find_need(directory: Path, settings: Settings, environ: Mapping[str, str]) -> Need | str:
    """Return what a root module needs of a gateway, or why it runs without one, for people.

    Raises:
        UsageError: The gateway's settings are wrong, or the region does not exist.
    """
    module = read_module(DiskTree(), str(directory))
    section = settings.sections.get("gateway", {})
    own = [provider for provider in module.providers if provider.name == PROVIDER]
    if why := _why_not(module, own, section, environ):
        return why
    upstream = _upstream(module, section, environ)
    if upstream is None:
        return "no region is known (GENESYSCLOUD_REGION, aws_region or gateway.region)"
    terms = Terms(
        api_url=upstream[0],
        login_url=upstream[1],
        credentials=Credentials(client_id=environ[_CLIENT], secret=Secret(environ[_SECRET])),
        budgets=tuple(parse_override(f"{name}={value}") for name, value in section.get("budgets", {}).items()),
        tokens=int(section.get("tokens", 10)),
        hold_s=float(section.get("hold", 8.0)),
        open_login=True,
    )
    chosen = any("token_pool_size" in provider.block.body.attributes for provider in own)
    return Need(
        terms=terms,
        aliases=tuple(sorted({"", *(provider.alias for provider in own)})),
        pool_chosen=chosen or "GENESYSCLOUD_TOKEN_POOL_SIZE" in environ,
    )


def _why_not(
    module: Module, own: list[Provider], section: Mapping[str, object], environ: Mapping[str, str]
) -> str | None:
    """Return why there is nothing to gain, or nothing that could be done, for people; None when there is."""
    if not _uses_provider(module):
        return "the configuration does not use Genesys Cloud"
    if section.get("enabled") is False:
        return "gateway.enabled is false in interlock.yaml"
    if environ.get("GENESYSCLOUD_ACCESS_TOKEN"):
        return "an access token is given; a gateway needs the OAuth client to keep tokens fresh"
    if not environ.get(_CLIENT) or not environ.get(_SECRET):
        return f"{_CLIENT} and {_SECRET} are not both in the environment"
    if any(_has_own_gateway(provider) for provider in own):
        return "the provider block has a gateway of its own"
    return None


def _uses_provider(module: Module) -> bool:
    prefix = f"{PROVIDER}_"
    return any(
        any(provider.name == PROVIDER for provider in part.providers)
        or any(resource.type.startswith(prefix) for resource in part.resources)
        for part in module.walk()
    )


def _has_own_gateway(provider: Provider) -> bool:
    """Say whether a provider block has a `gateway` block with something in it; an empty one reads the environment."""
    return any(block.body.attributes for block in provider.block.body.blocks("gateway"))


def _upstream(module: Module, section: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the addresses of API and login service: as set, through the environment's gateway, or the region's."""
    api = environ.get("INTERLOCK_UPSTREAM_API") or section.get("upstream_api")
    login = environ.get("INTERLOCK_UPSTREAM_LOGIN") or section.get("upstream_login")
    if api and login:
        return str(api), str(login)
    if api or login:
        raise UsageError(
            "only one upstream of the gateway is set", why="the API and the login service are two", fix="set both"
        )
    if host := environ.get(_HOST):
        base = f"{environ.get('GENESYSCLOUD_GATEWAY_PROTOCOL', 'https')}://{host}"
        port = environ.get("GENESYSCLOUD_GATEWAY_PORT")
        return (f"{base}:{port}", f"{base}:{port}") if port else (base, base)
    name = section.get("region") or _region(module) or environ.get("GENESYSCLOUD_REGION")
    if not name:
        return None
    region = parse_region(str(name))
    return f"https://{region.api_host}", f"https://{region.login_host}"


def _region(module: Module) -> str | None:
    from interlock.hcl.constant import constant_text

    for provider in module.providers:
        attribute = provider.block.body.attributes.get("aws_region") if provider.name == PROVIDER else None
        if attribute is not None:
            return constant_text(attribute.value, module.scope)
    return None


class RunGateway:
    """See `interlock.run.surroundings.Gateway`.

    Args:
        need: What the configuration needs.
        ids: For the run's secret.
        store: Where budgets are shared with other runs of this machine.
        is_current: Says whether a grant is current; asked before every call.
        own_backend: The configuration's own backend is used, so the override must not name another.
    """

    def __init__(
        self,
        need: Need,
        *,
        ids: Ids,
        store: RecordStore,
        is_current: Callable[[int], Awaitable[bool]],
        own_backend: bool = False,
    ) -> None:
        self._need = need
        self._ids = ids
        self._is_current = is_current
        self._gateway = Gateway(need.terms, ids=ids, store=store)
        self._base = HEADING if own_backend else OVERRIDE
        self._override = self._base
        self._open = False
        self._url = ""

    @property
    def url(self) -> str:
        """Where the run's own calls to the API go; empty while the gateway is not open."""
        return self._url if self._open else ""

    @property
    def client(self) -> str:
        """Id of the OAuth client that the calls are made with."""
        return self._need.terms.credentials.client_id

    async def open(self, run: str, priority: Priority, seat: Seat, folder: Path) -> Mapping[str, str]:
        """See `Gateway.open`."""

        async def is_current(_run: str) -> bool:
            return await self._is_current(seat.token)

        address = await self._gateway.start("127.0.0.1", 0)
        self._open = True
        secret = self._ids.fresh()
        prefix = self._gateway.add_run(run, priority, f"{seat.token}-{secret}", is_current)
        self._url = address.url + prefix
        self._override = self._base + "".join(self._block(alias, address.port, prefix) for alias in self._need.aliases)
        write_override(folder, self._override)
        await self._gateway.check_login()
        return {
            _CLIENT: _PLACEHOLDER_CLIENT,
            _SECRET: secret,
            _HOST: "",
        }

    def _block(self, alias: str, port: int, prefix: str) -> str:
        params = "".join(
            f'    path_params {{\n      path_name  = "{name}"\n      path_value = "{prefix}"\n    }}\n'
            for name in ("api", "login")
        )
        named = f'  alias = "{alias}"\n' if alias else ""
        pool = "" if self._need.pool_chosen else f"  token_pool_size = {self._pool_size()}\n"
        return (
            f'provider "{PROVIDER}" {{\n{named}{pool}  gateway {{\n    protocol = "http"\n    host     = "127.0.0.1"\n'
            f'    port     = "{port}"\n{params}  }}\n}}\n'
        )

    def _pool_size(self) -> int:
        """Return as many clients of the provider as keep the budget busy in a large plan; ours cost no real login."""
        busy = [Planned(type=f"{PROVIDER}_user", action="create", count=1000)]
        limits = apply_overrides(rate_limits(), self._need.terms.budgets)
        return estimate(busy, limits=limits, tokens=self._need.terms.tokens).token_pool_size

    def adapt(self, plan: bytes) -> bytes:
        """Return a saved plan whose own copy of the override names this run's gateway instead of an earlier run's."""
        with zipfile.ZipFile(BytesIO(plan)) as archive:
            entries = [(info, archive.read(info)) for info in archive.infolist()]
        if not any(info.filename.endswith("/" + OVERRIDE_NAME) for info, _ in entries):
            return plan
        adapted = BytesIO()
        with zipfile.ZipFile(adapted, "w") as archive:
            for info, content in entries:
                own = info.filename.endswith("/" + OVERRIDE_NAME)
                archive.writestr(info, self._override.encode() if own else content)
        return adapted.getvalue()

    def forecast(self, plan: PlanFacts, deadline_s: float | None, parallelism: int | None) -> Mapping[str, object]:
        """See `Gateway.forecast`."""
        counted = Counter((change.resource.type, change.action.value) for change in plan.changes)
        planned = [Planned(type=kind, action=action, count=count) for (kind, action), count in counted.items()]
        terms = self._need.terms
        found = estimate(
            planned,
            limits=apply_overrides(rate_limits(), terms.budgets),
            tokens=terms.tokens,
            parallelism=parallelism,
        )
        if deadline_s is not None:
            check_deadline(found, left_s=deadline_s)
        text = f"about {found.calls} API calls, at least {found.shortest_s:.0f}s, limited by {found.limited_by}"
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
        if not self._open:
            return {}
        self._open = False
        stats = self._gateway.stats()
        await self._gateway.aclose()
        return {
            "calls": stats.calls,
            "sent": stats.sent,
            "waited_s": round(stats.waited_s, 3),
            "refused_by_api": stats.refused_by_api,
            "told_to_come_back": stats.told_to_come_back,
            "fenced": stats.fenced,
            "retries": stats.retries,
            "replayed_401": stats.replayed_401,
            "unknown_outcomes": stats.unknown_outcomes,
        }
