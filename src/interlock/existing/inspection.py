"""Is a bucket with its lock table fit for runs? What `interlock doctor` says of `backend "s3"`.

A hand. Permissions are tried by calls that cannot succeed: a conditional write whose condition never holds is refused
for the condition when it is permitted, and for the permission when it is not. So nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from interlock.amounts import amount
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, InterlockError
from interlock.existing.bootstrap import EXPIRES, BucketAsIs, S3Account, TableAsIs, check_key_schema
from interlock.existing.hazards import Objects, find_hazards
from interlock.existing.s3 import LOCK_SUFFIX, S3Backend
from interlock.ids import Ids
from interlock.store.aws import AwsAccess, AwsCaller, Refused, connect

CLOCK_NOTE_S = 5.0
CLOCK_PROBLEM_S = 240.0  # AWS refuses requests whose clock is 5 minutes off (DynamoDB) or 15 (S3)
THROTTLES_DAYS = 1
"""How far back throttled requests are looked for."""

_PROBE = ".interlock/doctor-probe"
_PROBE_ITEM = "interlock-doctor:probe"
_REFUSED = frozenset({"ConditionalCheckFailedException"})
_NOT_MET = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404", "NotFound"})
_METRICS = ("ReadThrottleEvents", "WriteThrottleEvents")
_BOOTSTRAP = "interlock bootstrap aws"
_POLICY = "interlock bootstrap aws --policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One thing that was looked at.

    Attributes:
        name: What.
        result: `ok`, `note` (worth knowing) or `problem` (a run would fail or be unsafe).
        text: What was found.
        fix: The next command; empty when there is nothing to do.
    """

    name: str
    result: Literal["ok", "note", "problem"]
    text: str
    fix: str = ""


async def inspect(backend: S3Backend, access: AwsAccess, *, clock: Clock, ids: Ids) -> list[Inspected]:
    """Return what is to be said of bucket, table, permissions, clock and throttling. Nothing is changed."""
    place = backend.place
    account = S3Account(access, clock=clock, ids=ids, bucket=place.bucket, table=place.table)
    try:
        rows = await _guarded("bucket", lambda: _bucket(account, place.bucket))
        rows += await _guarded("hazards", lambda: _hazards(account, backend))
        if place.table is not None:
            table = place.table
            rows += await _guarded("table", lambda: _table(account, table))
        rows.append(_locking(backend))
        rows += await _guarded("permissions", lambda: _permissions(account, backend))
        rows += _clock(backend, clock)
        if place.table is not None:
            rows.append(await _throttles(access, place.table, clock=clock, ids=ids))
        return rows
    finally:
        await account.close()


async def _guarded(name: str, look: Callable[[], Awaitable[list[Inspected]]]) -> list[Inspected]:
    try:
        return await look()
    except AuthenticationFailed as error:
        return [Inspected(name=name, result="note", text=f"not allowed to look: {error.why}", fix=_POLICY)]
    except InterlockError as error:
        text = f"{error.what}{f': {error.why}' if error.why else ''}"
        return [Inspected(name=name, result="problem", text=text, fix=error.fix)]


# -- bucket and table -------------------------------------------------------------------------------------------------


async def _bucket(account: S3Account, bucket: str) -> list[Inspected]:
    found = await account.look_at_bucket(bucket)
    if not found.exists:
        return [Inspected(name="bucket", result="problem", text=f"{bucket} does not exist", fix=_BOOTSTRAP)]
    return _bucket_rows(bucket, found)


async def _hazards(account: S3Account, backend: S3Backend) -> list[Inspected]:
    """Name rules of somebody's that would lose states or locks."""
    place = backend.place
    bucket = await account.look_at_bucket(place.bucket)
    objects = Objects(
        bucket=place.bucket,
        key=place.key,
        workspace_prefix="env:",
        locks=place.use_lockfile or place.table is None,
    )
    found = find_hazards(
        objects,
        rules=bucket.rules,
        policy=bucket.policy,
        table=None,  # a TTL on another attribute only keeps ours from expiring; `_table_rows` says so
        ttl_attribute="",
        ttl_wanted=EXPIRES,
    )
    return [Inspected(name="bucket", result="problem", text=hazard.text, fix=hazard.fix) for hazard in found]


