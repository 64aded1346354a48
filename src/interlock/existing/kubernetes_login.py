"""Which cluster a `backend "kubernetes"` means and who we are to it, as Terraform finds out. A hand: it reads and runs.

Source: internal/backend/remote-state/kubernetes of Terraform 1.11.4 and 1.15.9. `KUBECONFIG` and `~/.kube/config` are
not among what it reads, and `load_config_file` changes nothing.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.bounded import read_json, read_yaml
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, UsageError, reason_of
from interlock.existing.interface import Found
from interlock.existing.kubeconfig import EXEC_VERSION, Cluster, Pem, Plugin, Wanted, chosen
from interlock.trust.asked_program import ask_program
from interlock.trust.own_secrets import without_own_secrets

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_BYTES_MAX = 4 << 20  # of a configuration file
_PLUGIN_S = 60.0  # a login program may ask a cloud
_SPARE_S = 60.0  # before its end a token is not used any more
_FIX = "check config_path or KUBE_CONFIG_PATH, or give host and token"


def cluster_of(found: Found, environ: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster that the settings mean.

    Args:
        found: The backend's settings.
        environ: For the address that a pod is told; None for our own environment.

    Raises:
        UsageError: A file cannot be read, or nothing says where the cluster is.
    """
    environ = os.environ if environ is None else environ
    is_in_pod = found.is_true("in_cluster_config") or (not _paths(found) and _is_pod(environ))
    base = _in_pod(environ) if is_in_pod else _of_files(found)
    given = replace(
        base,
        server=found.text("host") or base.server,
        username=found.text("username") or base.username,
        password=found.text("password") or base.password,
        authority=_given_pem(found, "cluster_ca_certificate") or base.authority,
        certificate=_given_pem(found, "client_certificate") or base.certificate,
        key=_given_pem(found, "client_key") or base.key,
        token=found.text("token") or base.token,
        proxy=base.proxy or found.text("proxy_url") or "",
        plugin=_given_plugin(found) or base.plugin,
    )
    if not given.server:
        raise UsageError('nothing says where the cluster of backend "kubernetes" is', fix=_FIX)
    secure = given.authority != Pem() or given.certificate != Pem() or found.is_true("insecure")
    scheme = "https" if secure else "http"
    server = given.server if "://" in given.server else f"{scheme}://{given.server}"
    if not server.startswith("https:"):  # over plain HTTP Kubernetes' client sends nothing that a file says of a user
        given = replace(given, token=found.text("token") or "", token_path="", username="", password="", plugin=None)
    return replace(given, server=server.rstrip("/"))


