"""A home in which every word that somebody else could choose is poisoned; see `poison.py`."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from tests.security.poison import AT_START, POISON, TERRAFORMS

from interlock.audit.log import AuditLog
from interlock.clock import SystemClock
from interlock.coordinator.archive import Writer
from interlock.drift.finding import Attribute, Cause, Finding, Kind, Scan
from interlock.drift.ledger import LedgerBook
from interlock.errors import StateInvalid
from interlock.home.embedded import open_home
from interlock.lock import Requested
from interlock.run.summary import Summary, store_summary
from interlock.run.transcript import Entry, append
from interlock.settings.reading import load
from interlock.state import parse_document

STATE, WAITING, SITE = "poisoned", "waiting", "local"
RUN = "01KB0000000000000000000000"
QUARANTINED = "quarantined-id"
HOLDS = POISON[:100].replace("/", "_").replace("\\", "_")
"""The run of a lock may have any name but a path."""


def state_body(serial: int, **attributes: Any) -> bytes:
    """Return a state in which a key, an id, an attribute, an output and the lineage are poisoned."""
    key = {"index_key": POISON, "schema_version": 0, "attributes": {"id": POISON, POISON[:40]: POISON, **attributes}}
    row = {"mode": "managed", "type": "t", "name": "n", "provider": 'provider["p"]', "instances": [key]}
    outputs = {"shown": {"value": f"{POISON}{serial}", "type": "string"}}
    head = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": AT_START}
    return json.dumps({**head, "outputs": outputs, "resources": [row], "check_results": None}).encode()


@pytest.fixture(scope="session")
def poisoned_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a poisoned lock, waiter, pause, states, quarantine, audit log, scan, run and journal."""
    home = tmp_path_factory.mktemp("poisoned") / "home"
    home.mkdir(mode=0o700)
    asyncio.run(_fill(home))
    _write_run(home / "runs" / RUN)
    return home


async def _fill(home: Path) -> None:
    async with open_home(load(home, {"INTERLOCK_HOME": str(home)})) as embedded:
        coordinator, archive = embedded.coordinator, embedded.archive
        request = Requested(ticket=AT_START, run=HOLDS, who=POISON, info=POISON, lease_s=60, patience_s=40)
        held = await coordinator.request(STATE, request)
        writer = Writer(who=POISON, run=HOLDS, ticket=request.ticket, token=held.token)
        for serial in (1, 2):
            await archive.write(STATE, state_body(serial, size=serial), writer=writer)
        refused = StateInvalid(POISON, why=POISON, addresses=[POISON])
        await archive.quarantine(STATE, state_body(3), writer=writer, error=refused)
        await coordinator.release(STATE, ticket=request.ticket, token=held.token or 0)
        for ticket in ("holds", "waits"):
            short = Requested(ticket=ticket, run=HOLDS, who=POISON, info=POISON, lease_s=1, patience_s=40)
            await coordinator.request(WAITING, short)
        await coordinator.pause(WAITING, by=POISON, reason=POISON)
        log = AuditLog(embedded.store.records, SystemClock())
        await log.append(POISON, subject=POISON, by=POISON, facts={POISON[:50]: POISON, "list": [POISON, POISON]})
        book = LedgerBook(embedded.store.records, embedded.store.blobs)
        await book.keep(_scan(), lambda ledger: ledger)


def _scan() -> Scan:
    now = datetime.now(UTC)
    attribute = Attribute(path=POISON, before=POISON, after=[POISON], digest="d1g3st")
    changed = Finding(
        kind=Kind.CHANGED,
        address=f't.n["{POISON}"]',
        type="t",
        object=POISON,
        name=POISON,
        attributes=(attribute,),
        cause=Cause(who=POISON, at=now),
    )
    unmanaged = Finding(
        kind=Kind.UNMANAGED, address="", type="genesyscloud_user", object=AT_START, name=POISON, division=POISON,
        attributes=(Attribute(path=""),),
    )  # fmt: skip
    return Scan(state=STATE, run=POISON, at=now, salt="salt", findings=(changed, unmanaged), notes=(POISON,))


def _write_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    at = datetime.now(UTC) - timedelta(hours=1)
    summary = Summary(
        run=folder.name,
        state=POISON,
        operation=POISON,
        who=POISON,
        directory=POISON,
        phase="ended",
        started_at=at,
        ended_at=at,
        exit=34,
        code=POISON[:30],
        message=POISON,
        job=POISON,
        in_flight=[POISON],
    )
    store_summary(folder, summary)
    for kind, facts in journal_entries():
        append(folder, Entry(at=at, kind=kind, facts=facts))
    (folder / "plan.txt").write_text(TERRAFORMS)


