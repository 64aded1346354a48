"""What the `gateway` and `proxy` blocks of a provider configuration mean, read as the provider reads them; pure.

A block's argument that is absent comes from the environment, but only when there is a block: variables without one do
nothing. A `dynamic` block counts when its `for_each` is certain.

Source: docs/facts/genesys.md#genesys-13 and #genesys-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.gateway.forward_proxy import ForwardProxy, Proxying, make_proxy
from interlock.hcl.body import Body
from interlock.hcl.constant import Scope, constant, constant_text

GATEWAY_VARIABLES = {name: f"GENESYSCLOUD_GATEWAY_{name.upper()}" for name in ("protocol", "host", "port")}
PROXY_VARIABLES = {name: f"GENESYSCLOUD_PROXY_{name.upper()}" for name in ("protocol", "host", "port")}
PROXY_LOGIN_VARIABLES = {name: f"GENESYSCLOUD_PROXY_AUTH_{name.upper()}" for name in ("username", "password")}
_DEFAULT_PORTS = frozenset({"", "80", "443"})  # left out of the address whatever the protocol is


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGateway:
    """A gateway that the configuration itself names.

    Attributes:
        api: Its address for calls, with the prefix before `/api/v2`.
        login: Its address for logins, with the prefix before `/oauth/token`.
        is_environments: Nothing of it stands in the block: the environment names it.
    """

    api: str
    login: str
    is_environments: bool


def read_gateway(body: Body | None, scope: Scope, environ: Mapping[str, str]) -> OwnGateway | str | None:
    """Return the gateway of a provider block, None for none, or why nobody can say, for people."""
    found = _blocks(body, "gateway", scope)
    if found is None:
        return "whether it has a gateway is not known before Terraform runs"
    if not found:
        return None
    if len(found) > 1:
        return "it has several gateway blocks, of which the provider takes any"
    values = _values(found[0], GATEWAY_VARIABLES, scope, environ)
    prefixes = _prefixes(found[0], scope)
    if values is None or prefixes is None:
        return "it has a gateway of its own that is not known before Terraform runs"
    if not values["host"]:
        return None
    base = f"{values['protocol'] or 'https'}://{values['host']}"
    base += "" if values["port"] in _DEFAULT_PORTS else f":{values['port']}"
    return OwnGateway(
        api=base + prefixes.get("api", ""),
        login=base + prefixes.get("login", ""),
        is_environments=not found[0].attributes and not prefixes,
    )


def read_proxy(body: Body | None, scope: Scope, environ: Mapping[str, str]) -> ForwardProxy | Proxying | str:
    """Return the proxy of a provider block, or why nobody can say, for people."""
    found = _blocks(body, "proxy", scope)
    if found is None:
        return "whether it has a proxy is not known before Terraform runs"
    if not found:
        return Proxying.ENVIRONMENT
    logins = _blocks(found[0], "auth", scope)
    values = _values(found[0], PROXY_VARIABLES, scope, environ)
    login = None if logins is None else _values(logins[0] if logins else None, PROXY_LOGIN_VARIABLES, scope, environ)
    if values is None or login is None:
        return "it has a proxy of its own that is not known before Terraform runs"
    user, password = (login["username"], login["password"]) if logins else ("", "")
    return make_proxy(**values, user=user, password=password)


def has_proxy_block(body: Body | None) -> bool:
    """Say whether a block has to be taken out, so that the provider's calls reach this machine's gateway."""
    return body is not None and bool(body.blocks("proxy") or _dynamic(body, "proxy"))


def _blocks(body: Body | None, kind: str, scope: Scope) -> tuple[Body, ...] | None:
    """Return the bodies of the blocks of a kind, also those that `dynamic` ones make; None when that is not certain."""
    if body is None:
        return ()
    found = [block.body for block in body.blocks(kind)]
    for each in _dynamic(body, kind):
        known, content = constant(each.get("for_each"), scope), each.block("content")
        if known is None or content is None or not isinstance(known.value, list | dict):
            return None
        found += [content.body] * len(known.value)
    return tuple(found)


def _dynamic(body: Body, kind: str) -> list[Body]:
    return [block.body for block in body.blocks("dynamic", labels=1) if block.labels == (kind,)]


def _values(
    body: Body | None, variables: Mapping[str, str], scope: Scope, environ: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the arguments of a block; None when one is not certain."""
    found: dict[str, str] = {}
    for name, variable in variables.items():
        expression = None if body is None else body.get(name)
        known = constant(expression, scope)
        if expression is not None and known is None:
            return None
        absent = known is None or known.value is None
        text = environ.get(variable, "") if absent else constant_text(expression, scope)
        if text is None:
            return None
        found[name] = text
    return found


def _prefixes(body: Body, scope: Scope) -> dict[str, str] | None:
    """Return the path prefixes by name, each with a slash before it; None when one is not certain."""
    params = _blocks(body, "path_params", scope)
    if params is None:
        return None
    found: dict[str, str] = {}
    for each in params:
        name, value = constant_text(each.get("path_name"), scope), constant_text(each.get("path_value"), scope)
        if name is None or value is None:
            return None
        inside = value.strip().strip("/")
        found[name] = f"/{inside}" if inside else ""
    return found
