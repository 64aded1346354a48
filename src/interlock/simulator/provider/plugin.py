"""The plugin's side of Terraform's handshake: one gRPC server on a Unix socket, TLS with a certificate made at install.

Signals end the process at once, in the middle of whatever runs, as the real provider does since 1.60.0
(docs/facts/genesys.md#genesys-10); a stubborn one first closes its pool of clients as the real one does, which waits up
to 30 s for those in work. Terraform's own Stop only ends waits: calls in flight finish.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # grpcio ships no types
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc
from tf.gen import tfplugin_pb2 as pb
from tf.provider import ProviderServicer

MAX_CONCURRENT_CALLS = 128  # above any sensible -parallelism
ORPHAN_LIMIT_S = 20  # longer than one attempt (16 s); the real plugin would stay for ever
LINGER_S = 30.0  # how long the real provider waits for clients in work before a signal ends it
_LOOK_S = 0.05
_SHUTDOWN_GRACE_S = 0.2


class _Servicer(ProviderServicer):  # type: ignore[misc]  # the tf package ships no types
    """Terraform's calls; says that one schema per process is enough, and turns Stop into a flag."""

    def __init__(self, provider: Any, stopping: threading.Event) -> None:
        super().__init__(provider)
        self._stopping = stopping
        self._in_work = 0
        self._lock = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether no object is being made, changed or deleted."""
        return self._in_work == 0

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().GetProviderSchema(request, context)
        response.server_capabilities.CopyFrom(pb.ServerCapabilities(get_provider_schema_optional=True))
        return response

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().PlanResourceChange(request, context)
        response.legacy_type_system = True  # the real SDK's word for: a plan may differ from what was written
        return response

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        with self._lock:
            self._in_work += 1
        try:
            response = super().ApplyResourceChange(request, context)
        finally:
            with self._lock:
                self._in_work -= 1
        response.legacy_type_system = True
        return response

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        self._stopping.set()
        return super().StopProvider(request, context)


class _Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]  # as above
    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's name and arguments
        self._ended.set()
        return grpc_controller_pb2.Empty()


class _Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]  # as above
    def StreamStdio(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's name and arguments
        return iter(())


def run(provider: Any, *, stopping: threading.Event, certificate: Path, key: Path, linger_s: float = 0.0) -> None:
    """Serve until Terraform says Shutdown, then end the process.

    Args:
        provider: The provider.
        stopping: Set when Terraform asks to stop.
        certificate: PEM file, for localhost.
        key: PEM file.
        linger_s: How long a signal waits for what is in work.
    """
    servicer = _Servicer(provider, stopping)
    ended, parent = threading.Event(), os.getppid()
    folder = Path(tempfile.mkdtemp(prefix="gc-"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _end_when_idle(servicer, folder, linger_s))
    server = grpc.server(ThreadPoolExecutor(max_workers=MAX_CONCURRENT_CALLS))
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(servicer, server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(_Controller(ended), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(_Stdio(), server)
    _announce(server, f"{folder}/s", certificate, key)
    _wait(ended, parent)
    server.stop(_SHUTDOWN_GRACE_S).wait(_SHUTDOWN_GRACE_S)
    _end(folder)


def _wait(ended: threading.Event, parent: int) -> None:
    """Wait for Shutdown, or for the end of a parent that was killed; what is in flight then may finish."""
    orphaned_s = 0
    while not ended.wait(1.0) and orphaned_s < ORPHAN_LIMIT_S:
        orphaned_s = orphaned_s + 1 if os.getppid() != parent else 0


def _end_when_idle(servicer: _Servicer, folder: Path, linger_s: float) -> None:
    """End at once, or in a thread of its own as soon as nothing is in work: a handler may not wait."""
    if linger_s <= 0 or servicer.is_idle:
        _end(folder)

    def linger() -> None:
        waited_s = 0.0
        while not servicer.is_idle and waited_s < linger_s:
            threading.Event().wait(_LOOK_S)
            waited_s += _LOOK_S
        _end(folder)

    threading.Thread(target=linger, name="linger", daemon=True).start()


def _end(folder: Path) -> None:
    """End the process at once: nothing is left to do, and the interpreter's own end takes 50 ms."""
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _announce(server: Any, path: str, certificate: Path, key: Path) -> None:
    pem = certificate.read_bytes()
    pair = (key.read_bytes(), pem)
    server.add_secure_port(f"unix://{path}", grpc.ssl_server_credentials([pair]))
    server.start()
    inside = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    encoded = base64.b64encode(base64.b64decode(inside)).decode().rstrip("=")
    sys.stdout.write(f"1|6|unix|{path}|grpc|{encoded}\n")
    sys.stdout.flush()
