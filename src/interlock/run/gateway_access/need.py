"""What a root module needs of a gateway: one upstream, token pool and path prefix for each OAuth client and region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interlock.errors import UsageError
from interlock.gateway import Credentials, Secret
from interlock.gateway.files import OWN, RELAYED
from interlock.gateway.rules import parse_override
from interlock.gateway.service import Terms
from interlock.genesys import parse_region
from interlock.hcl.constant import Known
from interlock.hcl.given import ephemeral_names, given_scope, planned_scope
from interlock.hcl.module import Module, read_folder, read_module
from interlock.run.gateway_access.provider_blocks import OwnGateway
from interlock.run.gateway_access.provider_settings import (
    ENVIRONMENT,
    PROVIDER,
    LeftAlone,
    ProviderLogin,
    ProviderSettings,
    read_providers,
)
from interlock.run.workspace import OVERRIDE_NAME
from interlock.settings.authority import check_address
from interlock.settings.values import Settings
from interlock.source.disk import DiskTree
from interlock.source.tree import Tool, Tree

GATEWAY_HOST = "GENESYSCLOUD_GATEWAY_HOST"
_UPSTREAM_API = "INTERLOCK_UPSTREAM_API"
_UPSTREAM_LOGIN = "INTERLOCK_UPSTREAM_LOGIN"
_LEND_TOKEN = "INTERLOCK_LEND_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrganisation:
    """The organisation of a state, whose OAuth client a server keeps.

    Attributes:
        name: As the server calls it.
        region: Of Genesys Cloud.
        url: Of the server.
    """

    name: str
    region: str
    url: str

    @property
    def address(self) -> str:
        """Names it wherever a way is compared or kept; it has no secret."""
        return f"{self.url}/gateway/{self.name}"


PLACEHOLDER_CLIENT = "interlock-run"
"""The OAuth client of a run whose server keeps the real one."""
_NO_SECRET = "the-server-keeps-it"  # noqa: S105 - it opens nothing: a way is given when the run holds its state


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way of one OAuth client to its organisation, and the provider configurations that go it.

    Attributes:
        terms: Of its gateway. On the way to a server's gateway, address and secret are given when the run holds.
        logins: The configurations.
        is_servers: It leads to a server's gateway.
    """

    terms: Terms
    logins: tuple[ProviderLogin, ...]
    is_servers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a root module needs of a gateway.

    Attributes:
        ways: One for each client and region, that of the default configuration first; none when all are left alone.
        left_alone: Provider configurations that keep their own way, with the reason.
        unread: Modules that nobody could look into yet; a provider block in one keeps its own way too.
        requirements: Local names, with sources, that the override must declare for its provider blocks.
        past: What asks Genesys Cloud past every gateway.
        refused: Addresses of what a plan would ask for there with the OAuth client that a server keeps, in vain.
    """

    ways: tuple[Way, ...]
    left_alone: tuple[LeftAlone, ...] = ()
    unread: tuple[str, ...] = ()
    requirements: Mapping[str, str] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def main(self) -> Way | None:
        """The way of the default configuration; None when that one is left alone."""
        return next((way for way in self.ways if not way.logins[0].alias), None)

    @property
    def is_whole(self) -> bool:
        """Whether every configuration goes through the gateway, so that Terraform needs no real secret.

        One whose client is learned may take its id from elsewhere and the secret from the environment.
        """
        learns = any(way.terms.credentials is None for way in self.ways)
        return not self.left_alone and not self.unread and not learns

    @property
    def words(self) -> Iterator[str]:
        """What a person should know of configurations that keep their own way."""
        for each in self.left_alone:
            yield f"{each.label} bypasses the gateway, unfenced and outside the budget: {each.why}"
        for use in self.past:
            yield f"{use} asks Genesys Cloud past the gateway too, unfenced and outside the budget: {self._token_words}"
        if self.unread and self._lends_token:
            yield (
                f"what {', '.join(self.unread)} uses cannot be read before init: in case it asks Genesys "
                "Cloud past the gateway, unfenced and outside the budget, the provider gets an access token"
            )

    @property
    def _lends_token(self) -> bool:
        return any(way.terms.lends_token for way in self.ways)

    @property
    def _token_words(self) -> str:
        """What the provider has for calls past the gateway."""
        if self._lends_token:
            return "the provider gets an access token for that"
        return "the provider has no access token for that, so it is refused there"

    @property
    def may_write_past(self) -> bool:
        """Whether something may change Genesys Cloud without the gateway."""
        return bool(self.left_alone or self.unread or any(not use.startswith("data.") for use in self.past))


def with_placeholder(environ: Mapping[str, str], far: ServerOrganisation) -> dict[str, str]:
    """Return the environment of a run whose OAuth client is kept by its server: no secret, and the right region.

    Raises:
        UsageError: The environment names another region.
    """
    named = environ.get(ENVIRONMENT["aws_region"])
    if named and named.lower() != far.region.lower():
        raise UsageError(
            f"{ENVIRONMENT['aws_region']} is {named}, and this state's organisation {far.name} is in {far.region}",
            why="the server keeps its OAuth client, and a run must never reach another organisation",
            fix=f"unset {ENVIRONMENT['aws_region']}",
        )
    ours = {
        ENVIRONMENT["oauthclient_id"]: PLACEHOLDER_CLIENT,
        ENVIRONMENT["oauthclient_secret"]: _NO_SECRET,
        ENVIRONMENT["aws_region"]: far.region,
    }
    return {**environ, **ours}


def find_need(
    directory: Path,
    settings: Settings,
    environ: Mapping[str, str],
    flags: Sequence[str] = (),
    *,
    tool: Tool = Tool.TERRAFORM,
    far: ServerOrganisation | None = None,
) -> Need | str:
    """Return what a root module needs of a gateway, or why it runs without one, for people.

    Args:
        directory: The root module.
        settings: The settings for it.
        environ: The environment of Terraform.
        flags: The user's flags for Terraform; variables are among them.
        tool: The program that would run; the two do not read the same files.
        far: The organisation that a server keeps for this state; then `environ` is `with_placeholder`.

    Raises:
        UsageError: The gateway's settings are wrong, or the region does not exist.
    """
    tree = DiskTree()
    root = read_module(tree, str(directory), tool)
    scope = given_scope(root, tree, flags, environ)
    return _need(read_providers(root, scope, environ, after=OVERRIDE_NAME), settings, environ, far)


def find_planned_need(
    tree: Tree,
    planned: Mapping[str, Known | None],
    settings: Settings,
    environ: Mapping[str, str],
    *,
    directory: Path,
    flags: Sequence[str] = (),
    far: ServerOrganisation | None = None,
) -> Need | str:
    """Return the same for a saved plan, which holds its own configuration and its own values of variables.

    Args:
        tree: The plan's configuration, its root module at `.`.
        planned: The plan's variables; None for a value that cannot be read.
        settings: The settings for the root module.
        environ: The environment of Terraform.
        directory: The root module on disk; files of variables there give ephemeral values again.
        flags: The user's flags for Terraform, which do so too.
        far: See `find_need`.
    """
    root: Module = read_module(tree, ".")
    scope = planned_scope(root, {**planned, **_given_again(root, directory, environ, flags)})
    return _need(read_providers(root, scope, environ, after=OVERRIDE_NAME), settings, environ, far)


def _given_again(
    root: Module, directory: Path, environ: Mapping[str, str], flags: Sequence[str]
) -> dict[str, Known | None]:
    """Return the values that a plan does not hold and that are given once more when it is applied."""
    names = ephemeral_names(root)
    if not names:
        return {}
    disk = DiskTree()
    now = given_scope(read_folder(disk, str(directory)), disk, flags, environ, verb="apply")
    return {name: now.variables.get(name) for name in names}


def _need(
    found: ProviderSettings, settings: Settings, environ: Mapping[str, str], far: ServerOrganisation | None
) -> Need | str:
    section = settings.sections.get("gateway", {})
    if not found.is_used:
        alone = _of_unread(found, environ)
        return (
            Need(ways=(), left_alone=(alone,)) if alone is not None else "the configuration does not use Genesys Cloud"
        )
    if section.get("enabled") is False:
        return "gateway.enabled is false in interlock.yaml"
    servers, others = _split(found.logins, far)
    lends_token = _may_lend(environ) and bool(found.past or found.unread)
    ways, left = _ways(others, section, environ, lends_token=lends_token)
    if far is not None:
        own, apart = _servers_way(servers, far)
        ways, left = [*own, *ways], [*apart, *left]
    left_alone = (*found.left_alone, *left)
    return Need(
        ways=tuple(ways),
        left_alone=left_alone,
        unread=found.unread,
        requirements=found.requirements,
        past=found.past if ways else (),
        refused=_refused(found, ways),
    )


def _refused(found: ProviderSettings, ways: Sequence[Way]) -> tuple[str, ...]:
    """Return what would ask past the gateways with the client that the server keeps.

    Which configuration a module is given is not followed: where one has its own client, that may be it.
    """
    labels = {login.label.removeprefix("provider ") for way in ways if way.is_servers for login in way.logins}
    is_all = bool(labels) and all(way.is_servers for way in ways)
    return tuple(each.address for each in found.reads if each.provider in labels or (is_all and each.provider is None))


def _may_lend(environ: Mapping[str, str]) -> bool:
    """Say whether runs may be lent access tokens.

    Raises:
        UsageError: The variable says something else than yes or no: who writes `false` must not be lent one.
    """
    said = environ.get(_LEND_TOKEN, "").strip()
    if said not in {"", "0", "1"}:
        raise UsageError(
            f"{_LEND_TOKEN} is {said[:40]!r}",
            why="it is 0 where no run may get an access token for calls past the gateway, else 1 or not set",
            fix=f"export {_LEND_TOKEN}=0",
        )
    return said != "0"


def _split(
    logins: tuple[ProviderLogin, ...], far: ServerOrganisation | None
) -> tuple[list[ProviderLogin], tuple[ProviderLogin, ...]]:
    """Return the configurations without a client of their own, and the others, which keep theirs."""
    if far is None:
        return [], logins
    return (
        [login for login in logins if login.client_id == PLACEHOLDER_CLIENT],
        tuple(login for login in logins if login.client_id != PLACEHOLDER_CLIENT),
    )


def _servers_way(logins: list[ProviderLogin], far: ServerOrganisation) -> tuple[list[Way], list[LeftAlone]]:
    """Lead configurations to the server's gateway; one that means another place is not taken there."""
    led, left = [], []
    for login in logins:
        if login.region and login.region.lower() != far.region.lower():
            why = f"its aws_region is {login.region}, and the server's organisation {far.name} is in {far.region}"
            left.append(LeftAlone(label=login.label, why=why))
        elif login.gateway is not None and not login.gateway.is_environments:
            left.append(LeftAlone(label=login.label, why="it names a gateway of its own"))
        else:
            led.append(login)
    terms = Terms(
        api_url=far.address,
        login_url=far.address,
        credentials=Credentials(client_id=PLACEHOLDER_CLIENT, secret=Secret(_NO_SECRET)),
        runs_only=True,
        files=RELAYED,
        relays=True,
    )
    return ([Way(terms=terms, logins=tuple(led), is_servers=True)] if led else []), left


