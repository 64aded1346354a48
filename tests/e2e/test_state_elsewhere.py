"""A state that lives on somebody else's server is never taken for an empty one (P11), with a real state server."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.program import no_tofu

from interlock.ci.seal import make_keys
from interlock.testing.one_piece import OnePieceHandler

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P11")]

PATH = "/api/v4/projects/1/terraform/state/prod"
RESOURCE = 'resource "terraform_data" "queue" {\n  input = "Support"\n}\n'


@dataclass
class StateServer:
    """Keeps one state as GitLab does: LOCK is POST .../lock, UNLOCK is DELETE .../lock."""

    url: str = ""
    state: bytes | None = None
    lock: bytes | None = None
    writes: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the state, as a configuration names it."""
        return self.url + PATH


class _Handler(OnePieceHandler):
    kept: StateServer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        self._answer(404) if self.kept.state is None else self._answer(200, self.kept.state)

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/lock"):
            held, self.kept.lock = self.kept.lock, self.kept.lock or body
            self._answer(423, held) if held else self._answer(200)
            return
        self.kept.writes.append(self.path)
        self.kept.state = body
        self._answer(200)

    def do_DELETE(self) -> None:  # noqa: N802 - the base class's name
        self.kept.lock = None
        self._answer(200)


@pytest.fixture
def gitlab() -> Iterator[StateServer]:
    kept = StateServer()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"kept": kept}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    yield kept
    server.shutdown()
    server.server_close()


def settings(server: StateServer) -> dict[str, str]:
    return {
        "address": server.address,
        "lock_address": f"{server.address}/lock",
        "unlock_address": f"{server.address}/lock",
        "lock_method": "POST",
        "unlock_method": "DELETE",
        "username": "ci",
        "password": "glpat-hush",
    }


def backend(server: StateServer) -> str:
    return json.dumps({"terraform": {"backend": {"http": settings(server)}}})


def by_hand(program: str, folder: Path, desk: Desk, environ: dict[str, str], *words: str) -> None:
    subprocess.run(
        [program, *words], cwd=folder, env={**desk.environ, **environ}, check=True, capture_output=True, timeout=120
    )


def converge(program: str, folder: Path, desk: Desk, environ: dict[str, str]) -> None:
    """Let the plain program create everything, so that any "to add" afterwards is a second time."""
    by_hand(program, folder, desk, environ, "init", "-input=false")
    by_hand(program, folder, desk, environ, "apply", "-auto-approve", "-input=false")
    shutil.rmtree(folder / ".terraform")  # as in a fresh checkout of a pipeline


def check_used(desk: Desk, folder: Path, server: StateServer, environ: dict[str, str]) -> None:
    """Runs see what is there, and lock and write it as GitLab wants it; nothing is made a second time."""
    before, writes = server.state, list(server.writes)
    answer = desk.run("plan", folder, "--detailed-exitcode", environ=environ)
    assert answer.code == 0, answer.err
    assert "glpat" not in answer.out + answer.err
    assert (server.state, server.writes) == (before, writes)
    doctor = desk.run("doctor", folder, environ=environ)
    assert server.address in doctor.out + doctor.err
    assert "glpat" not in doctor.out + doctor.err
    gone = desk.run("destroy", folder, "--auto-approve", environ=environ)
    assert gone.code == 0, gone.err
    assert len(server.writes) > len(writes)
    assert all("?ID=" in path for path in server.writes[len(writes) :]), "each write names the lock"
    assert server.lock is None
    assert json.loads(server.state or b"{}")["resources"] == []


@pytest.mark.parametrize("form", ["block", pytest.param("environment", marks=pytest.mark.slow)])
def test_a_state_on_gitlab_is_used_where_it_is_and_never_taken_for_an_empty_one(
    desk: Desk, gitlab: StateServer, form: str
) -> None:
    folder = desk.module("gl", RESOURCE)
    environ: dict[str, str] = {}
    if form == "block":
        (folder / "backend.tf.json").write_text(backend(gitlab))
    else:
        (folder / "backend.tf").write_text('terraform {\n  backend "http" {}\n}\n')
        environ = {f"TF_HTTP_{name.upper()}": value for name, value in settings(gitlab).items()}
    converge("terraform", folder, desk, environ)
    assert gitlab.state is not None
    check_used(desk, folder, gitlab, environ)


def test_a_declaration_that_our_reader_does_not_see_is_found_by_what_terraform_recorded(
    desk: Desk, gitlab: StateServer
) -> None:
    """The last line of defence, tried with a `terraform` that gives init an address behind our back."""
    folder = desk.module("blind", RESOURCE)
    real = shutil.which("terraform")
    program = desk.folder / "bin" / "terraform"
    program.parent.mkdir()
    flag = f"-backend-config=address={gitlab.address}"
    script = f'#!/bin/sh\nfor w; do [ "$w" = init ] && exec {real} "$@" {flag}; done\nexec {real} "$@"\n'
    program.write_text(script)
    program.chmod(0o755)
    answer = desk.run("plan", folder, "--state", "s", "--terraform", str(program))
    assert answer.code == 3, answer.err
    assert "another backend" in answer.err
    assert gitlab.writes == []


def test_no_pipeline_is_generated_for_a_state_that_its_runs_would_refuse(desk: Desk) -> None:
    desk.module(
        "cc",
        'terraform {\n  backend "cos" {\n    bucket = "p"\n  }\n}\n',
    )
    (desk.folder / "interlock.yaml").write_text(
        "version: 1\nstates:\n  prod/cc:\n    directory: cc\npipeline:\n  installed: true\n"
        f"  plan_key: {make_keys(bytes(64)).wrap}\n"
    )
    answer = desk.run("ci", "generate", "github", "--dry-run")
    assert answer.code == 3, answer.err
    assert 'runs cannot use backend "cos" yet' in answer.err


@pytest.mark.skipif(shutil.which("tofu") is None, reason="OpenTofu (tofu) is not on PATH")
def test_a_backend_in_opentofus_own_files_is_used_too(desk: Desk, gitlab: StateServer) -> None:
    folder = desk.folder / "tofu"
    folder.mkdir()
    (folder / "main.tofu").write_text(RESOURCE)
    (folder / "backend.tofu.json").write_text(backend(gitlab))
    converge("tofu", folder, desk, {})
    blind = desk.run("doctor", folder, environ={"INTERLOCK_TERRAFORM": no_tofu()})
    assert blind.code != 0
    assert "holds only OpenTofu's files" in blind.out + blind.err
    check_used(desk, folder, gitlab, {"INTERLOCK_TERRAFORM": "tofu"})


def test_a_state_whose_backend_is_no_longer_declared_is_moved_by_the_line_that_the_refusal_prints(
    desk: Desk, gitlab: StateServer
) -> None:
    """`terraform state pull` wants a new init there, so that line would push an empty file."""
    folder = desk.module("moved", RESOURCE)
    (folder / "backend.tf.json").write_text(backend(gitlab))
    by_hand("terraform", folder, desk, {}, "init", "-input=false")
    by_hand("terraform", folder, desk, {}, "apply", "-auto-approve", "-input=false")
    (folder / "backend.tf.json").unlink()
    refused = desk.run("plan", folder)
    assert refused.code == 3, refused.err
    migrate, push = refused.err.split("next   ")[1].split("    or declare")[0].split("    then")[0].split("; ")
    program, *words = migrate.split()
    by_hand(program, folder, desk, {}, *words)
    pushed = desk.run(*push.split()[1:])
    assert pushed.code == 0, pushed.err
    (folder / "terraform.tfstate").unlink()
    assert desk.run("plan", folder, "--detailed-exitcode").code == 0
