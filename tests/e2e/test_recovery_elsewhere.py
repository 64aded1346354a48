"""Locks and repair where the state is a local file, in PostgreSQL, or in our own backend behind plain Terraform."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.desk import SLEEPER, STEP_S, Answer, Desk, sees_whole_machine

from interlock.compose.homes import at_home
from interlock.operate.unlock import Asked, Explained, Freed, open_case
from interlock.testing.postgres import postgres_server, why_not

pytestmark = pytest.mark.e2e


class Plain:
    """Plain Terraform in one root module."""

    def __init__(self, desk: Desk, text: str, **environ: str) -> None:
        self.desk = desk
        self.module = desk.module(text=text)
        self.environ = {**desk.environ, **environ}
        self._started: list[subprocess.Popen[bytes]] = []
        assert self.run("init").code == 0

    def run(self, *words: str) -> Answer:
        command = ["terraform", f"-chdir={self.module}", *words, "-input=false", "-no-color"]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=STEP_S)
        return Answer(done.returncode, done.stdout, done.stderr)

    def work(self) -> subprocess.Popen[bytes]:
        """Start an apply that works for a minute, and return when it works."""
        words = ("apply", "-auto-approve", "-input=false", "-var=hold=60", "-var=round=9")
        process = subprocess.Popen(
            ["terraform", f"-chdir={self.module}", *words],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if b"Provisioning with 'local-exec'" in line or b"Executing" in line:
                return process
        raise AssertionError("it never worked")

    def kill(self) -> None:
        """Kill Terraform and all that it started."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def explain(self, name: str = "") -> Explained:
        return asyncio.run(self._case(name, free=False))[0]

    def unlock(self, name: str = "") -> tuple[Explained, Freed | None]:
        return asyncio.run(self._case(name, free=True))

    async def _case(self, name: str, *, free: bool) -> tuple[Explained, Freed | None]:
        subject = name or str(self.module)
        asked, environ = Asked(window_s=0.3), self.environ
        async with at_home(environ) as home, open_case(subject, asked, home, environ) as case:
            found = await case.examine()
            return found, (await case.break_(None) if free else None)


def verdict(found: Explained) -> str | None:
    return found.verdict.conclusion.value if found.verdict else None


@pytest.fixture
def local(desk: Desk) -> Iterator[Plain]:
    plain = Plain(desk, SLEEPER)
    yield plain
    plain.kill()


@pytest.mark.promise("P5")
def test_a_local_lock_is_alive_while_its_process_lives_and_gone_with_it(local: Plain) -> None:
    assert local.run("apply", "-auto-approve").code == 0
    process = local.work()
    found = local.explain()
    assert verdict(found) == "alive"
    assert any(str(process.pid) in item.text for item in found.evidence)
    process.send_signal(signal.SIGSTOP)
    assert verdict(local.explain()) == "alive"
    local.kill()
    assert local.explain().lock is None  # the kernel freed it; the information file that stays locks nothing
    assert local.run("plan").code == 0


def test_a_local_state_is_verified_and_restored_from_terraforms_own_backup(local: Plain) -> None:
    assert local.run("apply", "-auto-approve").code == 0
    assert local.run("apply", "-auto-approve", "-var=round=2").code == 0
    path = local.module / "terraform.tfstate"
    good = json.loads(path.read_text())
    path.write_bytes(path.read_bytes()[:500])
    verified = local.desk.run("state", "verify", local.module, "--json")
    assert verified.code == 20
    assert [row["code"] for row in verified.document["findings"]] == ["truncated"]
    backup = json.loads((local.module / "terraform.tfstate.backup").read_text())
    restored = local.desk.run("state", "restore", local.module, "--yes", "--json")
    assert restored.code == 0, restored.err
    after = json.loads(path.read_text())
    assert after["serial"] > backup["serial"]
    assert after["resources"] == backup["resources"]
    assert after["lineage"] == good["lineage"]
    assert local.run("plan").code == 0
    assert any((local.desk.home / "kept").rglob("*.tfstate"))


@pytest.fixture
def database() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres_server() as conn:
        yield conn


