"""Which OAuth client, at which region, each Genesys Cloud provider configuration would use; pure.

There is never "the" provider configuration: a root module may have aliases with clients of their own, local names other
than `genesyscloud`, and modules with provider blocks in them. Each is worked out by itself, from its block, the values
of variables and the environment, in the provider's own order. What is not certain is left alone, with the reason.

Source: docs/facts/genesys.md#genesys-13 and #genesys-16; Terraform
internal/configs/provider_validation.go (empty blocks in called modules only stand for what the caller passes).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from interlock.gateway.forward_proxy import ForwardProxy, Proxying
from interlock.gateway.oauth import Secret
from interlock.genesys import token_uses, types_read_past
from interlock.hcl.body import Block, Body
from interlock.hcl.constant import Scope, constant, constant_text
from interlock.hcl.module import MAX_CALL_DEPTH, Module, Provider, is_override
from interlock.run.gateway_access.provider_blocks import OwnGateway, has_proxy_block, read_gateway, read_proxy

PROVIDER = "genesyscloud"
ENVIRONMENT = {
    "access_token": "GENESYSCLOUD_ACCESS_TOKEN",
    "oauthclient_id": "GENESYSCLOUD_OAUTHCLIENT_ID",
    "oauthclient_secret": "GENESYSCLOUD_OAUTHCLIENT_SECRET",
    "aws_region": "GENESYSCLOUD_REGION",
}
"""Provider arguments and the variables that give them when the block does not."""
NO_LOGIN = f"{ENVIRONMENT['oauthclient_id']} and {ENVIRONMENT['oauthclient_secret']} are not both in the environment"
POOL_VARIABLE = "GENESYSCLOUD_TOKEN_POOL_SIZE"

_REGISTRIES = ("registry.terraform.io/", "registry.opentofu.org/")  # left out by most; one provider either way
_LEARNED = ("oauthclient_id", "oauthclient_secret")  # arguments that the gateway is told at the login anyway
_NO_MEANING = frozenset({"alias", "version"})  # arguments of Terraform itself, which configure nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLogin:
    """One provider configuration of the root module whose login is known, or can be learned when it logs in.

    Attributes:
        name: Its local name.
        alias: Empty for the default configuration.
        client_id: Of its OAuth client; empty when it is not known before Terraform runs.
        secret: Of its OAuth client.
        region: As its block says; None when the block does not say, so that the environment decides.
        gateway: A gateway that it would use by itself: ours sends its calls there.
        proxy: The proxy that it would use by itself.
        has_proxy_block: It has a block that must be taken out, so that it reaches ours.
        pool_chosen: The user chose `token_pool_size`.
    """

    name: str
    alias: str
    client_id: str
    secret: Secret
    region: str | None = None
    gateway: OwnGateway | None = None
    proxy: ForwardProxy | Proxying = Proxying.ENVIRONMENT
    has_proxy_block: bool = False
    pool_chosen: bool = False

    @property
    def is_learned(self) -> bool:
        """Whether its client is known only when it logs in."""
        return not self.client_id

    @property
    def label(self) -> str:
        """How people name it."""
        return _label(self.name, self.alias)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """A provider configuration that keeps its own way to the API.

    Attributes:
        label: Which one, for people.
        why: Why, for people.
    """

    label: str
    why: str

    @property
    def lacks_login(self) -> bool:
        """Whether nobody can log in with it: neither an OAuth client nor an access token is given."""
        return self.why == NO_LOGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRead:
    """Something that a plan asks Genesys Cloud for past every gateway, under a token.

    Attributes:
        address: Without keys, from the root module on.
        provider: Its provider configuration in the root module, such as `genesyscloud.eu`; None where a module call
            says which, so that it is not known here.
    """

    address: str
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """All Genesys Cloud provider configurations of a root module.

    Attributes:
        logins: Those whose login is known, the default configuration first.
        left_alone: The others.
        unread: Modules that could not be looked into before `terraform init`; one may have a provider block.
        requirements: Local names that the root module must declare before it can have a configuration, with sources.
        past: What the modules use that asks Genesys Cloud past every gateway, such as `data.genesyscloud_flow`.
        reads: Those of them that a plan asks for.
    """

    logins: tuple[ProviderLogin, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    unread: tuple[str, ...] = ()
    requirements: Mapping[str, str] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    reads: tuple[PastRead, ...] = ()

    @property
    def is_used(self) -> bool:
        """Whether the root module has anything to do with Genesys Cloud."""
        return bool(self.logins or self.left_alone)


def read_providers(root: Module, scope: Scope, environ: Mapping[str, str], *, after: str) -> ProviderSettings:
    """Return what every Genesys Cloud provider configuration below a root module would use.

    Args:
        root: The root module.
        scope: What is certain in it, variables given from outside included.
        environ: The environment of Terraform.
        after: Name of our override file; override files that are read after it would undo it.
    """
    parts = tuple(root.walk())
    names = local_names(root)
    needed = {source for part in parts for source in local_names(part).values()}
    requirements = _requirements(names, needed)
    unread = tuple(f'module "{call.name}"' for part in parts for call in part.calls if call.module is None)
    if problems := [problem for part in parts for problem in part.problems]:
        first = problems[0]
        why = f"{first.span.path}:{first.span.line} cannot be read: {first.message}"
        alone = (LeftAlone(label="every provider configuration", why=why),) if needed else ()
        return ProviderSettings(left_alone=alone, unread=unread)
    found = [
        *_of_root(root, scope, environ, names=[*names, *requirements], after=after),
        *(each for part in parts[1:] for each in _of_module(part)),
    ]
    return ProviderSettings(
        logins=tuple(each for each in found if isinstance(each, ProviderLogin)),
        left_alone=tuple(each for each in found if isinstance(each, LeftAlone)),
        unread=unread,
        requirements=requirements,
        past=tuple(sorted({name for part in parts for name in _past(part)})),
        reads=tuple(_reads(root, scope)),
    )


def _reads(
    module: Module, scope: Scope, place: str = "", *, is_given: bool = False, depth: int = 0
) -> Iterator[PastRead]:
    """Yield what a plan asks for past every gateway, in a module and below it; what has no instance is left out."""
    kinds = {use for use in token_uses() if use.startswith("data.")} | set(types_read_past())
    for resource in module.resources:
        kind = f"data.{resource.type}" if resource.mode == "data" else resource.type
        if kind in kinds and resource.mode != "ephemeral" and not _is_nothing(resource.body, scope):
            provider = resource.provider or PROVIDER
            yield PastRead(address=f"{place}{resource.key}", provider=None if is_given else provider)
    for call in module.calls:
        if call.module is not None and depth < MAX_CALL_DEPTH and not _is_nothing(call.block.body, scope):
            given = is_given or call.block.body.get("providers") is not None
            below = f"{place}module.{call.name}."
            yield from _reads(call.module, call.module.scope, below, is_given=given, depth=depth + 1)


def _is_nothing(body: Body, scope: Scope) -> bool:
    """Say whether a block certainly has no instance."""
    count, each = (constant(body.get(name), scope) for name in ("count", "for_each"))
    return (count is not None and count.value in (0, "0")) or (each is not None and each.value in ({}, []))


def _past(module: Module) -> Iterator[str]:
    """Yield what a module uses that asks Genesys Cloud past every gateway, under a token."""
    for use in token_uses():
        kind, _, part = use.removeprefix("data.").partition(".")
        mode = "data" if use.startswith("data.") else "managed"
        for resource in module.resources:
            has_part = not part or resource.body.get(part) is not None or bool(resource.body.blocks(part))
            if (resource.mode, resource.type) == (mode, kind) and has_part:
                yield use


# -- which providers are the Genesys Cloud provider -------------------------------------------------------------------


def local_names(module: Module) -> dict[str, str]:
    """Return the module's local names of the Genesys Cloud provider, with their sources as written."""
    found: dict[str, str] = {}
    taken = set()
    for requirement in module.requirements:
        source = constant_text(requirement.source) if requirement.source is not None else requirement.name
        taken.add(requirement.name)
        if (source or "").lower().rpartition("/")[2] == PROVIDER:
            found[requirement.name] = (source or "").lower().removeprefix(_REGISTRIES[0]).removeprefix(_REGISTRIES[1])
    if PROVIDER not in taken and _mentions(module, PROVIDER):
        found[PROVIDER] = PROVIDER  # Terraform takes hashicorp/genesyscloud for it
    return found


