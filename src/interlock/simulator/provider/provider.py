"""The provider's arguments, and what configuring it does. Source: src/interlock/genesys/data/provider.json."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tf.blocks import SetNestedBlock
from tf.iface import Provider
from tf.schema import Block, Schema

from . import architect, authorization, directory, routing
from .pool import AuthError, Login, Pool
from .sdk import ApiError, Pace, Sdk, Upstream
from .session import Session
from .shapes import FLAG, NUMBER, optional
from .wire import Endpoint

ENVIRONMENT = {
    "access_token": "GENESYSCLOUD_ACCESS_TOKEN",
    "oauthclient_id": "GENESYSCLOUD_OAUTHCLIENT_ID",
    "oauthclient_secret": "GENESYSCLOUD_OAUTHCLIENT_SECRET",
    "aws_region": "GENESYSCLOUD_REGION",
    "token_pool_size": "GENESYSCLOUD_TOKEN_POOL_SIZE",
    "custom_retry_timeout": "GENESYSCLOUD_CUSTOM_RETRY_TIMEOUT",
}
GATEWAY_ENVIRONMENT = {
    "protocol": "GENESYSCLOUD_GATEWAY_PROTOCOL",
    "host": "GENESYSCLOUD_GATEWAY_HOST",
    "port": "GENESYSCLOUD_GATEWAY_PORT",
}
CRASH = "STAND_IN_CRASH"
"""Names a file with a number: the provider crashes when it is configured once more than that, and removes the file."""
STUBBORN = "INTERLOCK_SIMULATOR_STUBBORN"
DEFAULT_POOL_SIZE = 10
MAX_POOL_SIZE = 50
DEFAULT_RETRY_LIMIT = "5m"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DEFAULT_PORTS = {
    "": 0,
    "80": 0,
    "443": 0,
}  # left out of the URL whatever the protocol (docs/facts/genesys.md#genesys-13)


class Genesyscloud(Provider):  # type: ignore[misc]  # the tf package ships no types
    """The provider.

    Args:
        environment: The process's environment.
        speed: Fixed waits are divided by it.
        stopping: Set when Terraform asks to stop.
    """

    session: Session

    def __init__(self, environment: Mapping[str, str], *, speed: float, stopping: threading.Event) -> None:
        self._environment = environment
        self._pace = Pace(speed=speed, stopping=stopping, is_stubborn=is_stubborn(environment))

    def get_model_prefix(self) -> str:
        """See `tf.iface.Provider`."""
        return "genesyscloud_"

    def full_name(self) -> str:
        """See `tf.iface.Provider`."""
        return "registry.terraform.io/mypurecloud/genesyscloud"

    def get_provider_schema(self, diags: Any) -> Schema:  # noqa: ARG002 - the interface's argument
        """See `tf.iface.Provider`."""
        endpoint = [optional("protocol"), optional("host"), optional("port")]
        login = SetNestedBlock("auth", Block(attributes=[optional("username"), optional("password", sensitive=True)]))
        params = SetNestedBlock("path_params", Block(attributes=[optional("path_name"), optional("path_value")]))
        return Schema(
            attributes=[
                optional("access_token", sensitive=True),
                optional("oauthclient_id"),
                optional("oauthclient_secret", sensitive=True),
                optional("aws_region"),
                optional("sdk_debug", FLAG),
                optional("sdk_debug_format"),
                optional("sdk_debug_file_path"),
                optional("sdk_client_pool_debug", FLAG),
                optional("token_pool_size", NUMBER),
                optional("token_acquire_timeout"),
                optional("token_init_timeout"),
                optional("max_concurrent_pages", NUMBER),
                optional("custom_retry_timeout"),
                optional("log_stack_traces", FLAG),
                optional("log_stack_traces_file_path"),
            ],
            block_types=[
                SetNestedBlock("gateway", Block(attributes=endpoint, block_types=[params, login])),
                SetNestedBlock("proxy", Block(attributes=endpoint, block_types=[login])),
            ],
        )

    def validate_config(self, diags: Any, config: dict[str, Any]) -> None:
        """See `tf.iface.Provider`."""
        size = config.get("token_pool_size")
        if isinstance(size, int) and not 1 <= size <= MAX_POOL_SIZE:
            diags.add_error(f"expected token_pool_size to be in the range (1 - {MAX_POOL_SIZE}), got {size}", "")

    def configure_provider(self, diags: Any, config: dict[str, Any]) -> None:
        """See `tf.iface.Provider`: mints the pool, then asks who the organisation is."""
        _crash_when_told(self._environment.get(CRASH))
        try:
            self.session = self._configured(config)
        except (AuthError, ApiError, ValueError) as error:
            diags.add_error(str(error), "")

    def get_resources(self) -> list[Any]:
        """See `tf.iface.Provider`."""
        return [
            authorization.Division,
            routing.Skill,
            routing.Language,
            routing.WrapupCode,
            routing.Queue,
            directory.User,
            directory.Group,
            architect.Schedule,
            architect.ScheduleGroup,
            architect.Ivr,
            architect.DataTable,
            architect.DataTableRow,
            architect.Flow,
            architect.Script,
        ]

    def get_data_sources(self) -> list[Any]:
        """See `tf.iface.Provider`."""
        return [
            authorization.DivisionLookup,
            authorization.HomeLookup,
            routing.SkillLookup,
            routing.LanguageLookup,
            routing.WrapupCodeLookup,
            routing.QueueLookup,
            directory.UserLookup,
            directory.GroupLookup,
            architect.ScheduleLookup,
            architect.ScheduleGroupLookup,
            architect.IvrLookup,
            architect.DataTableLookup,
            architect.FlowLookup,
            architect.ScriptLookup,
        ]

    def _configured(self, config: dict[str, Any]) -> Session:
        upstream = through_proxy(
            upstream_of(config.get("gateway") or [], self._environment), config.get("proxy") or [], self._environment
        )
        token = str(self._setting(config, "access_token") or "")
        size = int(self._setting(config, "token_pool_size") or DEFAULT_POOL_SIZE)
        identifier, secret = self._setting(config, "oauthclient_id"), self._setting(config, "oauthclient_secret")
        login = None if token else Login(upstream, str(identifier or ""), str(secret or ""), pace=self._pace)
        pool = Pool(upstream, login, size=size, pace=self._pace)
        default = pool.fill(token)
        _greet(default)
        limit_s = duration_s(str(self._setting(config, "custom_retry_timeout") or DEFAULT_RETRY_LIMIT))
        return Session(pool, default, pace=self._pace, retry_limit_s=limit_s)

    def _setting(self, config: dict[str, Any], name: str) -> Any:
        given = config.get(name)
        return self._environment.get(ENVIRONMENT[name]) if given is None else given


def is_stubborn(environment: Mapping[str, str]) -> bool:
    """Return whether the provider shall be as hard to stop as the real one is."""
    return bool(environment.get(STUBBORN))


def upstream_of(blocks: list[dict[str, Any]], environment: Mapping[str, str]) -> Upstream:
    """Return where API and login service are: the gateway block, else the SDK's own configuration file.

    Raises:
        ValueError: Neither names a host, or the protocol is empty.
    """
    gateway = _from_block(blocks[0], environment) if blocks else _from_file(environment)
    if not gateway.get("host"):
        raise ValueError(
            "this stand-in provider talks only to a simulated organisation: configure a gateway block with its host"
        )
    if not gateway.get("protocol"):
        raise ValueError("URL is required")
    prefixes = gateway["prefixes"]
    return Upstream(api=_endpoint(gateway, prefixes.get("api")), login=_endpoint(gateway, prefixes.get("login")))


def through_proxy(upstream: Upstream, blocks: list[dict[str, Any]], environment: Mapping[str, str]) -> Upstream:
    """Return the upstream as a `proxy` block has it reached; the block takes calls to this machine too."""
    if not blocks:
        return upstream
    block = blocks[0]
    host = str(block.get("host") or environment.get("GENESYSCLOUD_PROXY_HOST", ""))
    port = str(block.get("port") or environment.get("GENESYSCLOUD_PROXY_PORT", ""))
    if not host:
        return upstream
    login = ""
    for auth in block.get("auth") or []:
        login = "Basic " + base64.b64encode(f"{auth.get('username')}:{auth.get('password')}".encode()).decode()
    return Upstream(
        api=replace(upstream.api, proxy=(host, int(port)), proxy_login=login),
        login=replace(upstream.login, proxy=(host, int(port)), proxy_login=login),
    )


def duration_s(text: str) -> float:
    """Return the seconds of a Go duration such as `1m30s`.

    Raises:
        ValueError: It is none.
    """
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"time: invalid duration {text[:50]!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _from_block(block: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    gateway: dict[str, Any] = {
        name: environment.get(variable, "") if block.get(name) is None else block[name]
        for name, variable in GATEWAY_ENVIRONMENT.items()
    }
    gateway["prefixes"] = {item["path_name"]: item["path_value"] for item in block.get("path_params") or []}
    return gateway


def _from_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = Path(environment.get("HOME", "/")) / ".genesyscloudgo" / "config"
    try:
        gateway: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["gateway"]
    except (OSError, ValueError, KeyError):
        return {}
    params = gateway.get("pathParams") or []
    return {**gateway, "prefixes": {item["pathName"]: item["pathValue"] for item in params}}


def _endpoint(gateway: dict[str, Any], prefix: str | None) -> Endpoint:
    scheme, port = str(gateway["protocol"]), str(gateway.get("port") or "")
    default = 443 if scheme == "https" else 80
    number = default if port in _DEFAULT_PORTS else int(port)
    inside = (prefix or "").strip("/")
    return Endpoint(scheme=scheme, host=str(gateway["host"]), port=number, prefix=f"/{inside}" if inside else "")


def _crash_when_told(file: str | None) -> None:
    """Crash once, as the real provider did in 1 of 114 runs when its clients were configured at the same time."""
    path = Path(file) if file else None
    if path is None or not path.exists():
        return
    left = int(path.read_text(encoding="utf-8"))
    if left > 0:
        path.write_text(str(left - 1), encoding="utf-8")
        return
    path.unlink()
    sys.stderr.write("fatal error: concurrent map writes\n\ngoroutine 41 [running]:\nmain.configure(0x1)\n")
    sys.stderr.flush()
    os._exit(2)


def _greet(sdk: Sdk) -> None:
    """Make the two calls of configure time; what the real provider would crash on is an error here."""
    organization = sdk.call("GET", "/organizations/me")
    products = sdk.call("GET", "/authorization/products")
    if not organization.get("defaultCountryCode") or "total" not in products:
        raise ValueError("panic: runtime error: invalid memory address or nil pointer dereference")


def main(*, certificate: str, key: str, speed: float) -> None:
    """Run as a plugin of Terraform."""
    from .plugin import LINGER_S, run

    stopping = threading.Event()
    run(
        Genesyscloud(dict(os.environ), speed=speed, stopping=stopping),
        stopping=stopping,
        certificate=Path(certificate),
        key=Path(key),
        linger_s=LINGER_S if is_stubborn(os.environ) else 0.0,
    )
