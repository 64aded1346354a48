"""What `interlock bootstrap aws` was asked to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.errors import UsageError

if TYPE_CHECKING:
    from interlock.clock import Clock
    from interlock.existing.bootstrap import S3Account, Wanted
    from interlock.ids import Ids
    from interlock.store.aws import AwsAccess


class BootstrapAsked(Struct, frozen=True, kw_only=True):
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
    from interlock.existing import Found
    from interlock.existing.bootstrap import OLD_VERSIONS_DAYS, Wanted
    from interlock.existing.discovery import find, from_environment
    from interlock.existing.s3 import access_of
    from interlock.source.disk import DiskTree

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
        locks_in_bucket=found.is_true("use_lockfile"),
        workspace_prefix=found.text("workspace_key_prefix") or "env:",
        tls_only=not (found.text("endpoints.s3") or "").startswith("http:"),
        old_versions_days=OLD_VERSIONS_DAYS if days is None else days,
    )
    return wanted, replace(access_of(found), region=region)


def open_account(wanted: Wanted, access: AwsAccess, *, clock: Clock, ids: Ids) -> S3Account:
    """Return the hand that looks at bucket and table and changes them; close it afterwards."""
    from interlock.existing.bootstrap import S3Account

    return S3Account(access, clock=clock, ids=ids, bucket=wanted.bucket, table=wanted.table)
