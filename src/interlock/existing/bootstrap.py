"""What a bucket and a lock table should be, what they are, and the calls that make up the difference.

`plan_steps` is a plain function of the two, so a second run after a first one has nothing to do. `S3Account` is the
hand: it looks and performs. Nothing is ever deleted, and a table whose key is another one is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.existing.hazards import Objects, find_hazards
from interlock.ids import Ids
from interlock.store.aws import AwsAccess, AwsCaller, Refused, connect

LOCK_KEY = "LockID"
EXPIRES = "ExpirationTime"
OLD_VERSIONS_DAYS = 90
"""How long a replaced state stays restorable; `bootstrap` never shortens a rule that is there already."""

_RULE = "interlock-old-versions"
_TLS_SID = "InterlockTlsOnly"
_ACTIVE_S = 60.0  # a new table is usable within seconds
_LOOK_S = 0.2
_DEFAULT_REGION = "us-east-1"  # the one region that S3 does not want to be named
_NO_BUCKET = frozenset({"404", "NoSuchBucket", "NotFound"})
_UNSET = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "404",
    }
)
_NO_TABLE = frozenset({"ResourceNotFoundException"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be there.

    Attributes:
        bucket: The bucket of states.
        table: The table of locks; None when Terraform locks with objects.
        region: Where both are made.
        kms_key: Encrypt with this KMS key; None for S3's own keys.
        key: The state objects' name or a pattern, for the policy: `app/terraform.tfstate`, `*`.
        workspace_prefix: `workspace_key_prefix` of the backend, for the policy.
        locks_in_bucket: Terraform locks with objects (`use_lockfile`), with or without a table beside.
        tls_only: Refuse requests without TLS; False for an emulator at an `http:` address, which would lock us out.
        old_versions_days: How long replaced states are kept.
    """

    bucket: str
    table: str | None = None
    region: str
    kms_key: str | None = None
    key: str = "*"
    workspace_prefix: str = "env:"
    locks_in_bucket: bool = False
    tls_only: bool = True
    old_versions_days: int = OLD_VERSIONS_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAsIs:
    """A bucket as it is; None where it does not exist or nothing is set."""

    exists: bool
    versioning: str = ""
    encryption: Mapping[str, Any] | None = None
    public_block: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    rules: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAsIs:
    """A table as it is."""

    exists: bool
    key_schema: tuple[tuple[str, str], ...] = ()
    key_type: str = ""
    billing: str = ""
    deletion_protection: bool = False
    ttl_attribute: str = ""
    recovery: bool = False
    encryption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call that makes up a difference.

    Attributes:
        target: What is changed: `bucket tfstate`, `table tflocks`.
        text: What will be different, for people.
        service: `s3` or `dynamodb`.
        operation: The SDK's name of the call.
        arguments: Its arguments.
    """

    target: str
    text: str
    service: str
    operation: str
    arguments: Mapping[str, Any] = field(repr=False)


def plan_steps(wanted: Wanted, bucket: BucketAsIs, table: TableAsIs | None) -> tuple[Step, ...]:
    """Return the calls that make bucket and table what is wanted, in order; none when they are.

    Raises:
        UsageError: The table has another key, which cannot be changed; or something there would lose states or locks.
    """
    if wanted.table is not None and table is not None and table.exists:
        check_key_schema(wanted.table, table)
    hazards = find_hazards(
        Objects(
            bucket=wanted.bucket,
            key=wanted.key,
            workspace_prefix=wanted.workspace_prefix,
            locks=wanted.locks_in_bucket or wanted.table is None,
        ),
        rules=bucket.rules,
        policy=bucket.policy,
        table=wanted.table,
        ttl_attribute=table.ttl_attribute if table is not None else "",
        ttl_wanted=EXPIRES,
    )
    if hazards:
        raise UsageError(
            "nothing was changed: states or locks would not be safe there",
            why="; ".join(hazard.text for hazard in hazards),
            fix="    ".join(hazard.fix for hazard in hazards),
        )
    steps = list(_bucket_steps(wanted, bucket))
    if wanted.table is not None and table is not None:
        steps += _table_steps(wanted.table, table)
    return tuple(steps)


# -- the bucket -------------------------------------------------------------------------------------------------------


def _bucket_steps(wanted: Wanted, found: BucketAsIs) -> Iterator[Step]:
    def step(text: str, operation: str, **arguments: Any) -> Step:
        return Step(
            target=f"bucket {wanted.bucket}",
            text=text,
            service="s3",
            operation=operation,
            arguments={"Bucket": wanted.bucket, **arguments},
        )

    if not found.exists:
        place = {"CreateBucketConfiguration": {"LocationConstraint": wanted.region}}
        yield step(
            f"create it in {wanted.region}", "create_bucket", **(place if wanted.region != _DEFAULT_REGION else {})
        )
    if found.versioning != "Enabled":
        yield step(
            "keep every version of a state (versioning)",
            "put_bucket_versioning",
            VersioningConfiguration={"Status": "Enabled"},
        )
    if not _is_encrypted(wanted, found.encryption):
        how = f"SSE-KMS with {wanted.kms_key}" if wanted.kms_key else "SSE-S3"
        yield step(
            f"encrypt new objects ({how})",
            "put_bucket_encryption",
            ServerSideEncryptionConfiguration=_encryption(wanted),
        )
    if found.public_block != _PUBLIC_BLOCK:
        yield step(
            "block all public access", "put_public_access_block", PublicAccessBlockConfiguration=dict(_PUBLIC_BLOCK)
        )
    if wanted.tls_only and not _is_tls_only(found.policy):
        policy = json.dumps(_with_tls(wanted.bucket, found.policy))
        yield step("refuse requests without TLS (bucket policy)", "put_bucket_policy", Policy=policy)
    if not any(_expires_old(rule) for rule in found.rules):
        rules = [*map(dict, found.rules), _rule(wanted.old_versions_days)]
        yield step(
            f"delete replaced versions after {wanted.old_versions_days} days (lifecycle)",
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration={"Rules": rules},
        )


_PUBLIC_BLOCK = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def _encryption(wanted: Wanted) -> dict[str, Any]:
    if wanted.kms_key is None:
        return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": wanted.kms_key}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]}


def _is_encrypted(wanted: Wanted, found: Mapping[str, Any] | None) -> bool:
    """Any encryption will do, unless a key is named."""
    rules = (found or {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    if wanted.kms_key is None:
        return bool(defaults)
    return any(default.get("KMSMasterKeyID") == wanted.kms_key for default in defaults)


def _is_tls_only(policy: Mapping[str, Any] | None) -> bool:
    statements = (policy or {}).get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
        if statement.get("Effect") == "Deny" and str(condition).lower() == "false":
            return True
    return False


def _with_tls(bucket: str, policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the policy with one more statement; what is there stays."""
    base = dict(policy or {"Version": "2012-10-17", "Statement": []})
    found = base.get("Statement", [])
    statement = {
        "Sid": _TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    base["Statement"] = [*(found if isinstance(found, list) else [found]), statement]
    return base


def _rule(days: int) -> dict[str, Any]:
    return {
        "ID": _RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
    }


def _expires_old(rule: Mapping[str, Any]) -> bool:
    return rule.get("Status") == "Enabled" and "NoncurrentVersionExpiration" in rule


# -- the table --------------------------------------------------------------------------------------------------------


def _table_steps(name: str, found: TableAsIs) -> Iterator[Step]:
    def step(text: str, operation: str, **arguments: Any) -> Step:
        return Step(
            target=f"table {name}",
            text=text,
            service="dynamodb",
            operation=operation,
            arguments={"TableName": name, **arguments},
        )

    if found.exists:
        check_key_schema(name, found)
    else:
        yield step(
            f"create it with the key {LOCK_KEY} (text), on demand, protected against deletion",
            "create_table",
            KeySchema=[{"AttributeName": LOCK_KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": LOCK_KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
        )
    if found.exists and found.billing != "PAY_PER_REQUEST":
        yield step("bill on demand (PAY_PER_REQUEST)", "update_table", BillingMode="PAY_PER_REQUEST")
    if found.exists and not found.deletion_protection:
        yield step("protect it against deletion", "update_table", DeletionProtectionEnabled=True)
    if found.ttl_attribute != EXPIRES:
        yield step(
            f"let items with {EXPIRES} expire (only Interlock's own have it)",
            "update_time_to_live",
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES},
        )
    if not found.recovery:
        yield step(
            "keep 35 days of point-in-time recovery",
            "update_continuous_backups",
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )


def check_key_schema(name: str, found: TableAsIs) -> None:
    """Refuse a table in which Terraform could not lock.

    Raises:
        UsageError: Its key is not `LockID` alone, a text.
    """
    if found.key_schema == ((LOCK_KEY, "HASH"),) and found.key_type == "S":
        return
    shown = ", ".join(f"{attribute} ({kind})" for attribute, kind in found.key_schema)
    raise UsageError(
        f'DynamoDB table "{name}" cannot be a lock table',
        why=f"its key is {shown} of type {found.key_type or '?'}; Terraform writes items with the one text key "
        f"{LOCK_KEY}, and the key of a table cannot be changed",
        fix="name another table: interlock bootstrap aws --table NAME",
    )


# -- what people take away --------------------------------------------------------------------------------------------


def iam_policy(wanted: Wanted) -> dict[str, Any]:
    """Return the least that Terraform and Interlock need together."""
    bucket = f"arn:aws:s3:::{wanted.bucket}"
    own = (
        [f"{bucket}/*"]
        if wanted.key == "*"
        else [f"{bucket}/{wanted.key}", f"{bucket}/{wanted.workspace_prefix}/*/{wanted.key}"]
    )
    locks = [f"{bucket}/*.tflock"] if wanted.key == "*" else [f"{name}.tflock" for name in own]
    statements = [
        {"Sid": "List", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketVersions"], "Resource": bucket},
        {
            "Sid": "States",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            "Resource": own,
        },
        {
            "Sid": "LocksAndQueue",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": [*locks, f"{bucket}/.interlock/*"],
        },
    ]
    if wanted.table is not None:
        statements.append(
            {
                "Sid": "Table",
                "Effect": "Allow",
                "Action": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable"],
                "Resource": f"arn:aws:dynamodb:{wanted.region}:*:table/{wanted.table}",
            }
        )
    if wanted.kms_key is not None:
        statements.append(
            {
                "Sid": "Key",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": wanted.kms_key if wanted.kms_key.startswith("arn:") else "*",
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def to_terraform(wanted: Wanted) -> str:
    """Return the same bucket and table as Terraform configuration."""
    parts = [_TF_BUCKET.format(bucket=wanted.bucket, days=wanted.old_versions_days, encryption=_tf_encryption(wanted))]
    if wanted.table is not None:
        parts.append(_TF_TABLE.format(table=wanted.table))
    return "\n".join(parts)


def _tf_encryption(wanted: Wanted) -> str:
    if wanted.kms_key is None:
        return '      sse_algorithm = "AES256"\n'
    return f'      sse_algorithm     = "aws:kms"\n      kms_master_key_id = "{wanted.kms_key}"\n'


_TF_BUCKET = """resource "aws_s3_bucket" "states" {{
  bucket = "{bucket}"

  lifecycle {{
    prevent_destroy = true
  }}
}}

resource "aws_s3_bucket_versioning" "states" {{
  bucket = aws_s3_bucket.states.id

  versioning_configuration {{
    status = "Enabled"
  }}
}}

resource "aws_s3_bucket_server_side_encryption_configuration" "states" {{
  bucket = aws_s3_bucket.states.id

  rule {{
    apply_server_side_encryption_by_default {{
{encryption}    }}
  }}
}}

resource "aws_s3_bucket_public_access_block" "states" {{
  bucket                  = aws_s3_bucket.states.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = true
  restrict_public_buckets = true
}}

resource "aws_s3_bucket_policy" "states" {{
  bucket = aws_s3_bucket.states.id
  policy = jsonencode({{
    Version = "2012-10-17"
    Statement = [{{
      Sid       = "InterlockTlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.states.arn, "${{aws_s3_bucket.states.arn}}/*"]
      Condition = {{ Bool = {{ "aws:SecureTransport" = "false" }} }}
    }}]
  }})
}}

resource "aws_s3_bucket_lifecycle_configuration" "states" {{
  bucket = aws_s3_bucket.states.id

  rule {{
    id     = "interlock-old-versions"
    status = "Enabled"

    filter {{}}

    noncurrent_version_expiration {{
      noncurrent_days = {days}
    }}
  }}
}}
"""
_TF_TABLE = """resource "aws_dynamodb_table" "locks" {{
  name                        = "{table}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "LockID"
  deletion_protection_enabled = true

  attribute {{
    name = "LockID"
    type = "S"
  }}

  # Only Interlock's own items have this attribute; Terraform's locks never expire.
  ttl {{
    attribute_name = "ExpirationTime"
    enabled        = true
  }}

  point_in_time_recovery {{
    enabled = true
  }}
}}
"""


# -- the hand ---------------------------------------------------------------------------------------------------------


class S3Account:
    """Looks at bucket and table, and performs steps.

    Args:
        access: How to reach AWS.
        clock: For back-off.
        ids: For jitter.
        bucket: For messages.
        table: For messages.
    """

    def __init__(self, access: AwsAccess, *, clock: Clock, ids: Ids, bucket: str, table: str | None) -> None:
        self._access = access
        self._clock = clock
        self._clients: dict[str, Any] = {}
        remedy = "wait a minute and try again"
        self._callers = {
            "s3": AwsCaller(place=f'S3 bucket "{bucket}"', remedy=remedy, clock=clock, ids=ids),
            "dynamodb": AwsCaller(place=f'DynamoDB table "{table}"', remedy=remedy, clock=clock, ids=ids),
        }

    async def call(
        self, service: str, operation: str, *, answers: frozenset[str] = frozenset(), **arguments: Any
    ) -> dict[str, Any]:
        """Call an operation by name. Raises as `AwsCaller.call`."""
        if service not in self._clients:
            self._clients[service] = await asyncio.to_thread(connect, service, self._access)
        client = self._clients[service]
        return await self._callers[service].call(getattr(client, operation), answers=answers, **arguments)

    async def look_at_bucket(self, bucket: str) -> BucketAsIs:
        """Return a bucket as it is."""
        try:
            await self.call("s3", "head_bucket", answers=_NO_BUCKET, Bucket=bucket)
        except Refused:
            return BucketAsIs(exists=False)
        versioning, encryption, block, policy, rules = await asyncio.gather(
            self._ask(bucket, "get_bucket_versioning"),
            self._ask(bucket, "get_bucket_encryption"),
            self._ask(bucket, "get_public_access_block"),
            self._ask(bucket, "get_bucket_policy"),
            self._ask(bucket, "get_bucket_lifecycle_configuration"),
        )
        return BucketAsIs(
            exists=True,
            versioning=str(versioning.get("Status", "")),
            encryption=encryption.get("ServerSideEncryptionConfiguration"),
            public_block=block.get("PublicAccessBlockConfiguration"),
            policy=read_json(policy["Policy"]) if policy.get("Policy") else None,
            rules=tuple(rules.get("Rules", ())),
        )

    async def _ask(self, bucket: str, operation: str) -> dict[str, Any]:
        try:
            return await self.call("s3", operation, answers=_UNSET, Bucket=bucket)
        except Refused:
            return {}

    async def look_at_table(self, table: str) -> TableAsIs:
        """Return a table as it is."""
        try:
            found = (await self.call("dynamodb", "describe_table", answers=_NO_TABLE, TableName=table))["Table"]
        except Refused:
            return TableAsIs(exists=False)
        ttl, backups = await asyncio.gather(
            self.call("dynamodb", "describe_time_to_live", TableName=table),
            self.call("dynamodb", "describe_continuous_backups", TableName=table),
        )
        types = {row["AttributeName"]: row["AttributeType"] for row in found["AttributeDefinitions"]}
        schema = tuple((row["AttributeName"], row["KeyType"]) for row in found["KeySchema"])
        alive = ttl["TimeToLiveDescription"]
        recovery = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        return TableAsIs(
            exists=True,
            key_schema=schema,
            key_type=types.get(schema[0][0], "") if schema else "",
            billing=found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            deletion_protection=bool(found.get("DeletionProtectionEnabled", False)),
            ttl_attribute=alive.get("AttributeName", "") if alive.get("TimeToLiveStatus") in _TTL_ON else "",
            recovery=recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
            encryption=found.get("SSEDescription", {}).get("SSEType", "AWS owned key"),
        )

    async def perform(self, step: Step) -> None:
        """Make one difference up; a new or changed table is waited for."""
        await self.call(step.service, step.operation, **step.arguments)
        if step.operation in ("create_table", "update_table"):
            await self._until_active(str(step.arguments["TableName"]))

    async def _until_active(self, table: str) -> None:
        until_s = self._clock.monotonic() + _ACTIVE_S
        while self._clock.monotonic() < until_s:
            found = await self.call("dynamodb", "describe_table", answers=_NO_TABLE, TableName=table)
            if found["Table"]["TableStatus"] == "ACTIVE":
                return
            await self._clock.sleep(_LOOK_S)

    async def close(self) -> None:
        """Let go of connections."""
        await asyncio.gather(*(caller.close() for caller in self._callers.values()))


_TTL_ON = frozenset({"ENABLED", "ENABLING"})
