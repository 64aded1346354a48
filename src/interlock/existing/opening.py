"""From a root module to its backend. A hand: it opens what discovery found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.existing.discovery import find
from interlock.existing.interface import ExistingBackend, Found
from interlock.ids import Ids
from interlock.source.disk import DiskTree


async def open_backend(found: Found, directory: Path, *, clock: Clock, ids: Ids) -> ExistingBackend:
    """Open the backend that `discovery.find` found for `directory`; close it afterwards.

    Raises:
        UsageError: Settings are missing, or this version does not know the backend.
    """
    opener = _OPENERS.get(found.type)
    if opener is None:
        raise _unknown(found)
    return await opener(found, directory, clock, ids)


async def _open_s3(found: Found, _: Path, clock: Clock, ids: Ids) -> ExistingBackend:
    from interlock.existing.s3 import open_s3

    return await open_s3(found, clock=clock, ids=ids)


async def _open_local(found: Found, directory: Path, _: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.local import LocalBackend, path_of

    return LocalBackend(path_of(found, directory), found=found, directory=directory)


async def _open_pg(found: Found, _: Path, _clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.pg import open_pg

    return await open_pg(found)


async def _open_gcs(found: Found, _: Path, clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.gcs import open_gcs

    return open_gcs(found, clock=clock)


async def _open_azurerm(found: Found, _: Path, clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.azurerm import open_azurerm

    return open_azurerm(found, clock=clock)


async def _open_consul(found: Found, _: Path, clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.consul import open_consul

    return open_consul(found, clock=clock)


async def _open_kubernetes(found: Found, _: Path, clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.kubernetes import open_kubernetes

    return await asyncio.to_thread(open_kubernetes, found, clock=clock)


async def _open_tfe(found: Found, _: Path, _clock: Clock, _ids: Ids) -> ExistingBackend:
    from interlock.existing.tfe import open_tfe

    return open_tfe(found)


async def _open_http(found: Found, _: Path, clock: Clock, ids: Ids) -> ExistingBackend:
    from interlock.existing.gitlab import find_project_state, open_gitlab
    from interlock.existing.http import open_http

    if find_project_state(found) is not None:
        return open_gitlab(found, clock=clock, ids=ids)
    return open_http(found, clock=clock, ids=ids)


_OPENERS: Mapping[str, Callable[[Found, Path, Clock, Ids], Awaitable[ExistingBackend]]] = {
    "s3": _open_s3,
    "local": _open_local,
    "http": _open_http,
    "pg": _open_pg,
    "gcs": _open_gcs,
    "azurerm": _open_azurerm,
    "consul": _open_consul,
    "kubernetes": _open_kubernetes,
    "remote": _open_tfe,
    "cloud": _open_tfe,
}
OPENED = tuple(_OPENERS)
"""Backend types that `open_backend` knows."""


def address_of(found: Found, directory: Path) -> str | None:
    """Return what `describe` of the opened backend calls the state, without opening it; None when it is incomplete."""
    try:
        return _address(found, directory)
    except UsageError:
        return None


def whole_address_of(found: Found, directory: Path) -> str:
    """Return the same.

    Raises:
        UsageError: It is incomplete, or this version does not know the backend.
    """
    address = _address(found, directory)
    if address is None:
        raise _unknown(found)
    return address


def _unknown(found: Found) -> UsageError:
    return UsageError(
        f'this version of Interlock does not know backend "{found.type}"',
        why=f"it knows {', '.join(OPENED)}",
        fix="interlock doctor",
    )


def store_of(found: Found) -> str:
    """Return what tells apart two stores that may each have a bucket of one name; empty for AWS itself.

    Names of buckets are unique within AWS alone: two MinIO servers, or LocalStack and AWS, share them.
    """
    url = service_of(found) or ""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower() or url
    except ValueError:  # half of an IPv6 address
        return url


def service_of(found: Found) -> str | None:
    """Return the URL of the service that has the state, where the address does not tell it; None for the usual one."""
    return found.text({"gcs": "storage_custom_endpoint", "azurerm": "blob_endpoint"}.get(found.type, "endpoints.s3"))


def _address(found: Found, directory: Path) -> str | None:
    match found.type:
        case "s3":
            from interlock.existing.s3 import place_of

            return f"s3://{place_of(found).path}"
        case "local":
            from interlock.existing.local import path_of

            return str(path_of(found, directory))
        case name if name in _SHOWN_BY:
            shown: str = import_module(f"interlock.existing.{_SHOWN_BY[name]}").shown_address(found)
            return shown
        case _:
            return None


_SHOWN_BY = {
    **{name: name for name in ("http", "pg", "gcs", "azurerm", "consul", "kubernetes")},
    "remote": "tfe",
    "cloud": "tfe",
}
"""Which module has the `shown_address` of a type; imported late."""


async def open_for(
    directory: Path, environ: Mapping[str, str], extra: tuple[str, ...] = (), *, clock: Clock, ids: Ids
) -> ExistingBackend:
    """Find and open the backend of a root module.

    Args:
        directory: The root module.
        environ: The user's environment.
        extra: Flags for Terraform, among which `-backend-config` may be.
        clock: For back-off.
        ids: For chance.
    """
    return await open_backend(find(DiskTree(), str(directory), environ, extra), directory, clock=clock, ids=ids)
