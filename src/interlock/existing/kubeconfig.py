"""Files of `kubectl` -> who answers and who we are to it, merged and chosen as Kubernetes' own client does it. Pure.

Of several files the first to name a thing wins, and paths in a file are relative to its folder.
Source: k8s.io/client-go/tools/clientcmd, as Terraform 1.11.4 and 1.15.9 use it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interlock.errors import UsageError

EXEC_VERSION = "client.authentication.k8s.io/v1"
"""The protocol with a program that says who we are, where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A program that says who we are.

    Attributes:
        command: Its name or path, and its arguments.
        environ: Variables beside our own.
        version: Of the protocol: `client.authentication.k8s.io/v1`.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    version: str = EXEC_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A certificate or a key, given as text or as a file; neither where there is none."""

    text: str = field(default="", repr=False)
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Who answers, and who we are to it.

    Attributes:
        server: URL of the API.
        authority: Whose certificates are accepted beside nobody's; the system's when there is none.
        certificate: What we show.
        key: Its key.
        token: A bearer token.
        token_path: A file with one, which may change.
        username: For basic authentication.
        password: Likewise.
        proxy: URL of a proxy.
        plugin: A program that gives a token; None without one.
    """

    server: str = ""
    authority: Pem = Pem()
    certificate: Pem = Pem()
    key: Pem = Pem()
    token: str = field(default="", repr=False)
    token_path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    plugin: Plugin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of what the files name is used; empty for what the chosen context says."""

    context: str = ""
    user: str = ""
    cluster: str = ""


def chosen(files: Sequence[tuple[Path, Any]], wanted: Wanted) -> Cluster:
    """Return what the files say of the cluster that is wanted.

    Args:
        files: Each file's path and its values, in order.
        wanted: What the backend's settings name.

    Raises:
        UsageError: A context, cluster or user that is named is in none of the files, or a file is none of kubectl's.
    """
    for path, document in files:
        if not isinstance(document, Mapping):
            raise UsageError(f"{path} is not a configuration of kubectl", fix="check config_path, or KUBE_CONFIG_PATH")
    name = wanted.context or next((text for _, each in files if (text := _text(each, "current-context"))), "")
    _, context = _named(files, "context", name) if name else (Path(), {})
    # Terraform puts an empty context in the place of the named one where cluster or user are given beside it
    where, cluster = _of(files, "cluster", wanted.cluster or _text(context, "cluster"))
    home, user = _of(files, "user", wanted.user or _text(context, "user"))
    return Cluster(
        server=_text(cluster, "server"),
        proxy=_text(cluster, "proxy-url"),
        authority=_pem(cluster, "certificate-authority", where),
        certificate=_pem(user, "client-certificate", home),
        key=_pem(user, "client-key", home),
        token=_text(user, "token"),
        token_path=_path(user, "tokenFile", home),
        username=_text(user, "username"),
        password=_text(user, "password"),
        plugin=_plugin(user.get("exec"), home),
    )


def _of(files: Sequence[tuple[Path, Any]], kind: str, name: str) -> tuple[Path, Mapping[str, Any]]:
    return _named(files, kind, name) if name else (Path(), {})


def _named(files: Sequence[tuple[Path, Any]], kind: str, name: str) -> tuple[Path, Mapping[str, Any]]:
    """Return the first entry of this kind and name, and the folder of its file."""
    for path, document in files:
        listed = document.get(f"{kind}s")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(kind), Mapping):
                return path.parent, entry[kind]
    names = ", ".join(str(path) for path, _ in files)
    raise UsageError(f'there is no {kind} "{name}" in {names}', fix="kubectl config get-contexts shows what there is")


def _plugin(said: Any, home: Path) -> Plugin | None:
    if not isinstance(said, Mapping) or not _text(said, "command"):
        return None
    command = _text(said, "command")
    arguments, variables = said.get("args"), said.get("env")
    return Plugin(
        command=(
            str(home / command) if "/" in command else command,
            *(map(str, arguments) if isinstance(arguments, list) else ()),
        ),
        environ={
            _text(each, "name"): _text(each, "value")
            for each in (variables if isinstance(variables, list) else ())
            if isinstance(each, Mapping)
        },
        version=_text(said, "apiVersion") or EXEC_VERSION,
    )


def _pem(said: Mapping[str, Any], name: str, home: Path) -> Pem:
    data = _text(said, f"{name}-data")
    if not data:
        return Pem(path=_path(said, name, home))
    try:
        return Pem(text=base64.b64decode(data, validate=False).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise UsageError(
            f"{name}-data in kubectl's configuration is not base64", fix="check config_path, or KUBE_CONFIG_PATH"
        ) from None


def _path(said: Mapping[str, Any], name: str, home: Path) -> str:
    given = _text(said, name)
    return str(home / given) if given else ""


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return str(value) if value is not None else ""