def _of_unread(found: ProviderSettings, environ: Mapping[str, str]) -> LeftAlone | None:
    """Return a word about modules that may use Genesys Cloud unseen; without a login for it none of them does."""
    if not found.unread or not (environ.get(ENVIRONMENT["access_token"]) or environ.get(ENVIRONMENT["oauthclient_id"])):
        return None
    return LeftAlone(
        label=f"what uses Genesys Cloud in {', '.join(found.unread)}",
        why="modules from elsewhere cannot be read before init; "
        f'a provider "{PROVIDER}" block in the root module leads them through',
    )


def _ways(
    logins: tuple[ProviderLogin, ...], section: Mapping[str, object], environ: Mapping[str, str], *, lends_token: bool
) -> tuple[list[Way], list[LeftAlone]]:
    """Put configurations of one client and region together; what has no known region is left alone."""
    stated = _stated_region(section, environ)
    home = stated or next((login.region for login in logins if login.region and not login.alias), None)
    grouped: dict[tuple[object, ...], list[ProviderLogin]] = {}
    left: list[LeftAlone] = []
    for login in logins:
        own = login.gateway
        named = own is not None and not own.is_environments
        upstream = _own_gateway(own) if own and named else _upstream(login, stated, home, section, environ)
        if isinstance(upstream, str):
            left.append(LeftAlone(label=login.label, why=upstream))
        else:
            client = login.label if login.is_learned else (login.client_id, login.secret.value)
            grouped.setdefault((*upstream, login.proxy, client), []).append(login)
    terms = {key: replace(_terms(group, key, section), lends_token=lends_token) for key, group in grouped.items()}
    return [Way(terms=terms[key], logins=tuple(group)) for key, group in grouped.items()], left