def _bucket_rows(bucket: str, found: BucketAsIs) -> list[Inspected]:
    versioned = found.versioning == "Enabled"
    rows = [
        _row("bucket", f"{bucket} keeps versions", f"{bucket} keeps no versions: nothing could be restored", versioned),
        _row("bucket", "new objects are encrypted", "no encryption is set", found.encryption is not None),
        _row(
            "bucket",
            "public access is blocked",
            "public access is not blocked altogether",
            all((found.public_block or {"": False}).values()),
        ),
    ]
    return _shortened("bucket", rows)


async def _table(account: S3Account, table: str) -> list[Inspected]:
    found = await account.look_at_table(table)
    if not found.exists:
        return [Inspected(name="table", result="problem", text=f"{table} does not exist", fix=_BOOTSTRAP)]
    check_key_schema(table, found)
    return _table_rows(table, found)


def _table_rows(table: str, found: TableAsIs) -> list[Inspected]:
    on_demand = found.billing == "PAY_PER_REQUEST"
    ttl = found.ttl_attribute
    foreign_ttl = f"its TTL is on {ttl}, which nobody writes" if ttl else "it has no TTL: our items stay for ever"
    rows = [
        _row("table", f"{table} has the key LockID", "", good=True),
        _row("table", "billed on demand", f"billing mode {found.billing}: bursts are throttled (exit 30)", on_demand),
        _row("table", f"our items expire by {EXPIRES}", foreign_ttl, ttl == EXPIRES),
        _row("table", "protected against deletion", "not protected against deletion", found.deletion_protection),
        _row("table", "point-in-time recovery is on", "point-in-time recovery is off", found.recovery),
        _row("table", f"encrypted ({found.encryption})", "", good=True),
    ]
    return _shortened("table", rows)


def _row(name: str, yes: str, no: str, good: bool) -> Inspected:
    if good:
        return Inspected(name=name, result="ok", text=yes)
    return Inspected(name=name, result="note", text=no, fix=_BOOTSTRAP)


def _shortened(name: str, rows: list[Inspected]) -> list[Inspected]:
    """Put everything that is well into one row."""
    well = ", ".join(row.text for row in rows if row.result == "ok")
    return [*([Inspected(name=name, result="ok", text=well)] if well else []), *(r for r in rows if r.result != "ok")]


def _locking(backend: S3Backend) -> Inspected:
    if mechanisms := backend.place.locking:
        return Inspected(name="locking", result="ok", text=f"Terraform locks with {' and then '.join(mechanisms)}")
    return Inspected(
        name="locking",
        result="problem",
        text="the backend locks with nothing, so plain Terraform and our runs can overwrite each other",
        fix="set use_lockfile = true in the backend block (Terraform 1.10), or dynamodb_table",
    )


# -- permissions ------------------------------------------------------------------------------------------------------


async def _permissions(account: S3Account, backend: S3Backend) -> list[Inspected]:
    """Try what a run does."""
    place = backend.place
    tries: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("s3:ListBucket", lambda: account.call("s3", "list_objects_v2", Bucket=place.bucket, MaxKeys=1)),
        ("s3:GetObject", backend.read_state),
        ("s3:PutObject on .interlock/", lambda: _never_put(account, place.bucket, _PROBE)),
    ]
    if place.use_lockfile:
        probe = f"{place.key}.interlock-probe{LOCK_SUFFIX}"
        tries.append(("s3:PutObject on *.tflock", lambda: _never_put(account, place.bucket, probe)))
    if place.table is not None:
        table = place.table
        tries += [
            ("dynamodb:GetItem", lambda: account.call("dynamodb", "get_item", TableName=table, Key=_key())),
            ("dynamodb:PutItem", lambda: _never_item(account, "put_item", table, Item=_key())),
            ("dynamodb:DeleteItem", lambda: _never_item(account, "delete_item", table, Key=_key())),
        ]
    failures = [found for found in await asyncio.gather(*(_tried(*each) for each in tries)) if found is not None]
    if failures:
        return failures
    return [Inspected(name="permissions", result="ok", text=", ".join(name for name, _ in tries))]


