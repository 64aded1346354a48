"""`interlock bootstrap aws` and `interlock doctor` against S3 and DynamoDB over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.s3_desk import BOTH, LOCKFILE_ONLY, S3Desk

from interlock.testing.answers import Call, Told, answer_server
from interlock.testing.aws import LocalAws

pytestmark = pytest.mark.e2e


@pytest.fixture
def desk(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


def rows(desk: S3Desk, module: Path) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in desk.run("doctor", module, "--json").document["checks"]:
        found.setdefault(row["name"], []).append(row)
    return found


def test_bucket_and_table_are_made_once_and_a_run_and_the_doctor_are_content(desk: S3Desk) -> None:
    desk.bucket, desk.table = f"{desk.bucket}-new", f"{desk.table}-new"
    module = desk.root(BOTH)
    missing = rows(desk, module)
    assert [row["result"] for row in missing["bucket"]] == ["problem"]
    assert "interlock bootstrap aws" in missing["bucket"][0]["fix"]

    shown = desk.run("bootstrap", "aws", module, "--dry-run")
    assert shown.code == 0, shown.err
    assert f"bucket {desk.bucket}: create it" in shown.err
    assert desk.bucket not in [row["Name"] for row in desk.aws.s3.list_buckets()["Buckets"]]

    made = desk.run("bootstrap", "aws", module, "--yes")
    assert made.code == 0, made.err
    assert json.loads(made.out)["Statement"]
    assert "requests without TLS stay allowed" in made.err
    again = desk.run("bootstrap", "aws", module, "--json")
    assert again.code == 0, again.err
    assert (again.document["steps"], again.document["changed"]) == ([], False)

    assert desk.applied_here(module).code == 0
    content = rows(desk, module)
    results = {name: {row["result"] for row in found} for name, found in content.items()}
    for name in ("bucket", "table", "locking", "permissions", "clock", "lock"):
        assert results[name] == {"ok"}, content[name]
    texts = [row["text"] for row in content["backend"]]
    assert any(text.startswith(f"bucket = {desk.bucket} (main.tf:") for text in texts)
    assert "secret_key = (set) (AWS_SECRET_ACCESS_KEY)" in texts
    assert "interlock-doctor:probe" not in desk.items()
    assert not any("probe" in name for name in desk.objects())


def test_a_table_with_another_key_is_refused_before_anything_is_changed(desk: S3Desk) -> None:
    desk.aws.dynamodb.create_table(
        TableName=f"{desk.table}-odd",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    desk.table = f"{desk.table}-odd"
    refused = desk.run("bootstrap", "aws", desk.root(BOTH), "--yes")
    assert refused.code == 3, refused.err
    assert "Terraform writes items with the one text key LockID" in refused.err
    assert "put_bucket_encryption" not in refused.err


def test_without_a_backend_block_bucket_and_region_are_named_or_asked_for(desk: S3Desk) -> None:
    empty = desk.folder / "empty"
    empty.mkdir()
    asked = desk.run("bootstrap", "aws", empty)
    assert asked.code == 3
    assert "nothing names the bucket" in asked.err
    named = ("--bucket", "b", "--region", "eu-west-1", "--table", "t", "--terraform")
    printed = desk.run("bootstrap", "aws", empty, *named)
    assert printed.code == 0, printed.err
    assert 'attribute_name = "ExpirationTime"' in printed.out


def test_a_backend_without_a_lock_is_a_problem(desk: S3Desk) -> None:
    module = desk.root(leave_out=("dynamodb_table",))
    assert rows(desk, module)["locking"][0]["result"] == "problem"


@pytest.mark.promise("P1")
def test_a_service_that_ignores_conditions_of_writes_is_a_problem(tmp_path: Path, aws: LocalAws) -> None:
    """As older MinIO and others do: it says yes to two that take one lock, so nothing can be locked there."""
    host = urlsplit(aws.url)

    def pass_on(call: Call) -> Told:
        kept = {name: value for name, value in call.headers.items() if name not in {"if-match", "if-none-match"}}
        upstream = http.client.HTTPConnection(host.hostname or "", host.port or 80, timeout=30)
        try:
            upstream.request(call.method, call.path, body=call.body or None, headers=kept)
            answer = upstream.getresponse()
            body = answer.read()
            told = {name: value for name, value in answer.getheaders() if name.lower() in {"etag", "content-type"}}
            return Told(status=answer.status, body=body, headers=told)
        finally:
            upstream.close()

    with answer_server(datetime.now(UTC)) as careless:
        careless.answer = pass_on
        desk = S3Desk(tmp_path, aws, url=careless.url)
        try:
            module = desk.root(LOCKFILE_ONLY)
            found = [row for row in rows(desk, module)["permissions"] if row["result"] == "problem"]
        finally:
            desk.close()
    assert any("ignores conditions of writes" in row["text"] for row in found), found
    assert any("honours conditions" in row["fix"] for row in found)