def _is_pod(environ: Mapping[str, str]) -> bool:
    """Say whether we are in a pod: without a configuration file Terraform then uses the pod's own account."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (_IN_POD / "token").is_file()


def _in_pod(environ: Mapping[str, str]) -> Cluster:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise UsageError("in_cluster_config is set, and this is not a pod of a cluster", fix=_FIX)
    shown = f"[{host}]" if ":" in host else host
    return Cluster(
        server=f"https://{shown}:{port}", authority=Pem(path=str(_IN_POD / "ca.crt")), token_path=str(_IN_POD / "token")
    )


def _of_files(found: Found) -> Cluster:
    wanted = Wanted(
        context=found.text("config_context") or "",
        user=found.text("config_context_auth_info") or "",
        cluster=found.text("config_context_cluster") or "",
    )
    paths = _paths(found)
    files = [(path, _document(path)) for path in paths if len(paths) == 1 or path.is_file()]
    return chosen(files, wanted) if files else Cluster()


def _paths(found: Found) -> list[Path]:
    if (one := found.text("config_path")) is not None:
        return [Path(one).expanduser()]
    given = found.settings.get("config_paths")
    parts = given.split(os.pathsep) if isinstance(given, str) else given if isinstance(given, list | tuple) else ()
    return [Path(str(part)).expanduser() for part in parts if part]


def _document(path: Path) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > _BYTES_MAX:
            raise UsageError(f"{path} is too large for a configuration of kubectl", fix=_FIX)
        return read_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=os.strerror(error.errno or 0), fix=_FIX) from error
    except (YAMLError, ValueError):
        raise UsageError(f"{path} is not a configuration of kubectl", why="it is not YAML", fix=_FIX) from None


def _given_pem(found: Found, name: str) -> Pem | None:
    text = found.text(name)
    return None if text is None else Pem(text=text)


def _given_plugin(found: Found) -> Plugin | None:
    command = found.text("exec.command")
    if command is None:
        return None
    arguments = found.settings.get("exec.args")
    start = "exec.env."
    return Plugin(
        command=(command, *(map(str, arguments) if isinstance(arguments, list | tuple) else ())),
        environ={
            name.removeprefix(start): str(value) for name, value in found.settings.items() if name.startswith(start)
        },
        version=found.text("exec.api_version") or EXEC_VERSION,
    )


class KubernetesLogin:
    """Says who we are.

    Args:
        cluster: Who is asked.
        found: The backend's settings.
        clock: For the life of tokens.
    """

    def __init__(self, cluster: Cluster, found: Found, clock: Clock) -> None:
        self._cluster = cluster
        self._found = found
        self._clock = clock
        self._token, self._until_s = "", float("-inf")

    def sign(self, request: urllib.request.Request, body: bytes) -> None:
        """See `interlock.existing.rest.Sign`."""
        del body
        if token := self._bearer():
            request.add_header("Authorization", f"Bearer {token}")
        elif self._cluster.username:
            pair = f"{self._cluster.username}:{self._cluster.password}"
            request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")

    def _bearer(self) -> str:
        if self._cluster.token:
            return self._cluster.token
        if self._cluster.token_path:
            try:
                return Path(self._cluster.token_path).read_text("utf-8").strip()
            except OSError as error:
                why = os.strerror(error.errno or 0)
                raise UsageError(f"{self._cluster.token_path} cannot be read", why=why, fix=_FIX) from error
        if self._cluster.plugin is not None and self._clock.monotonic() > self._until_s:
            self._token, life_s = self._asked(self._cluster.plugin)
            self._until_s = self._clock.monotonic() + life_s - _SPARE_S
        return self._token

    def _asked(self, plugin: Plugin) -> tuple[str, float]:
        """Run the program; return its token, and for how many seconds it is good."""
        said = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environ = {**without_own_secrets(os.environ), **plugin.environ, "KUBERNETES_EXEC_INFO": json.dumps(said)}
        name = plugin.command[0]
        try:
            ended = ask_program(plugin.command, environ=environ, timeout_s=_PLUGIN_S)
        except (OSError, ValueError) as error:
            why = f"no answer in {_PLUGIN_S:.0f} s" if isinstance(error, TimeoutError) else reason_of(error)
            raise UsageError(f"{name}, which logs in to the cluster, cannot be run", why=why, fix=_FIX) from None
        if ended.code:
            raise AuthenticationFailed(
                f"{name} did not log in to the cluster", why=f"it ended with status {ended.code}", fix=name
            )
        status = _status(ended.out)
        token = status.get("token")
        if not isinstance(token, str) or not token:
            raise UsageError(
                f"{name} gave no token for the cluster",
                why="Interlock uses tokens of such programs, not certificates",
                fix="give host and token, or client_certificate and client_key",
            )
        return token, self._life_s(str(status.get("expirationTimestamp") or ""))

    def _life_s(self, until: str) -> float:
        try:
            return (datetime.fromisoformat(until) - self._clock.now()).total_seconds()
        except (ValueError, TypeError):  # it does not say: asked again after some minutes
            return 300.0

    def context(self) -> ssl.SSLContext | None:
        """Return which certificates are accepted and which is shown; None for plain HTTP.

        Raises:
            UsageError: A certificate cannot be used.
        """
        cluster = self._cluster
        if not cluster.server.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(
                cafile=cluster.authority.path or None, cadata=cluster.authority.text or None
            )
            if cluster.certificate != Pem():
                _show(context, cluster.certificate, cluster.key)
        except (OSError, ValueError) as error:
            raise UsageError(
                "the certificates for the cluster cannot be used",
                why="one of them is absent, or is not PEM",
                fix="check cluster_ca_certificate, client_certificate and client_key, or kubectl's configuration",
            ) from error
        if self._found.is_true("insecure"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _status(output: bytes) -> Mapping[str, Any]:
    try:
        said = read_json(output)
    except ValueError:
        said = None
    status = said.get("status") if isinstance(said, dict) else None
    return status if isinstance(status, dict) else {}


def _show(context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    """Show a certificate; OpenSSL reads it from files only, so a text is put in one for a moment."""
    with tempfile.TemporaryDirectory(prefix="interlock-") as folder:
        chain, secret = (
            pem.path or _written(Path(folder) / name, pem.text) for name, pem in (("c", certificate), ("k", key))
        )
        context.load_cert_chain(chain, secret, password="")  # an encrypted key: never ask the terminal


def _written(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
    return str(path)
