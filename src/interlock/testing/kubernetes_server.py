"""A real Kubernetes API on loopback, for tests, where its programs are on PATH. A hand: it starts them."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from interlock.clock import SystemClock
from interlock.simulator.certificate import make_certificate

_START_S = 90.0
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How to reach it.

    Attributes:
        url: Of the API.
        authority: File with the certificate that it shows.
        token: A bearer token that may do everything.
    """

    url: str
    authority: Path
    token: str = field(repr=False)

    def make_namespace(self, name: str) -> str:
        """Make one, and return its name."""
        body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).encode()
        self.ask("/api/v1/namespaces", body)
        return name

    def ask(self, path: str, body: bytes | None = None, *, method: str | None = None) -> bytes:
        """Return what it answers to GET, or with a body to POST or `method`; `OSError` is raised for a failure."""
        asked = urllib.request.Request(f"{self.url}{path}", body, method=method)  # noqa: S310 - loopback
        asked.add_header("Authorization", f"Bearer {self.token}")
        asked.add_header("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(asked, timeout=_START_S, context=context) as answer:  # noqa: S310 - loopback
            return bytes(answer.read())


def why_not() -> str | None:
    """Return why there is none; None when there can be one."""
    missing = [name for name in ("kube-apiserver", "etcd") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not on PATH" if missing else None


@contextmanager
def kubernetes_api(folder: Path) -> Iterator[Cluster]:
    """Run both for as long as the context lasts.

    Args:
        folder: For their data, logs and certificates.
    """
    kept, peer, port = _free_ports(3)
    made = make_certificate(folder, SystemClock().now())
    cluster = Cluster(url=f"https://127.0.0.1:{port}", authority=made.chain, token="cluster-token")  # noqa: S106 - of a test
    (folder / "tokens.csv").write_text(f"{cluster.token},ann,ann,system:masters\n", "utf-8")
    client = f"http://127.0.0.1:{kept}"
    etcd = ["etcd", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={client}"]
    etcd += [f"--advertise-client-urls={client}", f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync"]
    api = ["kube-apiserver", f"--etcd-servers={client}", f"--secure-port={port}", "--bind-address=127.0.0.1"]
    api += [f"--tls-cert-file={made.chain}", f"--tls-private-key-file={made.key}", f"--cert-dir={folder}"]
    api += [f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=AlwaysAllow"]
    api += [f"--service-account-key-file={made.chain}", f"--service-account-signing-key-file={made.key}"]
    api += ["--service-account-issuer=https://127.0.0.1", "--disable-admission-plugins=ServiceAccount"]
    api += ["--advertise-address=127.0.0.1", "--service-cluster-ip-range=10.0.0.0/24"]
    with ExitStack() as running:
        running.enter_context(_started(etcd, folder / "etcd.log"))
        server = running.enter_context(_started(api, folder / "api.log"))
        _await_namespace(cluster, server)
        yield cluster


@contextmanager
def _started(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()  # nothing of it is needed any more, and it takes its time otherwise
            process.wait()


def _await_namespace(cluster: Cluster, server: subprocess.Popen[bytes]) -> None:
    """Wait for the namespace `default`, which the server itself makes."""
    clock = SystemClock()
    until_s = clock.monotonic() + _START_S
    while clock.monotonic() < until_s and server.poll() is None:
        try:
            cluster.ask("/api/v1/namespaces/default")
        except (urllib.error.URLError, ConnectionError):
            threading.Event().wait(_LOOK_S)
        else:
            return
    raise TimeoutError("kube-apiserver did not start")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in taken]
