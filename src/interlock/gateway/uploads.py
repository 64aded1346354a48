"""What may pass through the upload tunnel, and what is counted of it.

Uploads of scripts, contact lists, functions, flows and prompts reach Genesys Cloud past every gateway setting of the
provider (genesys/data/resources.json, `bypasses_gateway`). With HTTPS_PROXY set to the tunnel they are at least
counted. Their content stays encrypted end to end; only host names and sizes are seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PORTS = frozenset({443})
"""The only port that is tunnelled to."""
HOSTS_MAX = 64
"""Most hosts that are counted by name; further ones are counted as `(others)`."""

_STORAGE = re.compile(r"(?:[a-z0-9][a-z0-9.-]*\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com")
"""Presigned uploads go to Amazon's object storage. Other names below amazonaws.com are anybody's machines."""
_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):(\d{1,5}) HTTP/1\.[01]\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a client wants to go."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What went to one host.

    Attributes:
        connections: Tunnels opened.
        up_bytes: Bytes from clients, encryption included.
        down_bytes: Bytes to clients.
    """

    connections: int = 0
    up_bytes: int = 0
    down_bytes: int = 0


def parse_connect(head: bytes) -> Target | None:
    """Read the head of a CONNECT request; None for anything else."""
    match = _CONNECT.match(head)
    return Target(host=match[1].decode().lower(), port=int(match[2])) if match else None


def may_tunnel(target: Target, *, domain: str, ports: Iterable[int] = PORTS) -> bool:
    """Say whether a target is Genesys Cloud's own or its object storage.

    Args:
        target: Where to.
        domain: The region's, such as `mypurecloud.de`.
        ports: Ports that may be used.
    """
    below = "." in domain and target.host.endswith(f".{domain}")  # below a top-level domain is everybody
    return target.port in ports and (target.host == domain or below or _STORAGE.fullmatch(target.host) is not None)


def counted(
    uploads: dict[str, Uploaded], host: str, *, connections: int = 0, up_bytes: int = 0, down_bytes: int = 0
) -> None:
    """Add to the count of a host, in place."""
    name = host if host in uploads or len(uploads) < HOSTS_MAX else "(others)"
    before = uploads.get(name, Uploaded())
    uploads[name] = Uploaded(
        connections=before.connections + connections,
        up_bytes=before.up_bytes + up_bytes,
        down_bytes=before.down_bytes + down_bytes,
    )
