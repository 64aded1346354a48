from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.errors import UsageError
from interlock.existing.bootstrap import (
    BucketAsIs,
    S3Account,
    TableAsIs,
    Wanted,
    iam_policy,
    plan_steps,
    to_terraform,
)
from interlock.hcl import parse
from interlock.ids import RandomIds
from interlock.testing.aws import LocalAws

WANTED = Wanted(bucket="b", table="t", region="eu-central-1", key="app.tfstate")
NO_TABLE = TableAsIs(exists=False)


def test_everything_is_made_where_nothing_is() -> None:
    steps = plan_steps(WANTED, BucketAsIs(exists=False), NO_TABLE)
    assert [step.operation for step in steps] == [
        "create_bucket",
        "put_bucket_versioning",
        "put_bucket_encryption",
        "put_public_access_block",
        "put_bucket_policy",
        "put_bucket_lifecycle_configuration",
        "create_table",
        "update_time_to_live",
        "update_continuous_backups",
    ]
    assert steps[0].arguments["CreateBucketConfiguration"] == {"LocationConstraint": "eu-central-1"}


def test_us_east_1_is_not_named() -> None:
    steps = plan_steps(replace(WANTED, region="us-east-1", table=None), BucketAsIs(exists=False), None)
    assert steps[0].arguments == {"Bucket": "b"}