async def _tried(name: str, call: Callable[[], Awaitable[object]]) -> Inspected | None:
    try:
        problem = await call()
    except AuthenticationFailed as error:
        return Inspected(name="permissions", result="problem", text=f"{name} is missing: {error.why}", fix=_POLICY)
    if isinstance(problem, str):
        return Inspected(
            name="permissions", result="problem", text=problem, fix="use a service that honours conditions"
        )
    return None


async def _never_put(account: S3Account, bucket: str, key: str) -> str | None:
    """Write an object on the condition that it is another one than the one that is not there."""
    try:
        await account.call(
            "s3", "put_object", answers=_NOT_MET, Bucket=bucket, Key=key, Body=b"", IfMatch='"0123456789abcdef"'
        )
    except Refused:
        return None
    return f"the service ignores conditions of writes (it made {key}), so nothing can be locked in this bucket"


async def _never_item(account: S3Account, operation: str, table: str, **arguments: object) -> str | None:
    try:
        await account.call(
            "dynamodb",
            operation,
            answers=_REFUSED,
            TableName=table,
            ConditionExpression="attribute_exists(LockID)",
            **arguments,
        )
    except Refused:
        return None
    return f"the service ignores conditions of {operation}, so nothing can be locked in this table"


def _key() -> dict[str, dict[str, str]]:
    return {"LockID": {"S": _PROBE_ITEM}}


# -- clock and throttling ---------------------------------------------------------------------------------------------


def _clock(backend: S3Backend, clock: Clock) -> list[Inspected]:
    theirs_s = backend.server_time_s()
    if theirs_s is None:
        return []
    ahead_s = clock.now().timestamp() - theirs_s
    text = f"this machine's clock is {abs(ahead_s):.0f}s {'ahead of' if ahead_s > 0 else 'behind'} AWS's"
    if abs(ahead_s) <= CLOCK_NOTE_S:
        return [Inspected(name="clock", result="ok", text=text)]
    result: Literal["note", "problem"] = "problem" if abs(ahead_s) >= CLOCK_PROBLEM_S else "note"
    return [Inspected(name="clock", result=result, text=text, fix="synchronise it: timedatectl set-ntp true")]


async def _throttles(access: AwsAccess, table: str, *, clock: Clock, ids: Ids) -> Inspected:
    endpoints = access.endpoints or {}
    if "dynamodb" in endpoints and "cloudwatch" not in endpoints:
        return Inspected(name="throttling", result="note", text="CloudWatch was not asked: the endpoint is your own")
    caller = AwsCaller(place="CloudWatch", remedy="try again later", clock=clock, ids=ids)
    try:
        client = await asyncio.to_thread(connect, "cloudwatch", access)
        now = clock.now()
        total = 0
        for metric in _METRICS:
            answer = await caller.call(
                client.get_metric_statistics,
                Namespace="AWS/DynamoDB",
                MetricName=metric,
                Dimensions=[{"Name": "TableName", "Value": table}],
                StartTime=now - timedelta(days=THROTTLES_DAYS),
                EndTime=now,
                Period=3600,
                Statistics=["Sum"],
            )
            total += int(sum(point["Sum"] for point in answer.get("Datapoints", ())))
    except InterlockError as error:
        return Inspected(name="throttling", result="note", text=f"CloudWatch could not be asked: {error.why}")
    finally:
        await caller.close()
    if total == 0:
        return Inspected(name="throttling", result="ok", text="no request of the last day was throttled")
    return Inspected(
        name="throttling",
        result="note",
        text=f"{amount(total, 'request of the last day was', 'requests of the last day were')} throttled",
        fix=f"aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST",
    )