def _terms(group: list[ProviderLogin], key: tuple[object, ...], section: Mapping[str, object]) -> Terms:
    budgets = section.get("budgets", {})
    assert isinstance(budgets, dict), "settings are checked when they are read"
    first = group[0]
    return Terms(
        api_url=str(key[0]),
        login_url=str(key[1]),
        credentials=None if first.is_learned else Credentials(client_id=first.client_id, secret=first.secret),
        proxy=first.proxy,
        budgets=tuple(parse_override(f"{name}={value}") for name, value in budgets.items()),
        tokens=int(str(section.get("tokens", 10))),
        hold_s=float(str(section.get("hold", 8.0))),
        runs_only=True,
        files=OWN,
    )


def _stated_region(section: Mapping[str, object], environ: Mapping[str, str]) -> str | None:
    """Return the region of configurations that name none."""
    named = environ.get(ENVIRONMENT["aws_region"]) or section.get("region")
    return str(named) if named else None


def _upstream(
    login: ProviderLogin,
    stated: str | None,
    home: str | None,
    section: Mapping[str, object],
    environ: Mapping[str, str],
) -> tuple[str, str] | str:
    """Return the addresses of API and login service that a configuration would use, or why they are not known.

    Args:
        login: The configuration.
        stated: The region of configurations that name none; never that of another configuration.
        home: The region for whose hosts a set upstream stands; the case does not matter, as in the provider.
        section: Settings of the gateway.
        environ: The environment of Terraform.
    """
    region = login.region or stated
    is_home = not region or (home is not None and region.lower() == home.lower())
    if is_home and (chosen := _chosen_upstream(section, environ)) is not None:
        return chosen
    if (own := login.gateway) is not None:
        return check_address(own.api, said_by=GATEWAY_HOST), check_address(own.login, said_by=GATEWAY_HOST)
    if region is not None and (chosen := _regional_upstream(region, environ)) is not None:
        return chosen
    if region is None:
        return "no region is known (GENESYSCLOUD_REGION, aws_region or gateway.region)"
    try:
        found = parse_region(region)
    except UsageError:
        if login.region is None:
            raise
        return f"its aws_region {region!r} is not a region that is known"
    return f"https://{found.api_host}", f"https://{found.login_host}"


