"""States that stay where they are: the backend that a configuration declares, and what AWS needs for one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.compose.names import find_root_module
from interlock.errors import UsageError
from interlock.ids import RandomIds

if TYPE_CHECKING:
    from interlock.existing import Found
    from interlock.existing.bootstrap import S3Account, Wanted
    from interlock.onsite.site import Site
    from interlock.store.aws import AwsAccess

_BACKEND_WORD = re.compile(rb'\bbackend\b|\bcloud"?\s*:?\s*[{\[]')


def named_site(text: str, environ: Mapping[str, str] | None = None) -> Found | None:
    """Return the backend of the root module that a person names, when its state stays there; None for our own.

    Raises:
        UsageError: The backend is incomplete or not supported.
    """
    folder = find_root_module(text)
    return None if folder is None else declared_site(folder.resolve(), os.environ if environ is None else environ)


def declared_site(directory: Path, environ: Mapping[str, str], extra: Sequence[str] = ()) -> Found | None:
    """Return what `find_site` finds in a root module; most of them need no import of the HCL reader for it."""
    if not _may_declare_backend(directory):
        return None
    from interlock.onsite.finding import find_site

    return find_site(directory, environ, extra)


def _may_declare_backend(directory: Path) -> bool:
    """Say whether any file holds the word that a backend block needs."""
    return any(_BACKEND_WORD.search(path.read_bytes()) for path in sources_of(directory))


def open_site_of(found: Found, directory: Path) -> AbstractAsyncContextManager[Site]:
    """Open a state that stays where it is, with its queue."""
    from interlock.onsite.site import open_site

    return open_site(found, directory.resolve(), clock=SystemClock(), ids=RandomIds())


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapAsked:
    """What `interlock bootstrap aws` was told; what is None comes from the root module's backend."""

    directory: Path
    bucket: str | None = None
    table: str | None = None
    no_table: bool = False
    region: str | None = None
    kms_key: str | None = None
    old_versions_days: int | None = None


def wanted_of(asked: BootstrapAsked, environ: Mapping[str, str]) -> tuple[Wanted, AwsAccess]:
    """Return the bucket and table that are to be, and how AWS is reached.

    Raises:
        UsageError: Nothing names the bucket or the region.
    """
    from interlock.disk import DiskTree
    from interlock.existing import Found
    from interlock.existing.bootstrap import OLD_VERSIONS_DAYS, Wanted
    from interlock.existing.discovery import find, from_environment
    from interlock.existing.s3 import access_of

    found = find(DiskTree(), str(asked.directory), environ)
    if found.type != "s3":
        given = from_environment("s3", environ)
        found = Found(type="s3", settings=given)
    bucket, region = asked.bucket or found.text("bucket"), asked.region or found.text("region")
    if bucket is None or region is None:
        raise UsageError(
            f"nothing names the {'bucket' if bucket is None else 'region'}",
            why=f'neither a flag nor a backend "s3" in {asked.directory}',
            fix="interlock bootstrap aws --bucket NAME --region REGION",
        )
    days = asked.old_versions_days
    wanted = Wanted(
        bucket=bucket,
        table=None if asked.no_table else asked.table or found.text("dynamodb_table"),
        region=region,
        kms_key=asked.kms_key or found.text("kms_key_id"),
        key=found.text("key") or "*",
        workspace_prefix=found.text("workspace_key_prefix") or "env:",
        tls_only=not (found.text("endpoints.s3") or "").startswith("http:"),
        old_versions_days=OLD_VERSIONS_DAYS if days is None else days,
    )
    return wanted, replace(access_of(found), region=region)


def open_account(wanted: Wanted, access: AwsAccess) -> S3Account:
    """Return the hand that looks at bucket and table and changes them; close it afterwards."""
    from interlock.existing.bootstrap import S3Account

    return S3Account(access, clock=SystemClock(), ids=RandomIds(), bucket=wanted.bucket, table=wanted.table)


def check_backend(directory: Path, state: str) -> bool:
    """Return whether the configuration declares an empty `backend "http" {}` itself.

    Raises:
        UsageError: It declares another backend, or has a local state that Interlock does not know.
    """
    from interlock.run.workspace import check_no_local_state

    if not _may_declare_backend(directory):
        check_no_local_state(directory, state)
        return False
    from interlock.disk import DiskTree
    from interlock.hcl import find_backend

    backend = find_backend(DiskTree(), str(directory))
    if backend is None:
        check_no_local_state(directory, state)
        return False
    if backend.type != "http":
        raise UsageError(
            f'the configuration declares backend "{backend.type}", which runs cannot use yet',
            why="runs work on Interlock's own backend and on S3; states of other backends can be imported",
            fix="terraform state pull > state.json; interlock state push --state NAME state.json; remove the block",
        )
    return not backend.body.attributes


def sources_of(directory: Path) -> list[Path]:
    """Return the configuration files of a folder."""
    return [path for path in directory.iterdir() if path.name.endswith((".tf", ".tf.json", ".tofu")) and path.is_file()]
