"""S3 and DynamoDB on a loopback port, from moto, for tests. A hand: it serves.

Needs `moto[server]`; nothing here reaches AWS.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from interlock.store.aws import AwsAccess, connect

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


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


class OneAtATime:
    """A WSGI application that is in one request at a time, as a database is.

    moto answers each request in a thread and keeps everything in plain dictionaries, some of which it changes while
    another thread goes through them: one test in thousands met "dictionary changed size during iteration". A request
    is read before its turn and answered after it, so a client that is slow, or stops half-way, holds up nobody.

    Args:
        application: What answers.
    """

    def __init__(self, application: Wsgi) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Read the whole request, wait for the turn, and return the whole answer."""
        from werkzeug.wsgi import get_input_stream

        body = get_input_stream(environ).read()
        read = {**environ, "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        with self._turn:
            answer = self._application(read, start_response)
            try:
                return list(answer)
            finally:
                getattr(answer, "close", lambda: None)()


@contextmanager
def served(application: Wsgi) -> Iterator[str]:
    """Serve a WSGI application on a loopback port, in threads of this process; yields its URL."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    class InOnePiece(MotoRequestHandler):
        """See `OnePieceHandler`."""

        wbufsize = -1

        def handle_expect_100(self) -> bool:
            """Tell the client at once to go on; werkzeug would tell it once more, and leave that in the buffer."""
            goes_on = super().handle_expect_100()
            del self.headers["Expect"]
            self.wfile.flush()
            return goes_on

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=InOnePiece)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _moto() -> Wsgi:
    """Return moto's application, which remembers where a host's requests go.

    By itself it lists and stats 180 folders of its own for each request, a fifth of all the time of one.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    application = DomainDispatcherApplication(create_backend_app)
    vars(application)["get_backend_for_host"] = cache(application.get_backend_for_host)
    found: Wsgi = application
    return found


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """Run the services in threads of this process, with credentials in this process's environment."""
    before = {name: os.environ.get(name) for name in _CREDENTIALS}
    os.environ.update(_CREDENTIALS)
    try:
        with served(OneAtATime(_moto())) as url:
            access = AwsAccess(region="us-east-1", endpoints={"dynamodb": url, "s3": url}, path_style=True)
            yield LocalAws(
                url=url,
                access=access,
                environment=dict(_CREDENTIALS),
                dynamodb=connect("dynamodb", access),
                s3=connect("s3", access),
            )
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
