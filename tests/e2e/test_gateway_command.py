"""`interlock gateway` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import serve_in_thread

pytestmark = pytest.mark.e2e


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("GENESYSCLOUD_")}
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("interlock")), "gateway", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**known, "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id, **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_when_it_is_ready_serves_and_stops_at_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(DEFAULT_CLIENT.secret + "\n")
    secret.chmod(0o600)
    with serve_in_thread(Simulation()) as served:
        child = start(
            "--listen",
            "127.0.0.1:0",
            "--upstream-api",
            served.url,
            "--upstream-login",
            served.url,
            "--secret-file",
            str(secret),
            "--budget",
            "token=600/60s",
            "--count-uploads",
            "127.0.0.1:0",
            "--json",
        )
        assert child.stderr is not None
        assert child.stdout is not None
        ready = child.stderr.readline()
        assert "the gateway listens on http://127.0.0.1:" in ready
        # By line as well: what a first `readline` has taken from the pipe with its line, `communicate` never returns.
        uploads = child.stderr.readline()
        assert "HTTPS_PROXY=http://127.0.0.1:" in uploads
        document = ""
        while not document.endswith("}\n"):
            document += child.stdout.readline()
        url = json.loads(document)["url"]
        with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
            assert answer.status == 200
        child.send_signal(number)
        child.send_signal(number)  # the second ends nothing that the first did not
        out, errors = child.communicate(timeout=120)
        assert child.returncode == 0
        assert DEFAULT_CLIENT.secret not in ready + uploads + document + out + errors


@pytest.mark.promise("P8")
def test_a_refused_client_ends_it_with_the_status_for_authentication() -> None:
    with serve_in_thread(Simulation()) as served:
        child = start(
            "--listen",
            "127.0.0.1:0",
            "--upstream-api",
            served.url,
            "--upstream-login",
            served.url,
            GENESYSCLOUD_OAUTHCLIENT_SECRET="wrong-secret",
        )
        out, errors = child.communicate(timeout=120)
        assert child.returncode == 32
        assert "wrong-secret" not in out + errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("--listen", "nowhere"),
        ("--listen", "127.0.0.1:0"),
        ("--listen", "127.0.0.1:0", "--region", "eu-centrl-1"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--budget", "tokens=1"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--budget", "tokn=1/1s"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--hold", "16"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--tokens", "51"),
        ("--listen", "127.0.0.1:0", "--upstream-api", "http://a"),
        ("--listen", "127.0.0.1:0", "--upstream-api", "file:///etc", "--upstream-login", "http://a"),
        ("--listen", "127.0.0.1:0", "--upstream-api", "http://a/path", "--upstream-login", "http://a"),
        ("--listen", "0.0.0.0:0", "--region", "eu-central-1", "--open-login"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--count-uploads", "0.0.0.0:0"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--host", "http://a:1/"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--secret-file", "/nonexistent"),
        ("--listen", "127.0.0.1:0", "--region", "eu-central-1", "--secret-command", "false"),
        ("--listen", "192.0.2.1:1", "--region", "eu-central-1"),
    ],
)
def test_wrong_arguments_are_a_usage_error_in_three_parts(arguments: tuple[str, ...], desk: Desk) -> None:
    known = {"GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id, "GENESYSCLOUD_OAUTHCLIENT_SECRET": "some-secret"}
    answer = desk.call("gateway", *arguments, environ=known)
    assert answer.code == 3, answer.err
    assert answer.out == ""
    assert answer.err.startswith("error[usage]")
    assert "Traceback" not in answer.err
