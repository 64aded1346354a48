"""`interlock token` and a server of the same store, run as commands."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests import forking
from tests.replicas import TOKEN, answer, lock_body, state_body

pytestmark = pytest.mark.e2e

STEP_S = 120.0
STATE = "prod/routing"


def interlock(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forking.run(words, env={**os.environ, "INTERLOCK_HOME": str(home)}, timeout=STEP_S)


def ask(port: int, token: str, method: str, body: bytes = b"", query: str = "") -> int:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STEP_S)
    connection.request(method, f"/state/{STATE}{query}", body, {"Authorization": f"Bearer {token}"})
    return answer(connection)[0]


@pytest.mark.promise("P10")
def test_a_token_is_made_used_within_its_role_listed_and_revoked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = {
        role: json.loads(interlock(home, "token", "create", "--role", role, "--states", "prod/*", "--json").stdout)
        for role in ("reader", "runner")
    }
    command = [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--json"]
    environ = {**os.environ, "INTERLOCK_HOME": str(home), "INTERLOCK_TOKEN": TOKEN}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["address"].rpartition(":")[2])
        reader, runner = made["reader"]["token"], made["runner"]["token"]
        assert ask(port, reader, "GET") == 204
        assert ask(port, reader, "LOCK", lock_body("a"), "?wait=0") == 403
        assert ask(port, runner, "LOCK", lock_body("a"), "?wait=0") == 200
        assert ask(port, runner, "POST", state_body(1, "l", "x"), "?ID=a") == 200
        assert ask(port, reader, "GET") == 200
        revoked = interlock(home, "token", "revoke", made["runner"]["id"])
        assert revoked.returncode == 0
        assert ask(port, runner, "UNLOCK", lock_body("a")) == 401
        assert ask(port, TOKEN, "UNLOCK", lock_body("a")) == 200
        server.terminate()
        assert server.wait(STEP_S) == 0
    listed = interlock(home, "token", "ls", "--json")
    tokens = {each["id"]: each for each in json.loads(listed.stdout)["tokens"]}
    assert tokens[made["runner"]["id"]]["revoked_at"]
    assert tokens[made["reader"]["id"]]["used_at"]
    audit = interlock(home, "audit", "ls", "--json").stdout
    for secret in (made["reader"]["token"], made["runner"]["token"]):
        secret_part = secret.split("_", 2)[2]  # at most twice: the secret itself may hold the separator
        for text in (listed.stdout, interlock(home, "token", "ls").stdout, audit, revoked.stdout + revoked.stderr):
            assert secret_part not in text
        assert not [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert "token-created" in audit
    assert "token-revoked" in audit


@pytest.mark.promise("P11")
def test_a_store_that_is_named_is_the_one_that_is_shown_and_that_the_next_command_names(tmp_path: Path) -> None:
    home, store = tmp_path / "home", f"sqlite:{tmp_path / 'the other.db'}"
    made = json.loads(interlock(home, "token", "create", "--role", "reader", "--store", store, "--json").stdout)
    refused = interlock(home, "token", "revoke", "nobody", "--store", store)
    assert refused.returncode == 3
    words = shlex.split(refused.stderr.partition("next ")[2].strip())
    assert words[0] == "interlock"
    assert made["id"] in interlock(home, *words[1:]).stdout
    command = [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--store", store, "--json"]
    environ = {**os.environ, "INTERLOCK_HOME": str(home), "INTERLOCK_TOKEN": TOKEN}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        server.terminate()
        assert server.wait(STEP_S) == 0
    assert ready["store"] == store


@pytest.mark.promise("P10")
def test_the_first_start_on_an_empty_store_shows_an_administrators_token_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--json"]
    shown = []
    for _ in range(2):
        with subprocess.Popen(
            command, env={**os.environ, "INTERLOCK_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as server:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            shown.append(ready["admin_token"])
            if shown[0] and len(shown) == 1:
                assert ask(int(ready["address"].rpartition(":")[2]), shown[0], "GET") == 204
            server.terminate()
            assert server.stderr is not None
            assert shown[0].encode() not in server.stderr.read()
            assert server.wait(STEP_S) == 0
    assert shown[0].startswith("ilk_")
    assert shown[1] == ""
    assert "token-created" in interlock(home, "audit", "ls", "--json").stdout