def journal_entries() -> list[tuple[str, dict[str, Any]]]:
    """Return an entry of every kind that is shown while a run goes, with poison wherever words of others stand."""
    row = {"address": f't.n["{POISON}"]', "action": POISON}
    counts = {"add": 1, "change": 0, "remove": 0}
    step = {"address": POISON, "action": "create", "done": 1, "total": 2}
    return [
        ("binary", {"run": POISON, "state": POISON, "binary": POISON}),
        ("standing", {"position": 2, "frozen": POISON, "holder": {"who": POISON}, "since": None, "expected_s": 5.0}),
        ("granted", {"token": 1}),
        ("init", {"binary": POISON}),
        ("plan", {"counts": counts, "resources": [row], "left_out": 0, "outputs": [POISON], "empty": False,
                  "forecast": {"text": POISON}, "drift": [POISON]}),
        ("refresh", {"count": 3}),
        ("resource", {**step, "stage": "start"}),
        ("resource", {**step, "stage": "errored"}),
        ("resource", {**step, "stage": "complete", "elapsed_s": 1.0}),
        ("diagnostic", {"severity": "error", "summary": POISON, "detail": POISON, "address": POISON, "file": POISON,
                        "line": 3}),
        ("interrupt", {"cause": POISON, "action": POISON, "phase": POISON}),
        ("recovery", {"text": POISON}),
        ("note", {"text": POISON}),
        ("state", {"written": True, "serial": 4}),
        ("retry", {"what": POISON}),
        ("phase", {"phase": "applying"}),
        (POISON, {POISON: POISON}),
        ("approval", {}),
        ("end", {"exit": 34, "code": POISON[:30], "what": POISON, "why": POISON, "next": POISON}),
    ]  # fmt: skip


@pytest.fixture
def poisoned(poisoned_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil_api: str) -> Path:
    """Work in a fresh folder on a copy of the poisoned home, with an API that answers with poison."""
    shutil.copytree(poisoned_home, tmp_path / "home")
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "CI", "INTERLOCK_SERVER", "INTERLOCK_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INTERLOCK_NOTIFY_URL", f"{evil_api}/hook")
    monkeypatch.setenv("TERM", "xterm")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    _write_site(work / SITE)
    _write_files(work)
    return work


def _write_site(folder: Path) -> None:
    """Make a root module whose state stays in a local file, under a poisoned lock of plain Terraform."""
    folder.mkdir()
    (folder / "main.tf").write_text('terraform {\n  backend "local" {}\n}\n')
    (folder / "terraform.tfstate").write_bytes(state_body(7))
    info = {"ID": "lock-id", "Created": POISON, "Version": POISON, "Path": POISON}
    lock = {**info, "Operation": POISON, "Info": POISON, "Who": POISON}
    (folder / ".terraform.tfstate.lock.info").write_text(json.dumps(lock))


def _write_files(work: Path) -> None:
    """Make what commands read: a log, a CI file, a summary, a state, a plan."""
    (work / "log.txt").write_text(
        f"Error: {POISON}\n\nError: creating queue {POISON}: 429 Too Many Requests\n"
        f"Error: Error acquiring the state lock\n\nLock Info:\n  ID:        {AT_START}\n  Who:       {POISON}\n"
    )
    step = json.dumps("terraform apply -lock=false " + POISON)
    workflow = f"on: push\njobs:\n  deploy:\n    steps:\n      - run: {step}\n"
    (work / ".github" / "workflows").mkdir(parents=True)
    (work / ".github" / "workflows" / f"a{AT_START.replace('/', '')}.yml").write_text(workflow)
    error = {"code": "terraform", "exit": 34, "what": POISON, "why": POISON, "next": POISON}
    (work / "summary.json").write_text(json.dumps({"run": RUN, "error": error}))
    (work / "broken.json").write_text(POISON)
    (work / "state.json").write_bytes(state_body(9))
    assert parse_document(state_body(9)).serial == 9  # what is tested is the showing, not a refusal to read
    (work / "plan.tfplan").write_bytes(b"no plan")
    module = work / "module"
    module.mkdir()
    (module / "main.tf").write_text(
        'resource "genesyscloud_routing_queue" "q" {\n  name = "x"\n  description = '
        + json.dumps(POISON.replace("\n", " ").replace("\r", " "), ensure_ascii=False).replace("${", "$${")
        + "\n}\n"
    )


class _Evil(BaseHTTPRequestHandler):
    """Answers everything with a failure in poisoned words."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"message": POISON, "error": POISON, "error_description": POISON, "token": POISON}).encode()
        self.send_response(422)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: object) -> None:
        """Nothing: the test's own output is looked at."""


@pytest.fixture(scope="session")
def evil_api() -> Iterator[str]:
    """Return the address of an API that answers with poison."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Evil)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def decoded(text: str) -> Any:
    """Read a JSON document, or one a line."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [msgspec.json.decode(line) for line in text.splitlines()]