async def test_a_second_time_there_is_nothing_to_do_and_foreign_rules_stay(aws: LocalAws) -> None:
    bucket, table = aws.new_bucket(), f"t-{aws.new_bucket()}"
    wanted = replace(WANTED, bucket=bucket, table=table)
    rule = {"ID": "mine", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
    aws.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    account = S3Account(aws.access, clock=SystemClock(), ids=RandomIds(), bucket=bucket, table=table)
    try:
        first = plan_steps(wanted, await account.look_at_bucket(bucket), await account.look_at_table(table))
        assert "create_bucket" not in [step.operation for step in first]
        for step in first:
            await account.perform(step)
        found = await account.look_at_bucket(bucket)
        assert plan_steps(wanted, found, await account.look_at_table(table)) == ()
        assert {each["ID"] for each in found.rules} == {"mine", "interlock-old-versions"}
        stricter = plan_steps(replace(wanted, kms_key="arn:k"), found, await account.look_at_table(table))
        assert [step.operation for step in stricter] == ["put_bucket_encryption"]
    finally:
        await account.close()


@pytest.mark.parametrize(
    "table",
    [
        TableAsIs(exists=True, key_schema=(("id", "HASH"),), key_type="S"),
        TableAsIs(exists=True, key_schema=(("LockID", "HASH"), ("at", "RANGE")), key_type="S"),
        TableAsIs(exists=True, key_schema=(("LockID", "HASH"),), key_type="N"),
    ],
)
def test_a_table_with_another_key_is_refused_and_nothing_is_planned(table: TableAsIs) -> None:
    with pytest.raises(UsageError, match="cannot be a lock table") as refusal:
        plan_steps(WANTED, BucketAsIs(exists=True), table)
    assert "LockID" in refusal.value.why


def test_a_provisioned_table_is_brought_into_line() -> None:
    table = TableAsIs(exists=True, key_schema=(("LockID", "HASH"),), key_type="S", billing="PROVISIONED", recovery=True)
    steps = plan_steps(WANTED, BucketAsIs(exists=False), table)
    assert [step.text for step in steps if step.service == "dynamodb"] == [
        "bill on demand (PAY_PER_REQUEST)",
        "protect it against deletion",
        "let items with ExpirationTime expire (only Interlock's own have it)",
    ]


EXPIRING = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
NO_DELETES = {"Sid": "Keep", "Effect": "Deny", "Principal": "*", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::b/*"}
FINE = TableAsIs(exists=True, key_schema=(("LockID", "HASH"),), key_type="S")


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("bucket", "table", "part"),
    [
        ({"rules": (EXPIRING,)}, {}, "deletes current states after 30 days"),
        ({"rules": ({**EXPIRING, "Filter": {"Prefix": "app"}},)}, {}, "deletes current states"),
        ({"rules": ({**EXPIRING, "Filter": {"Prefix": "env:/"}},)}, {}, "deletes current states"),
        ({"rules": ({**EXPIRING, "Filter": {}, "Prefix": "app"},)}, {}, "deletes current states"),
        ({"rules": ({"Status": "Enabled", "Transitions": [{"Days": 9, "StorageClass": "GLACIER"}]},)}, {}, "GLACIER"),
        ({"policy": {"Statement": [NO_DELETES]}}, {}, "denies s3:DeleteObject for app.tfstate.tflock"),
        ({"policy": {"Statement": {**NO_DELETES, "Action": ["s3:PutObjectAcl", "S3:deleteobject"]}}}, {}, "denies"),
        ({"policy": {"Statement": [{"Effect": "Deny", "NotAction": "s3:Get*", "Resource": "*"}]}}, {}, "denies"),
        ({}, {"ttl_attribute": "expires"}, "expire by the attribute expires"),
    ],
)
def test_what_would_lose_states_or_locks_is_found_before_anything_is_changed(
    bucket: dict[str, Any], table: dict[str, Any], part: str
) -> None:
    wanted = replace(WANTED, locks_in_bucket=True)
    with pytest.raises(UsageError, match="nothing was changed") as refusal:
        plan_steps(wanted, BucketAsIs(exists=True, **bucket), replace(FINE, **table))
    assert part in refusal.value.why
    assert refusal.value.fix


@pytest.mark.parametrize(
    "bucket",
    [
        {"rules": ({**EXPIRING, "Status": "Disabled"},)},
        {"rules": ({**EXPIRING, "Filter": {"Prefix": "logs/"}},)},
        {"rules": ({**EXPIRING, "Filter": {"Tag": {"Key": "tmp", "Value": "1"}}},)},
        {"rules": ({**EXPIRING, "Expiration": {"ExpiredObjectDeleteMarker": True}},)},
        {"policy": {"Statement": [{**NO_DELETES, "Resource": "arn:aws:s3:::b/app.tfstate"}]}},
        {"policy": {"Statement": [{**NO_DELETES, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}},
        {"policy": {"Statement": [{**NO_DELETES, "Effect": "Allow"}]}},
    ],
)
def test_rules_that_touch_neither_states_nor_locks_are_no_hazard(bucket: dict[str, Any]) -> None:
    assert plan_steps(replace(WANTED, locks_in_bucket=True), BucketAsIs(exists=True, **bucket), FINE)


def test_denied_deletions_are_no_hazard_where_locks_are_in_a_table() -> None:
    assert plan_steps(WANTED, BucketAsIs(exists=True, policy={"Statement": [NO_DELETES]}), FINE)


def test_the_policy_names_one_state_its_workspaces_and_locks_and_never_deletes_a_state() -> None:
    by_sid = {statement["Sid"]: statement for statement in iam_policy(WANTED)["Statement"]}
    assert by_sid["States"]["Resource"] == ["arn:aws:s3:::b/app.tfstate", "arn:aws:s3:::b/env:/*/app.tfstate"]
    assert "s3:DeleteObject" not in by_sid["States"]["Action"]
    assert "arn:aws:s3:::b/app.tfstate.tflock" in by_sid["LocksAndQueue"]["Resource"]
    assert "Table" not in {statement["Sid"] for statement in iam_policy(replace(WANTED, table=None))["Statement"]}


def test_the_same_is_printed_as_terraform_configuration() -> None:
    for kms_key in (None, "arn:aws:kms:eu-central-1:1:key/k"):
        file = parse("x.tf", to_terraform(replace(WANTED, kms_key=kms_key)).encode())
        assert file.problems == ()
        types = [block.labels[0] for block in file.body.nested]
        assert "aws_dynamodb_table" in types
        assert "aws_s3_bucket_lifecycle_configuration" in types
