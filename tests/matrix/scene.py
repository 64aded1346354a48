"""Plays a cell of the matrix with real commands, and judges what came of it.

What a cell starts from is made once by plain Terraform and then put into the store, so that only the operation itself
goes through Interlock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.desk import Answer, Desk
from tests.matrix import shelf
from tests.matrix.cells import APPLY, DELETE, DESTROY, GONE, REFRESH_ONLY, SAVED, Cell, Operation

from interlock.existing.interface import md5_of
from interlock.testing.aws import LocalAws
from interlock.testing.one_piece import OnePieceHandler

LIMIT_S = 120.0  # for one command of plain Terraform, on a busy machine
_FAILED = 34  # exit status of a run whose Terraform failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an operation starts from.

    Attributes:
        state: The stored state.
        files: Name to content of what is on the shelf.
        locks: Terraform's lock file for providers.
    """

    state: bytes
    files: dict[str, str]
    locks: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a cell; `faults` is empty when everything is as it must be."""

    exit: int
    faults: tuple[str, ...]
    said: str


class Plain:
    """Plain Terraform with the provider, in a folder of its own.

    Args:
        folder: Where everything is; new.
        binary: The Terraform or OpenTofu.
    """

    def __init__(self, folder: Path, binary: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.binary = folder, binary
        self.configuration = shelf.install(folder / "plugin")
        self._starts: dict[str, Start] = {}

    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": str(self.configuration),
        }

    def run(self, module: Path, *words: str, environ: dict[str, str] | None = None) -> Answer:
        done = subprocess.run(
            [self.binary, *words, *(() if words[0] == "version" else ("-no-color",))],
            cwd=module,
            env={**self.environ(), **(environ or {})},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def must(self, module: Path, *words: str, environ: dict[str, str] | None = None) -> Answer:
        answer = self.run(module, *words, environ=environ)
        assert answer.code == 0, (words, answer.out, answer.err)
        return answer

    def start(self, operation: Operation) -> Start:
        """Return what an operation starts from; it is made once."""
        if operation.name not in self._starts:
            self._starts[operation.name] = self._made(operation)
        return self._starts[operation.name]

    def _made(self, operation: Operation) -> Start:
        place = self.folder / f"start-{operation.name.replace(' ', '-').replace(',', '')}"
        shutil.rmtree(place, ignore_errors=True)
        things, module = place / "shelf", place / "module"
        things.mkdir(parents=True)
        write_module(module, operation.before, things, operation)
        self.must(module, "init", "-input=false")
        self.must(module, "apply", "-auto-approve", "-input=false")
        if operation.deposed:
            (things / f"fail-delete-{operation.deposed}").touch()
            write_module(module, operation.before.replace('kind = "1"', 'kind = "2"'), things, operation)
            assert self.run(module, "apply", "-auto-approve", "-input=false").code == 1
            (things / f"fail-delete-{operation.deposed}").unlink()
        state = (module / "terraform.tfstate").read_bytes()
        for identifier in operation.lying:
            (things / f"{identifier}.item").write_text("1")
        return Start(
            state=_older(state) if operation.older else state,
            files={path.name: path.read_text() for path in things.iterdir()},
            locks=(module / ".terraform.lock.hcl").read_bytes(),
        )


def write_module(module: Path, text: str, things: Path, operation: Operation, head: str = "") -> None:
    """Write a root module and its modules."""
    module.mkdir(parents=True, exist_ok=True)
    provider = f'provider "shelf" {{\n  folder = "{things}"\n}}\n'
    (module / "main.tf").write_text(head + shelf.USE + provider + text)
    for name, content in operation.modules.items():
        (module / name).mkdir(exist_ok=True)
        (module / name / "main.tf").write_text(content)


def objects_of(state: dict[str, Any]) -> dict[str, str]:
    """Return the managed objects of a state: id to name; deposed ones too."""
    rows = [resource for resource in state.get("resources") or () if resource["mode"] == "managed"]
    found = [instance["attributes"] for row in rows for instance in row["instances"]]
    return {each["id"]: each["name"] for each in found}


def set_fault(cell: Cell, things: Path, state: dict[str, Any]) -> None:
    """Let the fault of a cell be."""
    if cell.fault == GONE:
        for name in cell.hit:
            found = [_deposed_in(state)] if name == "deposed" else [p.stem for p in things.glob(f"{name}-*.item")]
            for identifier in found:
                (things / f"{identifier}.item").unlink()
    else:
        for name in cell.hit:
            (things / f"fail-{cell.fault}-{name}").touch()


class Scene:
    """One home and one store, for one cell after another.

    Args:
        folder: Where everything is; new.
        plain: The Terraform, which made the starts too.
        aws: Where states are in S3; None for Interlock's own store.
    """

    def __init__(self, folder: Path, plain: Plain, aws: LocalAws | None = None) -> None:
        self.plain, self.folder = plain, folder
        folder.mkdir(parents=True, exist_ok=True)
        environ = {
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
            "TF_CLI_CONFIG_FILE": str(plain.configuration),
            "INTERLOCK_LEASE": "30s",
            "INTERLOCK_HEARTBEAT": "5s",
        }
        self.s3: Any = None
        if aws is None:
            self.desk = Desk(folder, environ)
        else:
            from tests.s3_desk import S3Desk

            self.s3 = self.desk = S3Desk(folder, aws, lease=("30s", "5s"))
            self.desk.environ |= environ
        self.module, self.things = folder / "module", folder / "shelf"

    def play(self, cell: Cell, start: Start) -> Outcome:
        """Do a cell from its start to its end, and judge it."""
        for old in (self.module, self.things):
            shutil.rmtree(old, ignore_errors=True)
        self.things.mkdir()
        for name, content in start.files.items():
            (self.things / name).write_text(content)
        head = self._store(start.state)
        write_module(self.module, cell.operation.after, self.things, cell.operation, head)
        (self.module / ".terraform.lock.hcl").write_bytes(start.locks)
        answer = self._operate(cell, json.loads(start.state))
        return Outcome(exit=answer.code, faults=tuple(self._faults(cell, answer)), said=answer.err)

    # -- doing --------------------------------------------------------------------------------------------------------

    def _operate(self, cell: Cell, state: dict[str, Any]) -> Answer:
        operation = cell.operation
        common = (self.module, *(() if self.s3 else ("--state", "s")), "--terraform", self.plain.binary)
        flags = ("--", *operation.words) if operation.words else ()
        plan = self.folder / "saved.tfplan"
        plan.unlink(missing_ok=True)
        if operation.way == SAVED:
            planned = self.desk.run("plan", *common, "--out", plan, *flags)
            assert planned.code == 0, planned.err
        set_fault(cell, self.things, state)
        match operation.way:
            case way if way in (APPLY, DESTROY):
                return self.desk.run(way, *common, "--auto-approve", *flags)
            case way if way == REFRESH_ONLY:
                self._plan_refresh(plan)
        # The plan of plain Terraform has the backend file of its own, which is not there any more.
        other = ("--allow-other-files",) if operation.way == REFRESH_ONLY else ()
        return self.desk.run("apply", *common, "--plan", plan, "--auto-approve", *other)

    def _plan_refresh(self, plan: Path) -> None:
        """Make a saved plan with plain Terraform: Interlock's own look at drift applies nothing."""
        words = ("plan", "-refresh-only", "-input=false", f"-out={plan}")
        data = {"TF_DATA_DIR": str(self.folder / "plain-data")}
        if self.s3:
            environ = {**self.desk.environ, **data}
            self.plain.must(self.module, "init", "-input=false", environ=environ)
            self.plain.must(self.module, *words, "-lock=false", environ=environ)
            return
        extra = self.module / "http.tf"
        extra.write_text('terraform {\n  backend "http" {}\n}\n')
        with served(self._stored_bytes()) as url:
            environ = {**data, "TF_HTTP_ADDRESS": url}
            self.plain.must(self.module, "init", "-input=false", environ=environ)
            self.plain.must(self.module, *words, environ=environ)
        extra.unlink()

    def _store(self, state: bytes) -> str:
        """Put a state where the operation finds it; return the head of the configuration."""
        if self.s3:
            from tests.s3_desk import KEY

            self.s3.aws.s3.put_object(Bucket=self.s3.bucket, Key=KEY, Body=state)
            digest = {"LockID": {"S": f"{self.s3.bucket}/{KEY}-md5"}, "Digest": {"S": md5_of(state)}}
            self.s3.aws.dynamodb.put_item(TableName=self.s3.table, Item=digest)
            lines = "\n".join(f"    {name} = {value}" for name, value in self.s3.settings().items())
            return f'terraform {{\n  backend "s3" {{\n{lines}\n  }}\n}}\n'
        file = self.folder / "start.tfstate"
        file.write_bytes(state)
        pushed = self.desk.run("state", "push", file, "--state", "s", "--force")
        assert pushed.code == 0, pushed.err
        return ""

    # -- judging ------------------------------------------------------------------------------------------------------

    def _stored_bytes(self) -> bytes:
        if self.s3:
            return json.dumps(self.s3.saved()).encode()
        body: bytes = self.desk.ask(lambda embedded: embedded.archive.current("s"))[1]
        return body

    def _faults(self, cell: Cell, answer: Answer) -> Iterator[str]:
        wanted = expected_exit(cell)
        if answer.code != wanted:
            yield f"exit {answer.code}, not {wanted}"
        yield from compare(cell, json.loads(self._stored_bytes()), self.things)
        if self.s3:
            if held := self.s3.terraform_locks():
                yield f"locks left: {held}"
            return
        if self.desk.quarantined():
            yield f"a write was refused: {self.desk.quarantined()[0].why}"
        if self.desk.lock().pause is not None:
            yield f"paused: {self.desk.lock().pause.reason}"
        if self.desk.lock().holders:
            yield "the lock is held"


