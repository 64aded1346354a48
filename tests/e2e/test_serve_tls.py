"""`interlock serve` beyond loopback: only with TLS, or behind something that takes it off."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.deploy_files import DEPLOY
from tests.proxy import certificate

pytestmark = pytest.mark.e2e

STEP_S = 120.0


def serve(home: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "interlock", "serve", *words],
        env={**os.environ, "INTERLOCK_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def refused(home: Path, *words: str) -> str:
    """Return what a server says that does not start."""
    process = serve(home, *words)
    said, why = process.communicate(timeout=STEP_S)
    assert (process.returncode, said) == (3, b"")
    return why.decode()


@pytest.mark.promise("P10")
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.7:0"])
def test_token_and_states_never_cross_a_network_in_clear_unasked(tmp_path: Path, address: str) -> None:
    why = refused(tmp_path / "home", "--listen", address)
    assert "in clear" in why
    assert "--tls-cert server.crt --tls-key server.key" in why


@pytest.mark.promise("P10")
def test_states_are_served_over_tls_and_not_in_clear_beside_it(tmp_path: Path) -> None:
    file = certificate(tmp_path, "localhost")
    words = ("--listen", "127.0.0.1:0", "--tls-cert", str(file), "--tls-key", str(file), "--json")
    with serve(tmp_path / "home", *words) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        port = said["address"].rpartition(":")[2]
        assert said["address"].startswith("https://")
        context = ssl.create_default_context(cafile=str(file))
        with urllib.request.urlopen(f"https://localhost:{port}/readyz", timeout=STEP_S, context=context) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match=r"."):
            urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=STEP_S)
        asking = [sys.executable, "-I", str(DEPLOY / "ask_ready.py"), port]  # the health check of the image
        assert subprocess.run(asking, check=False, timeout=STEP_S).returncode == 0
        process.terminate()
        assert process.wait(STEP_S) == 0


def test_a_certificate_without_its_key_is_refused_with_both_options(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    file = certificate(tmp_path, "localhost")
    assert "--tls-key server.key" in refused(tmp_path / "home", "--tls-cert", str(file))
    why = refused(tmp_path / "home", "--tls-cert", str(file), "--tls-key", str(tmp_path / "empty.pem"))
    assert "certificate and key cannot be used" in why
    assert "openssl x509" in why
