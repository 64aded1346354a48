"""Which state a Terraform process of this machine works on, to be compared with the one that is examined. A hand."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from interlock.existing import Found
from interlock.existing.discovery import find
from interlock.existing.opening import address_of, service_of
from interlock.recovery.witnesses.running import Running
from interlock.recovery.witnesses.terraform import PlaceOf
from interlock.site.ref import StateRef, own_address
from interlock.source.disk import DiskTree

_GITLABS = "/terraform/state/"
_PLATFORMS, _PUBLIC = frozenset({"cloud", "remote"}), ".terraform.io"  # app and app.eu


def places_beside(ref: StateRef) -> PlaceOf:
    """Return what finds the state that a Terraform of this host works on, to be compared with its address.

    One bucket name can exist at two services. Their names may differ and mean the same, so a process that names another
    one is taken for unknown, unless both are bare addresses of this kind: then another port is another service.
    """
    mine = None if ref.is_own else service_of(ref.found)

    def place(process: Running) -> str | None:
        found = _found_of(process)
        if found is None or process.folder is None:
            return None
        address = _place(found, process.folder)
        if ref.is_own and address is not None and (named := _workspace_here(found, address)) is not None:
            return own_address(named)
        theirs = service_of(found)
        if address != ref.address or theirs == mine:
            return address
        return f"{address} at {theirs}" if _is_bare(mine) and _is_bare(theirs) else None

    return place


def place_of(process: Running) -> str | None:
    """Return the address of the state that a Terraform of this host works on; None when that cannot be found out."""
    found = _found_of(process)
    return None if found is None or process.folder is None else _place(found, process.folder)


def _found_of(process: Running) -> Found | None:
    """A configuration alone does not tell: workspace, data folder and addresses may come from the environment."""
    if process.folder is None or not process.environ:
        return None
    return find(DiskTree(), str(process.folder), process.environ)


def _place(found: Found, folder: Path) -> str | None:
    address = address_of(found, folder)
    own = own_state_at(address) if found.type == "http" and address is not None else None
    return own_address(own) if own is not None else address


def own_state_at(url: str) -> str | None:
    """Return the state of a server of ours that a URL names; None for another server's, such as GitLab's."""
    _, is_there, name = url.partition("/state/")
    return name.partition("?")[0] if is_there and _GITLABS not in url else None


def _workspace_here(found: Found, address: str) -> str | None:
    """Return the state of ours that a `cloud` block or `backend "remote"` may mean: any host but the public one is one.

    By which names a server of ours is reached, this machine does not know; so the workspace alone decides.
    """
    if found.type not in _PLATFORMS:
        return None
    host, _, workspace = address.partition("/")
    return None if host.endswith(_PUBLIC) else workspace


def _is_bare(url: str | None) -> bool:
    """Say whether a URL has an IP address for its host, which is not a second name of another."""
    try:
        ip_address(urlsplit(url or "").hostname or "")
    except ValueError:
        return False
    return True
