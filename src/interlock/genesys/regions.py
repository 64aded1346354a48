"""Region -> login, API and upload hosts.

Source: data/regions.json (the provider's own table).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache

from interlock.errors import UsageError
from interlock.genesys.tables import Meta, load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One Genesys Cloud region.

    Attributes:
        name: As AWS spells it, such as `eu-central-1`.
        domain: Such as `mypurecloud.de`.
        internal: A region of the vendor's own, not sold.
    """

    name: str
    domain: str
    internal: bool = False

    @property
    def api_host(self) -> str:
        """The host of `/api/v2/...`."""
        return f"api.{self.domain}"

    @property
    def login_host(self) -> str:
        """The host of `/oauth/token`."""
        return f"login.{self.domain}"

    @property
    def apps_host(self) -> str:
        """The host of script and contact list uploads; these bypass any gateway."""
        return f"apps.{self.domain}"

    @property
    def notification_host(self) -> str:
        """The host of notification channels (WebSocket). Inferred: the `streaming.` host of the SDK's channel URIs."""
        return f"streaming.{self.domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    domain: str
    internal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    regions: dict[str, _Row]


@cache
def _table() -> _Table:
    return load_table("regions", _Table)


def list_regions() -> tuple[Region, ...]:
    """Every region, internal ones too, by name."""
    rows = sorted(_table().regions.items())
    return tuple(Region(name=name, domain=row.domain, internal=row.internal) for name, row in rows)


def find_region(name: str) -> Region | None:
    """The region of that name; the case does not matter, as in the provider."""
    wanted = name.strip().lower()
    row = _table().regions.get(wanted)
    return Region(name=wanted, domain=row.domain, internal=row.internal) if row else None


def parse_region(name: str) -> Region:
    """The region of that name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    region = find_region(name)
    if region is None:
        names = [each.name for each in list_regions() if not each.internal]
        near = difflib.get_close_matches(name.strip().lower(), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(names)}"
        raise UsageError(f"unknown Genesys Cloud region {name[:60]!r}", why="it is not in the region table", fix=hint)
    return region


def find_region_of_host(host: str) -> Region | None:
    """The region whose API, login or apps host this is."""
    wanted = host.strip().lower()
    for region in list_regions():
        if wanted in {region.domain, region.api_host, region.login_host, region.apps_host}:
            return region
    return None
