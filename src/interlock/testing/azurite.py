"""Azurite, the emulator of Azure's storage, on a loopback port, for tests. A hand: it starts a program of PATH."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.clock import SystemClock
from interlock.existing import Found
from interlock.existing.azure_login import AzureLogin

ACCOUNT, CONTAINER = "devstoreaccount1", "states"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's one key, the same for everybody: it is in its documentation and opens nothing."""

_START_LINES = 50  # that it prints before it listens, at most


@contextmanager
def azurite_blobs() -> Iterator[str]:
    """Run it for as long as the context lasts, with an empty container; yield the address of its account."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = ["azurite-blob", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    words += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            for _, line in zip(range(_START_LINES), process.stdout, strict=False):
                if "successfully listen" in line:
                    break
            address = f"http://127.0.0.1:{port}/{ACCOUNT}"
            _make_container(address)
            yield address
        finally:
            process.terminate()


def _make_container(address: str) -> None:
    found = Found(type="azurerm", settings={"access_key": AZURITE_KEY})
    login = AzureLogin(found, account=ACCOUNT, clock=SystemClock())
    request = urllib.request.Request(f"{address}/{CONTAINER}?restype=container", data=b"", method="PUT")  # noqa: S310 - loopback
    request.add_header("Content-Type", "application/json")
    login.sign(request, b"")
    with urllib.request.urlopen(request, timeout=10.0):  # noqa: S310 - loopback
        pass