def expected_exit(cell: Cell) -> int:
    """Return the honest exit status: a failed operation is Terraform's failure, and nothing else is one."""
    if cell.fault == GONE:
        return _FAILED if cell.operation.way == SAVED else 0  # what the plan would update is gone since
    return 0 if cell.fault == "none" else _FAILED


def compare(cell: Cell, state: dict[str, Any], things: Path) -> Iterator[str]:
    """Compare the stored state with the shelf."""
    known, there = objects_of(state), {path.stem for path in things.glob("*.item")}
    unknown = {one for one in there - known.keys() if one.rpartition("-")[0] not in cell.operation.forgotten}
    if unknown:
        yield f"exists and is not in the state: {sorted(unknown)}"
    # Terraform looks at nothing outside its targets, and keeps an object of which the provider answered nothing.
    spared = {"b"} if cell.operation.name == "-target" else {"a"} if cell.operation.way == SAVED else set()
    dead = {one for one, name in known.items() if one not in there and not (cell.fault == GONE and name in spared)}
    if dead:
        yield f"in the state and gone: {sorted(dead)}"
    if cell.operation.way == DESTROY and cell.fault != DELETE and known:
        yield f"a destroy left {sorted(known)}"


def _deposed_in(state: dict[str, Any]) -> str:
    found = [i for row in state["resources"] for i in row["instances"] if i.get("deposed")]
    return str(found[0]["attributes"]["id"])


def _older(state: bytes) -> bytes:
    document = json.loads(state)
    for row in document["resources"]:
        for instance in row["instances"]:
            instance["schema_version"] = 0
    return json.dumps(document).encode()


@contextmanager
def served(state: bytes) -> Iterator[str]:
    """Serve one state over HTTP, for a plan."""

    class Handler(OnePieceHandler):
        def do_GET(self) -> None:  # noqa: N802 - the base class's name
            self.send_response(200)
            self.send_header("Content-Length", str(len(state)))
            self.end_headers()
            self.wfile.write(state)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