def _chosen_upstream(section: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the upstream that an operator set in the place of the environment's organisation."""
    api = environ.get(_UPSTREAM_API) or section.get("upstream_api")
    login = environ.get(_UPSTREAM_LOGIN) or section.get("upstream_login")
    return _both(str(api or ""), str(login or ""), "the gateway")


def _regional_upstream(region: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the upstream that an operator set in the place of one region's hosts."""
    mark = region.upper().replace("-", "_")
    api, login = environ.get(f"{_UPSTREAM_API}_{mark}", ""), environ.get(f"{_UPSTREAM_LOGIN}_{mark}", "")
    return _both(api, login, f"region {region}")


def _both(api: str, login: str, whose: str) -> tuple[str, str] | None:
    if bool(api) != bool(login):
        raise UsageError(
            f"only one upstream of {whose} is set", why="the API and the login service are two", fix="set both"
        )
    return (_checked(api, whose), _checked(login, whose)) if api else None


def _checked(url: str, whose: str) -> str:
    """Return an upstream that may be sent the OAuth secret and access tokens."""
    return check_address(url, said_by=f"the upstream of {whose}")


def _own_gateway(own: OwnGateway) -> tuple[str, str] | str:
    """Return the addresses of a gateway that a block names, or why ours does not send anything there."""
    try:
        return check_address(own.api, said_by="its gateway"), check_address(own.login, said_by="its gateway")
    except UsageError:
        return "its own gateway is neither https nor on this machine, so that others could read along"
