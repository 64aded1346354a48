"""S3 and DynamoDB on a loopback port, from moto, for tests. A hand: it serves.

Needs `moto[server]`; nothing here reaches AWS.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from interlock.store.aws import AwsAccess, connect

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAws:
    """A running server, and clients of it made as Interlock makes them.

    Attributes:
        url: Its address, for `endpoints` of the S3 backend and for `AWS_ENDPOINT_URL_*`.
        access: How Interlock reaches it.
        environment: Variables with which a child process may sign requests to it.
        dynamodb: The SDK's client.
        s3: The SDK's client.
    """

    url: str
    access: AwsAccess
    environment: dict[str, str]
    dynamodb: Any = field(repr=False)
    s3: Any = field(repr=False)

    def new_table(self) -> str:
        """Make a lock table as Terraform needs it, and return its name."""
        name = f"locks-{next(_numbers)}"
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def new_bucket(self) -> str:
        """Make a bucket, and return its name."""
        name = f"states-{next(_numbers)}"
        self.s3.create_bucket(Bucket=name)
        return name


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """Run the server in threads of this process, with credentials in this process's environment."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    access = AwsAccess(region="us-east-1", endpoints={"dynamodb": url, "s3": url}, path_style=True)
    before = {name: os.environ.get(name) for name in _CREDENTIALS}
    os.environ.update(_CREDENTIALS)
    try:
        yield LocalAws(
            url=url,
            access=access,
            environment=dict(_CREDENTIALS),
            dynamodb=connect("dynamodb", access),
            s3=connect("s3", access),
        )
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
