"""What the image and compose.yaml run is run here, without a container: the same words, variables and kinds of secrets.

As root it runs as another user, when that one may read this checkout; else as ourselves.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.deploy_files import DEPLOY, compose, image_environment, of_image
from tests.replicas import STEP_S

from interlock.testing.postgres import PostgresServer, running_server, why_not

pytestmark = pytest.mark.e2e

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Reader:
    """Who runs the server.

    Attributes:
        user: Id; None for ourselves.
        python: The interpreter, which that user may start.
        environment: How it finds what is installed here.
    """

    user: int | None
    python: str
    environment: dict[str, str]


@functools.cache
def reader() -> Reader:
    """Return another user than root, when one may read what is installed here; else ourselves."""
    ourselves = Reader(None, sys.executable, {})
    if os.geteuid() != 0:
        return ourselves
    here = {"PYTHONPATH": os.pathsep.join([str(DEPLOY.parent / "src"), sysconfig.get_path("purelib")])}
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/{name}", f"/usr/bin/{name}"):
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", "import interlock.cli.main, psycopg"], env=here, user=NOBODY, group=NOBODY,
                extra_groups=[], check=True, cwd=tempfile.gettempdir(), capture_output=True,
            )  # fmt: skip
            return Reader(NOBODY, python, here)
    return ourselves


def owner() -> int:
    user = reader().user
    return os.geteuid() if user is None else user


@pytest.fixture
def volumes() -> Iterator[Path]:
    """Give a folder that others may enter: pytest keeps its own from other users."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-deploy-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


class Container:
    """Folders and user of one, as compose.yaml and the image make them.

    Args:
        folder: Where its volumes are.
    """

    def __init__(self, folder: Path) -> None:
        self.secrets, self.home = folder / "secrets", folder / "home"
        self.secrets.mkdir(mode=0o755)
        self.home.mkdir(mode=0o700)
        os.chown(self.home, owner(), owner())
        image = {name: value for name, value in image_environment().items() if name != "PATH"}
        own = {"PATH": os.environ["PATH"], "HOME": str(self.home), "INTERLOCK_HOME": str(self.home)}
        self.environment = {**image, **own}

    def run(self, words: Sequence[str], **more: str) -> subprocess.Popen[str]:
        """Start words of the image's entry point."""
        assert of_image("ENTRYPOINT").words == ["interlock"]
        user = reader().user
        return subprocess.Popen(
            [reader().python, "-m", "interlock", *words],
            env={**self.environment, **reader().environment, **more},
            cwd=self.home,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o022,
        )

    def inside(self, word: str) -> str:
        """Return a word with the paths of this machine in place of the container's."""
        return word.replace("/secrets/", f"{self.secrets}/")


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a server in order, as the orchestrator does."""
    try:
        yield
        process.send_signal(getattr(signal, of_image("STOPSIGNAL").text))
        _, said = process.communicate(timeout=STEP_S)
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.communicate()


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line in ("", "{\n"):  # what it prints when it cannot
        raise AssertionError(process.communicate(timeout=STEP_S))
    said: dict[str, Any] = json.loads(line)
    return said


def healthy(port: int) -> bool:
    """Run what the image's HEALTHCHECK runs."""
    words = [sys.executable, "-I", str(DEPLOY / "ask_ready.py"), str(port)]
    return subprocess.run(words, check=False, timeout=STEP_S).returncode == 0


@contextmanager
def database(password: str) -> Iterator[PostgresServer]:
    """Run one that asks for a password, as the image postgres does."""
    with running_server() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"ALTER USER interlock PASSWORD '{password}'")  # made by our own script
            connection.execute("CREATE DATABASE interlock ENCODING 'UTF8' TEMPLATE template0")
            row = connection.execute("SHOW hba_file").fetchone()
            assert row is not None
            connection.execute(f"COPY (SELECT 'host all all 127.0.0.1/32 scram-sha-256') TO '{row[0]}'")
            connection.execute("SELECT pg_reload_conf()")
        yield server


def test_a_container_of_the_image_alone_serves_loopback_on_a_home_of_its_own(volumes: Path) -> None:
    container = Container(volumes)
    words = [word.replace("8650", "0") for word in of_image("CMD").words]
    process = container.run([*words, "--json"])
    with ending(process):
        port = int(told(process)["address"].rpartition(":")[2])
        assert healthy(port)
    assert not healthy(port)


@pytest.mark.slow
@pytest.mark.promise("P10")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_what_compose_runs_works_on_a_postgresql_that_asks_for_a_password(volumes: Path) -> None:
    container = Container(volumes)
    script("make_secrets").make(container.secrets, interlock=owner(), postgres=os.geteuid())
    made = container.secrets / "made"
    password = (made / "database-password").read_text().strip()
    service = compose()["services"]["server"]
    variables = {name: container.inside(value) for name, value in service["environment"].items()}
    with database(password) as server:
        place = {"@database/": f"@127.0.0.1:{server.port}/", "0.0.0.0:8650": "127.0.0.1:0"}
        words = [container.inside(word) for word in service["command"]]
        for name, here in place.items():
            words = [word.replace(name, here) for word in words]
        process = container.run([*words, "--json"], **variables)
        with ending(process):
            said = told(process)
            port = int(said["address"].rpartition(":")[2])
            assert healthy(port)
            assert said["admin_token"]
            request = urllib.request.Request(f"http://localhost:{port}/metrics")
            request.add_header("Authorization", f"Bearer {(made / 'token').read_text().strip()}")
            with urllib.request.urlopen(request, timeout=STEP_S) as answer:
                assert answer.status == 200
            command = _command_line(process.pid)
            assert not any(path.read_text().strip() in command for path in made.iterdir())
        # As `docker compose exec server interlock token create` does, in the same container.
        store = words[words.index("--store") + 1]
        creating = container.run(["token", "create", "--role", "runner", "--store", store, "--json"], **variables)
        created, complaint = creating.communicate(timeout=STEP_S)
        assert creating.returncode == 0, complaint
        assert json.loads(created)["role"] == "runner"
        assert password not in said["store"]


def _command_line(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""