def _mentions(module: Module, name: str) -> bool:
    return any(provider.name == name for provider in module.providers) or _has_resources(module, name)


def _has_resources(module: Module, name: str) -> bool:
    """Say whether a module has resources of a local name: named in `provider`, else by the type's first word."""
    return any(
        (resource.provider.partition(".")[0] or resource.type.partition("_")[0]) == name
        for resource in module.resources
    )


def _requirements(names: Mapping[str, str], needed: set[str]) -> dict[str, str]:
    """Return local names for sources that only called modules declare: the root module cannot name them yet."""
    missing = sorted(needed - set(names.values()) - {PROVIDER})
    free = (name for name in (PROVIDER, *(f"interlock-{PROVIDER}-{number}" for number in range(1, 100))))
    return dict(zip((name for name in free if name not in names), missing, strict=False))


# -- the root module's configurations ---------------------------------------------------------------------------------


def _of_root(
    root: Module, scope: Scope, environ: Mapping[str, str], *, names: list[str], after: str
) -> Iterator[ProviderLogin | LeftAlone]:
    for name in names:
        own = [provider for provider in root.providers if provider.name == name]
        defaults = [provider for provider in own if not provider.alias]
        if not defaults:
            yield _login(None, name, "", scope, environ)
        for provider in (*defaults, *(provider for provider in own if provider.alias)):
            if _is_overridden(root, provider, after):
                why = "an override file that Terraform reads after ours has a gateway or proxy block for it"
                yield LeftAlone(label=_label(name, provider.alias), why=why)
            else:
                yield _login(provider.block, name, provider.alias, scope, environ)


