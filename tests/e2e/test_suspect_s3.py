"""A state in S3 that an apply stored without an object that nothing took out: held, looked at, accepted or restored."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Answer
from tests.s3_desk import KEY, S3Desk

from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P6"), pytest.mark.on("s3")]

DROPPING = """
import hashlib, json, subprocess, sys
import boto3

code = subprocess.run(["terraform", *sys.argv[1:]], check=False).returncode
if "apply" in sys.argv and code == 0:  # a spare apply cannot wait behind this script, and fails
    place = dict(endpoint_url={url!r}, region_name="us-east-1")
    s3, dynamodb = boto3.client("s3", **place), boto3.client("dynamodb", **place)
    document = json.loads(s3.get_object(Bucket={bucket!r}, Key={key!r})["Body"].read())
    document["resources"] = [resource for resource in document["resources"] if resource["name"] != "kept"]
    document["serial"] += 1
    body = json.dumps(document).encode()
    s3.put_object(Bucket={bucket!r}, Key={key!r}, Body=body)
    digest = {{"S": hashlib.md5(body).hexdigest()}}
    dynamodb.put_item(TableName={table!r}, Item={{"LockID": {{"S": "{bucket}/{key}-md5"}}, "Digest": digest}})
sys.exit(code)
"""
"""Terraform, and after an apply somebody whose write drops the resource named `kept`."""


@pytest.fixture
def desk(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


def apply_dropping(desk: S3Desk, module: Path, round_: int) -> Answer:
    script = desk.folder / "dropping.py"
    script.write_text(DROPPING.format(url=desk.url, bucket=desk.bucket, key=KEY, table=desk.table))
    program = desk.folder / "terraform-dropping"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    program.chmod(0o755)
    return desk.applied_here(module, "--terraform", program, round_=round_)


def names(desk: S3Desk) -> set[str]:
    return {resource["name"] for resource in desk.saved()["resources"]}


def test_it_is_held_for_review_until_a_person_accepts_it(desk: S3Desk) -> None:
    module = desk.root()
    assert desk.applied_here(module).code == 0
    held = apply_dropping(desk, module, 2)
    assert held.code == 23, held.err
    assert "terraform_data.kept" in held.err
    assert "state restore" in held.err
    assert (desk.run_folder() / "before.tfstate").exists()
    verified = desk.run("state", "verify", module)
    assert verified.code == 0, verified.out
    assert "[suspect]" in verified.out
    waiting = desk.applied_here(module, "--wait", "0.5s", round_=3)
    assert waiting.code == 10, waiting.err
    assert names(desk) == {"work"}
    accepted = desk.run("state", "accept", module, "--yes")
    assert accepted.code == 0, accepted.err
    verified = desk.run("state", "verify", module)
    assert verified.code == 0, verified.out
    assert "suspect" not in verified.out
    assert desk.applied_here(module, round_=3).code == 0


@pytest.mark.slow
def test_the_version_before_is_restored_and_the_queue_goes_on(desk: S3Desk) -> None:
    module = desk.root()
    assert desk.applied_here(module).code == 0
    assert apply_dropping(desk, module, 2).code == 23
    restored = desk.run("state", "restore", module, "--version", "1", "--yes")
    assert restored.code == 0, restored.err
    assert names(desk) == {"kept", "work"}
    assert desk.applied_here(module, round_=2).code == 0
