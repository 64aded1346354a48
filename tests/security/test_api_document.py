"""A client that believes the OpenAPI document, and an attacker that does not: schemathesis, against a real server.

From the document it makes requests that fit it and requests that do not, and looks at each answer: no 5xx, a status
and a media type that the document names, a body that fits its schema, no answer without a token, `Allow` with every
405. Requests that fit the document and are refused for what the server knows (400) are no fault of either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tests.replicas import TOKEN, Replica, state_body

from interlock.clock import SystemClock
from interlock.ids import run_id
from interlock.testing.postgres import why_not

EXAMPLES = 4
"""Of each operation, beside those that cover each keyword of its schemas."""
STATE = "prod/routing"
RUN_S = 1500.0  # only a hang takes so long

STORES = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")),
]


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    address = f"sqlite:{tmp_path / 'server.db'}"
    if request.param == "postgresql":
        address = f"{request.getfixturevalue('postgres').url}&schema=s{uuid.uuid4().hex[:12]}"
    with (tmp_path / "server.log").open("w") as log:
        running = Replica(address, tmp_path / "server", stderr=log)
    yield running
    assert running.end() == 0, "it took requests to its end"


def attacked(server: Replica, folder: Path, *, phases: str, fixed: dict[str, str]) -> str:
    """Run schemathesis; return what it printed."""
    parameters = "".join(f"{json.dumps(f'query.{name}')} = {value}\n" for name, value in fixed.items())
    settings = folder / "schemathesis.toml"
    settings.write_text(f'[headers]\nAuthorization = "Bearer {TOKEN}"\n[parameters]\n{parameters}')
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(settings), "run", f"{server.said['address']}/api/v1/openapi.json"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", phases),
            *("--continue-on-failure", "--no-shrink", "--seed", "1", "-n", str(EXAMPLES), "--request-timeout", "60"),
            *("--suppress-health-check", "all"),  # how fast examples are made decides nothing
        ],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def ask(server: Replica, method: str, path: str, sends: object) -> int:
    request = Request(f"{server.said['address']}{path}", json.dumps(sends).encode(), method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urlopen(request, timeout=RUN_S) as answer:
        return int(answer.status)


def furnish(server: Replica) -> dict[str, str]:
    """Put one of each thing into the server, so that requests reach more than "there is none"; return their names."""
    assert server.lock("a", STATE) == 200
    for serial in (1, 2):
        assert server.ask("POST", STATE, state_body(serial, "l", "x"), "?ID=a")[0] == 200
    assert server.ask("POST", STATE, state_body(1, "other", "x"), "?ID=a")[0] == 409, "kept for review"
    run = run_id(SystemClock().now(), chance=7)
    told = {
        "operation": "plan",
        "who": "ann",
        "directory": "/",
        "phase": "planning",
        "started_at": "2026-11-30T10:00:00Z",
    }
    assert ask(server, "PUT", f"/api/v1/runs?state={STATE}&run={run}", {"summary": told}) == 200
    assert ask(server, "POST", f"/api/v1/runs/journal?state={STATE}&run={run}&offset=0", {"any": "bytes"}) == 200
    return {"state": json.dumps(STATE), "run": json.dumps(run), "of": json.dumps(STATE), "key": '"known/prod/routing"',
            "prefix": '"known/"', "number": "1"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.promise("P10")
@pytest.mark.parametrize("server", STORES, indirect=True)
def test_a_server_answers_as_its_document_says_whatever_it_is_asked(server: Replica, tmp_path: Path) -> None:
    told = attacked(server, tmp_path, phases="coverage,fuzzing,stateful", fixed={"wait_s": "0"})
    assert "Unresolvable references" not in told, told
    names = furnish(server)
    attacked(server, tmp_path, phases="fuzzing,stateful", fixed={"wait_s": "0", **names})
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log, log[-8000:]