def _is_overridden(root: Module, provider: Provider, after: str) -> bool:
    """Say whether a user's override file has a gateway or proxy block that would replace ours."""
    later = [file for file in root.files if is_override(posixpath.basename(file.path))]
    return any(
        block.labels == (provider.name,)
        and (constant_text(block.body.get("alias")) or "") == provider.alias
        and (block.body.blocks("gateway") or has_proxy_block(block.body) or block.body.blocks("dynamic", labels=1))
        for file in later
        if posixpath.basename(file.path) > after
        for block in file.body.blocks("provider", labels=1)
    )


def _login(
    block: Block | None, name: str, alias: str, scope: Scope, environ: Mapping[str, str]
) -> ProviderLogin | LeftAlone:
    body = None if block is None else block.body
    label = _label(name, alias)
    gateway, proxy = read_gateway(body, scope, environ), read_proxy(body, scope, environ)
    values = _arguments(body, scope, environ)
    if body is not None and body.get("for_each") is not None:
        return LeftAlone(label=label, why="its for_each makes several configurations, each with settings of its own")
    for each in (gateway, proxy, values):
        if isinstance(each, str):
            return LeftAlone(label=label, why=each)
    assert not isinstance(gateway, str)
    assert not isinstance(proxy, str)
    assert not isinstance(values, str)
    return ProviderLogin(
        name=name,
        alias=alias,
        client_id=values["oauthclient_id"] or "",
        secret=Secret(values["oauthclient_secret"] or ""),
        region=values["aws_region"],
        gateway=gateway,
        proxy=proxy,
        has_proxy_block=has_proxy_block(body),
        pool_chosen=(body is not None and "token_pool_size" in body.attributes) or POOL_VARIABLE in environ,
    )


def _arguments(body: Body | None, scope: Scope, environ: Mapping[str, str]) -> dict[str, str | None] | str:
    """Return what says how a configuration logs in, or why it cannot go through the gateway, for people.

    A client that is not known yet is empty: the gateway learns it from the configuration's own login.
    """
    values: dict[str, str | None] = {}
    is_learned = False
    for argument, variable in ENVIRONMENT.items():
        value = _value(body, argument, scope)
        if value is None and argument not in _LEARNED:
            return f"its {argument} is not known before Terraform runs"
        is_learned |= value is None
        given = None if value is None else value[0]
        values[argument] = environ.get(variable) or None if given is None and argument != "aws_region" else given
    if values["access_token"]:
        return "it has an access token; the gateway needs an OAuth client to keep tokens fresh"
    if is_learned:
        return {**values, **dict.fromkeys(_LEARNED)}
    if not values["oauthclient_id"] or not values["oauthclient_secret"]:
        return NO_LOGIN
    return values


def _value(body: Body | None, argument: str, scope: Scope) -> tuple[str | None] | None:
    """Return an argument's certain value, None inside for an absent or null one; None when it is not certain."""
    expression = None if body is None else body.get(argument)
    if expression is None:
        return (None,)
    known = constant(expression, scope)
    if known is None:
        return None
    if known.value is None:
        return (None,)
    text = constant_text(expression, scope)
    return None if text is None else (text,)


# -- called modules ---------------------------------------------------------------------------------------------------


def _of_module(module: Module) -> Iterator[LeftAlone]:
    """Yield the configurations that a called module declares itself; no override of the root module reaches them."""
    names = local_names(module)
    for provider in module.providers:
        body = provider.block.body
        if provider.name in names and (body.nested or set(body.attributes) - _NO_MEANING):
            label = f"{_label(provider.name, provider.alias)} in {module.path}"
            yield LeftAlone(label=label, why="it is declared in a module, where no override reaches it")


def _label(name: str, alias: str) -> str:
    return f"provider {name}.{alias}" if alias else f"provider {name}"
