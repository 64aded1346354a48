"""A name and an address are not identity: two containers of one host name, and PostgreSQL behind a proxy."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.desk import STEP_S, Desk
from tests.s3_desk import S3Desk

from interlock.compose.homes import at_home
from interlock.operate.unlock import Asked, Explained, open_case
from interlock.testing.aws import local_aws
from interlock.testing.postgres import postgres_server, why_not

pytestmark = pytest.mark.e2e

_CONTAINER = ["unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
_NAME = "build-7"


def _why_no_containers() -> str:
    if os.geteuid() != 0:
        return "only root may make namespaces here"
    if shutil.which("unshare") is None:
        return "there is no unshare(1)"
    tried = subprocess.run([*_CONTAINER, "hostname", "x"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this system lets nobody make namespaces"


needs_containers = pytest.mark.skipif(bool(_why_no_containers()), reason=_why_no_containers() or "-")


def contained(script: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    """Run a shell script with a process list and a host name of its own; every container has the same name."""
    return subprocess.Popen(
        [*_CONTAINER, "sh", "-c", f"hostname {_NAME}; {script}"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def s3_desk(tmp_path: Path) -> Iterator[S3Desk]:
    with local_aws() as aws:
        made = S3Desk(tmp_path, aws)
        yield made
        made.close()


@needs_containers
@pytest.mark.promise("P5")
def test_a_terraform_that_lives_in_another_container_of_the_same_name_keeps_its_lock(s3_desk: S3Desk) -> None:
    module, go = s3_desk.root(), s3_desk.folder / "go"
    assert s3_desk.plain(module, "plan").code == 0  # initialised
    unlock = shlex.join([sys.executable, "-m", "interlock", "force-unlock", str(module), "--yes", "--window", "0s"])
    # The container that breaks is older than the lock, as one of a long-lived fleet is.
    breaking = contained(f"until [ -e {go} ]; do sleep 0.05; done; {unlock}", s3_desk.environ)
    words = ["apply", "-auto-approve", "-input=false", "-no-color", "-var=hold=60"]
    environ = {**s3_desk.environ, "TF_DATA_DIR": str(s3_desk.folder / f"plain-{module.name}")}
    applying = contained(f"exec {shlex.join(['terraform', f'-chdir={module}', *words])}", environ)
    try:
        s3_desk.until(lambda: s3_desk.terraform_locks() or None, "the lock of the apply")
        go.touch()
        said, _ = breaking.communicate(timeout=STEP_S)
        assert breaking.returncode == 13, said
        assert "a container, in which a host name" in said
        assert s3_desk.terraform_locks() != []
        assert applying.poll() is None
    finally:
        for process in (applying, breaking):
            process.kill()
            process.wait(STEP_S)


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


@contextmanager
def tunnel(port: int) -> Iterator[int]:
    """Forward a port of this host to another one, as an SSH tunnel or a pooler does; yield it."""
    found: list[int] = []
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async def serve() -> None:
        server = await asyncio.start_server(forward, "127.0.0.1", 0)
        found.append(server.sockets[0].getsockname()[1])

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STEP_S)


@pytest.fixture
def database() -> Iterator[str]:
    pytest.importorskip("psycopg")
    with postgres_server() as conn:
        yield conn


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
@pytest.mark.promise("P5")
def test_a_session_behind_a_proxy_is_undecided_though_its_address_is_this_machines(desk: Desk, database: str) -> None:
    import psycopg

    port = int(database.rpartition(":")[2].partition("/")[0])
    module = desk.module(text='terraform {\n  backend "pg" {}\n}\nresource "terraform_data" "a" {}\n')
    environ = {**desk.environ, "PG_CONN_STR": database}
    for words in (["init"], ["apply", "-auto-approve"]):
        command = ["terraform", f"-chdir={module}", *words, "-input=false", "-no-color"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=STEP_S)
        assert done.returncode == 0, done.stderr
    with tunnel(port) as through:
        elsewhere = database.replace(
            f":{port}/", f":{through}/"
        )  # a Terraform of another machine, as the server sees it
        with psycopg.connect(elsewhere, autocommit=True, application_name="terraform") as session:
            session.execute("SELECT pg_try_advisory_lock(id) FROM terraform_remote_state.states")
            found = asyncio.run(explain(str(module), environ))
            assert found.verdict is not None
            assert found.verdict.conclusion.value == "undecided", found.evidence
            assert any("a tunnel or a proxy" in item.text for item in found.evidence)
            refused = desk.run("force-unlock", module, "--yes", "--window", "0s", environ={"PG_CONN_STR": database})
            assert refused.code == 13, refused.err
            assert session.execute("SELECT 1").fetchone() == (1,)  # nobody ended it


async def explain(subject: str, environ: dict[str, str]) -> Explained:
    asked = Asked(window_s=0.3)
    async with at_home(environ) as home, open_case(subject, asked, home, environ) as case:
        return await case.examine()