@pytest.mark.promise("P5")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_lock_in_postgresql_lives_and_ends_with_its_session(desk: Desk, database: str) -> None:
    text = 'terraform {\n  backend "pg" {}\n}\n' + SLEEPER
    plain = Plain(desk, text, PG_CONN_STR=database)
    try:
        assert plain.run("apply", "-auto-approve").code == 0
        plain.work()
        found = plain.explain()
        assert verdict(found) == "alive", found
        assert found.backend == "pg"
        plain.kill()
        desk.until(lambda: plain.explain().lock is None, "the end of the session")
        verified = desk.run("state", "verify", plain.module, "--json", environ={"PG_CONN_STR": database})
        assert verified.code == 0, verified.err
        assert plain.run("plan").code == 0
    finally:
        plain.kill()


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
@pytest.mark.promise("P6")
@pytest.mark.parametrize("loss", ["DELETE FROM", pytest.param("UPDATE", marks=pytest.mark.slow)])
def test_a_missing_or_empty_row_in_postgresql_is_not_a_whole_state(desk: Desk, database: str, loss: str) -> None:
    import psycopg

    plain = Plain(desk, 'terraform {\n  backend "pg" {}\n}\n' + SLEEPER, PG_CONN_STR=database)
    assert plain.run("apply", "-auto-approve").code == 0
    with psycopg.connect(database, autocommit=True) as connection:
        table = "terraform_remote_state.states"
        connection.execute(f"{loss} {table} SET data = ''" if loss == "UPDATE" else f"{loss} {table}")
    environ = {"PG_CONN_STR": database}
    verified = desk.run("state", "verify", plain.module, environ=environ)
    assert (verified.code, "undecided[no-state]" in verified.out) == (20, True), verified.out + verified.err
    recovered = desk.run("recover", plain.module, "--yes", "--no-plan", "--window", "0s", environ=environ)
    assert recovered.code == 20, recovered.err


@pytest.mark.promise("P5")
def test_a_plain_terraform_on_our_own_backend_is_judged_by_its_host(desk: Desk) -> None:
    token = "e2e-server-token-0123"
    (desk.folder / "token").touch(mode=0o600)
    (desk.folder / "token").write_text(token)
    server = desk.start("serve", "--listen", "127.0.0.1:0", "--token-file", desk.folder / "token")
    assert server.process.stderr is not None
    line = server.process.stderr.readline()
    address = line.split("http://")[1].split("/state/")[0]
    url = f"http://{address}/state/prod/app"
    environ = {"TF_HTTP_ADDRESS": url, "TF_HTTP_LOCK_ADDRESS": url, "TF_HTTP_UNLOCK_ADDRESS": url}
    text = 'terraform {\n  backend "http" {}\n}\n' + SLEEPER
    plain = Plain(desk, text, **environ, TF_HTTP_USERNAME="ann", TF_HTTP_PASSWORD=token)
    try:
        assert plain.run("apply", "-auto-approve").code == 0
        plain.work()
        assert verdict(plain.explain("prod/app")) == "alive"
        plain.kill()
        if not sees_whole_machine():
            assert verdict(plain.explain("prod/app")) == "undecided"
            return
        found, freed = plain.unlock("prod/app")
        assert verdict(found) == "gone", found
        assert freed is not None
        assert desk.lock("prod/app").holders == ()
        assert plain.run("plan").code == 0
    finally:
        plain.kill()


@pytest.mark.promise("P5")
def test_a_lock_by_hand_is_never_broken_without_its_owner(desk: Desk) -> None:
    assert desk.run("lock", "acquire", "prod/app", "--reason", "maintenance").code == 0
    refused = desk.run("force-unlock", "prod/app", "--yes", "--json", "--window", "0s")
    assert refused.code == 13
    assert "interlock lock release prod/app" in refused.err
    words: tuple[Any, ...] = ("force-unlock", "prod/app", "--yes", "--json", "--window", "0s")
    done = desk.run(*words, "--i-have-verified", "ann is on holiday, asked her", "--operator", "Bob")
    assert done.code == 0, done.err
    assert desk.lock("prod/app").holders == ()
    assert Path(desk.home).exists()
