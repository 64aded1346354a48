"""A desk whose states are in S3 and DynamoDB (moto over HTTP), and a proxy before them that makes calls fail."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.desk import SLEEPER, STEP_S, Answer, Desk, Started

from interlock.testing.aws import LocalAws
from interlock.testing.one_piece import OnePieceHandler

KEY = "app/terraform.tfstate"
TABLE_ONLY, LOCKFILE_ONLY, BOTH = "dynamodb", "lockfile", "both"


class S3Desk(Desk):
    """One home, one bucket with versions, one table.

    Args:
        folder: Where everything is; new.
        aws: The services.
        url: How commands reach them; a proxy's address, or the services' own.
        lease: Lease and heartbeat.
    """

    def __init__(self, folder: Path, aws: LocalAws, *, url: str = "", lease: tuple[str, str] = ("4s", "1s")) -> None:
        environ = {**aws.environment, "INTERLOCK_LEASE": lease[0], "INTERLOCK_HEARTBEAT": lease[1]}
        super().__init__(folder, environ)
        self.aws = aws
        self.url = url or aws.url
        self.bucket = aws.new_bucket()
        self.table = aws.new_table()
        aws.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def settings(self, locking: str = TABLE_ONLY) -> dict[str, str]:
        """Return the settings of the backend, as HCL expressions."""
        settings = {
            "bucket": f'"{self.bucket}"',
            "key": f'"{KEY}"',
            "region": '"us-east-1"',
            "skip_credentials_validation": "true",
            "skip_requesting_account_id": "true",
            "use_path_style": "true",
            "max_retries": "2",
            "endpoints": f'{{ s3 = "{self.url}", dynamodb = "{self.url}" }}',
        }
        if locking != LOCKFILE_ONLY:
            settings["dynamodb_table"] = f'"{self.table}"'
        if locking != TABLE_ONLY:
            settings["use_lockfile"] = "true"
        return settings

    def root(
        self, locking: str = TABLE_ONLY, *, name: str = "module", text: str = SLEEPER, leave_out: tuple[str, ...] = ()
    ) -> Path:
        """Write a root module with `backend "s3"`."""
        lines = [f"    {name} = {value}" for name, value in self.settings(locking).items() if name not in leave_out]
        block = "\n".join(["terraform {", '  backend "s3" {', *lines, "  }", "}", ""])
        return self.module(name, block + text)

    def apply_here(
        self,
        module: Path,
        *words: object,
        hold: float = 0,
        round_: int = 1,
        environ: Mapping[str, str] | None = None,
        extra: tuple[str, ...] = (),
    ) -> Started:
        """Start an approved apply of a `SLEEPER` module."""
        flags = ("--", f"-var=hold={hold}", f"-var=round={round_}", *extra)
        return self.start("apply", module, "--auto-approve", *words, *flags, environ=environ)

    def applied_here(
        self, module: Path, *words: object, round_: int = 1, environ: Mapping[str, str] | None = None
    ) -> Answer:
        """Run an approved apply of a `SLEEPER` module to its end."""
        flags = ("--", f"-var=round={round_}")
        return self.run("apply", module, "--auto-approve", *words, *flags, environ=environ)

    # -- plain Terraform ----------------------------------------------------------------------------------------------

    def start_plain(self, module: Path, *words: object, environ: Mapping[str, str] | None = None) -> Started:
        """Start plain Terraform with a data folder of its own; initialise it first."""
        own = {**self.environ, "TF_DATA_DIR": str(self.folder / f"plain-{module.name}"), **(environ or {})}
        if not Path(own["TF_DATA_DIR"]).is_dir():
            ready = ["terraform", f"-chdir={module}", "init", "-input=false", "-no-color"]
            subprocess.run(ready, env=own, check=True, capture_output=True, timeout=STEP_S)
        process = subprocess.Popen(
            ["terraform", f"-chdir={module}", *map(str, words)],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started = Started(process)
        self._started.append(started)
        return started

    def plain(self, module: Path, *words: object, environ: Mapping[str, str] | None = None) -> Answer:
        """Run plain Terraform to its end."""
        return self.start_plain(module, *words, "-no-color", environ=environ).wait()

    # -- what is there ------------------------------------------------------------------------------------------------

    def items(self) -> dict[str, dict[str, Any]]:
        """Return the table's items by LockID."""
        found = self.aws.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {item["LockID"]["S"]: item for item in found}

    def objects(self) -> dict[str, bytes]:
        """Return the bucket's objects by name."""
        names = [row["Key"] for row in self.aws.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        return {name: self.aws.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read() for name in names}

    def terraform_locks(self) -> list[str]:
        """Return where Terraform's own lock is held."""
        items = [name for name, item in self.items().items() if "Info" in item]
        return items + [name for name in self.objects() if name.endswith(".tflock")]

    def saved(self, key: str = KEY) -> dict[str, Any]:
        """Return the stored state."""
        document: dict[str, Any] = json.loads(self.objects()[key])
        return document

    def queue(self) -> list[str]:
        """Return the tickets that wait, in order of service."""
        values = [
            json.loads(item["Value"]["B"]) for name, item in self.items().items() if name.startswith("interlock:")
        ]
        return [waiter["ticket"] for value in values for waiter in value["lock"]["waiters"]]

    def versions(self, key: str = KEY) -> list[dict[str, Any]]:
        """Return every state that was ever stored, newest first."""
        rows = self.aws.s3.list_object_versions(Bucket=self.bucket, Prefix=key)["Versions"]
        named = {"Bucket": self.bucket, "Key": key}
        return [
            json.loads(self.aws.s3.get_object(VersionId=row["VersionId"], **named)["Body"].read())
            for row in rows
            if row["Key"] == key
        ]

    def hold_as_terraform(self, who: str = "alice@elsewhere", key: str = KEY) -> str:
        """Store a lock item as a plain Terraform would; return its id."""
        info = {
            "ID": "11111111-2222-3333-4444-555555555555",
            "Operation": "OperationTypeApply",
            "Info": "",
            "Who": who,
            "Version": "1.11.4",
            "Created": "2026-11-24T08:00:00.123456789Z",
            "Path": f"{self.bucket}/{key}",
        }
        item = {"LockID": {"S": f"{self.bucket}/{key}"}, "Info": {"S": json.dumps(info)}}
        self.aws.dynamodb.put_item(TableName=self.table, Item=item)
        return info["ID"]

    def free_as_terraform(self, key: str = KEY) -> None:
        """Delete the lock item as a plain Terraform would."""
        self.aws.dynamodb.delete_item(TableName=self.table, Key={"LockID": {"S": f"{self.bucket}/{key}"}})


@dataclass(slots=True)
class Rule:
    """What happens to calls.

    Attributes:
        call: Which, as `name_of_call` spells them; a part of it is enough.
        fate: `throttle`, `fail` (500), `drop` (it never arrives), `lose` (its answer is lost), `late` (answered late).
        times: How many calls; None for all of them.
        client: Only those of a client whose User-Agent has this in it: `APN/` (Terraform, OpenTofu), `Boto3`; empty for
            everybody.
    """

    call: str
    fate: str
    times: int | None = 1
    client: str = ""
    hit: int = 0


LATE_S = 1.0


@dataclass(slots=True)
class Proxy:
    """Stands before the services."""

    target: str
    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def fate_of(self, call: str, agent: str) -> str:
        """Count a call and return what shall happen to it; empty for nothing."""
        with self.guard:
            self.seen[call] += 1
            for rule in self.rules:
                open_ = rule.times is None or rule.hit < rule.times
                if open_ and rule.call in call and rule.client in agent:
                    rule.hit += 1
                    return rule.fate
        return ""


def name_of_call(method: str, path: str, target: str, body: bytes) -> str:
    """Spell a call: `PutItem lock`, `GetItem queue`, `PUT state`, `DELETE tflock`, `GET list`, …"""
    if target:
        words = body.decode(errors="replace")
        kinds = (("interlock-keys:", "names"), ("interlock:", "queue"), ("-md5", "digest"))
        kind = next((kind for mark, kind in kinds if mark in words), "lock")
        return f"{target.rpartition('.')[2]} {kind}"
    name = urlsplit(path).path
    kinds = ((".tflock", "tflock"), (".interlock/", "queue"), (".tfstate", "state"))
    return f"{method} {next((kind for mark, kind in kinds if mark in name), 'list')}"


@contextmanager
def proxied(aws: LocalAws) -> Iterator[Proxy]:
    """Run a proxy before the services in threads of this process."""
    proxy = Proxy(target=urlsplit(aws.url).netloc)

    class Handler(OnePieceHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self._body()
            call = name_of_call(self.command, self.path, self.headers.get("X-Amz-Target", ""), body)
            fate = proxy.fate_of(call, self.headers.get("User-Agent", ""))
            if fate in ("throttle", "fail"):
                self._refuse(fate)
                return
            if fate == "drop":
                self._hang_up()
                return
            reply = self._forward(body)
            if fate == "lose":
                self._hang_up()
                return
            if fate == "late":
                time.sleep(LATE_S)
            self._answer(*reply)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") == "chunked":
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(proxy.target, timeout=STEP_S)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body=body, headers=headers)
            reply = connection.getresponse()
            content = reply.read()
            connection.close()
            return reply.status, reply.getheaders(), content

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _refuse(self, fate: str) -> None:
            if "X-Amz-Target" in self.headers:
                kind = "ThrottlingException" if fate == "throttle" else "InternalServerError"
                status = 400 if fate == "throttle" else 500
                content = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "no"}).encode()
                self._answer(status, [("Content-Type", "application/x-amz-json-1.0")], content)
                return
            code, status = ("SlowDown", 503) if fate == "throttle" else ("InternalError", 500)
            content = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self._answer(status, [("Content-Type", "application/xml")], content)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.pass_on)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is part of the exercise."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def pid_is_gone(pid: int) -> bool:
    """Say whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
