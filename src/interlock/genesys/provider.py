"""The Terraform provider: its arguments, environment variables and fixed behaviour.

Source: data/provider.json (the provider's schema and code).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from interlock.genesys.tables import Meta, load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of the provider block.

    Attributes:
        type: As the schema spells it, such as `int` or `set of blocks`.
        required: Whether it must be set.
        env: Environment variable that stands in for it; empty for none.
        default: Its default as text, int or bool; None for none.
        allowed: The only legal values; empty when free.
        range: Smallest and largest number; empty when free.
        sensitive: Whether its value is a secret.
        since: Provider version that brought it; empty for always.
        note: What a reader must know.
        block: Arguments of a nested block, by name.
    """

    type: str = ""
    required: bool = False
    env: str = ""
    default: str | int | bool | None = None
    allowed: tuple[str, ...] = ()
    range: tuple[int, ...] = ()
    sensitive: bool = False
    since: str = ""
    note: str = ""
    block: dict[str, Argument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    source_address: str
    local_name: str
    minimum_terraform_version: str
    arguments: dict[str, Argument]
    fixed_in_code: dict[str, object]
    not_provider_arguments: tuple[str, ...]
    other_environment_variables: dict[str, str]


@cache
def _table() -> _Table:
    return load_table("provider", _Table)


def source_address() -> str:
    """The registry address, `mypurecloud/genesyscloud`."""
    return _table().source_address


def version_read() -> str:
    """The provider version that all tables of this room were read from."""
    return _table().meta.version


def arguments() -> Mapping[str, Argument]:
    """Arguments of the provider block, by name."""
    return _table().arguments


def invented_arguments() -> frozenset[str]:
    """Arguments that people and programs write although the provider has none such."""
    return frozenset(_table().not_provider_arguments)


def environment_variables() -> Mapping[str, str]:
    """Every environment variable the provider reads, with the argument it stands for or what it does."""
    named = {row.env: name for name, row in arguments().items() if row.env}
    for block, row in arguments().items():
        named.update({inner.env: f"{block}.{name}" for name, inner in row.block.items() if inner.env})
    return {**named, **_table().other_environment_variables}


TOKEN_POOL_MIN = 1
TOKEN_POOL_MAX = 50
TOKEN_POOL_DEFAULT = 10
"""Bounds and default of `token_pool_size` (the maximum was 20 up to 1.83)."""

TOKEN_POOL_EVERYWHERE = 20
"""What every provider version takes: one up to 1.83 refuses a larger `token_pool_size` (docs/facts/genesys.md)."""

GATEWAY_BLOCK_SINCE = "1.53.0"
"""First provider version with a `gateway` block."""
